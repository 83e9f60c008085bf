"""Configurations that lie at an address: `ds=nocloud;s=http://…/` and `cloud-config-url=http://…`, asked for in time.

Only where PID 1 has brought the network up does the child ask; all addresses share its bound. A server may be a moment
later than the lease, so silence and a status of 500 and more are asked again until the bound; any other status is an
answer. A seed of which a part can't be had is none: half a configuration is not what its owner wrote.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from init.dialects.nocloud import Seed, says_something
from init.dialects.position import LARGEST

_PAUSE = 0.3  # seconds between two tries
_ONE = 5.0  # seconds for one try
_HEADERS = (b"#cloud-config", b"#berth")


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where something lies. `kind`: `seed` is a folder of NoCloud's documents, `document` one of them."""

    url: str
    kind: str
    source: str  # `cmdline` or `smbios`


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What an address gave: a seed, or why there is none."""

    seed: Seed | None
    reason: str = ""


class NoAnswer(Exception):
    """Nothing that counts as an answer came in time; the text says what came instead."""


Get = Callable[[str, float], bytes | None]


def is_remote(url: str) -> bool:
    """Tell whether an address needs the network."""
    return url.startswith(("http://", "https://"))


def shown(url: str) -> str:
    """Return an address as a message may have it: what names its owner or opens a door is left out."""
    rest = url.partition("?")[0]
    scheme, mark, place = rest.partition("://")
    if not mark:
        return rest.rpartition("@")[2]
    host, slash, path = place.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def fetch(address: Address, seconds: float, get: Get | None = None) -> Fetched:
    """Ask for what lies at an address, within `seconds`. Never raises for what is there or not."""
    until = time.monotonic() + seconds
    ask = get or _get
    try:
        if address.kind == "document":
            data = _patiently(ask, address.url, until)
            # As cloud-init: whatever else answers there is no configuration.
            if data is None or not data.startswith(_HEADERS):
                return Fetched(seed=None, reason="no configuration lies there")
            return Fetched(seed=Seed(user_data=data))
        base = address.url if address.url.endswith(("/", "=", "?")) else address.url + "/"
        meta = _patiently(ask, f"{base}meta-data", until)
        if meta is None:
            return Fetched(seed=None, reason="there is no meta-data")
        user, network = (_patiently(ask, f"{base}{name}", until) for name in ("user-data", "network-config"))
        if user is None:
            return Fetched(seed=None, reason="there is no user-data")
        vendor = says_something(_once(ask, f"{base}vendor-data", until))
        return Fetched(seed=Seed(user_data=user, meta_data=meta, network_config=network, vendor=vendor))
    except NoAnswer as error:
        return Fetched(seed=None, reason=str(error))


def _patiently(get: Get, url: str, until: float) -> bytes | None:
    while True:
        left = until - time.monotonic()
        try:
            return get(url, min(max(left, 0.1), _ONE))
        except NoAnswer:
            if until - time.monotonic() < _PAUSE:
                raise
        time.sleep(_PAUSE)


def _once(get: Get, url: str, until: float) -> bytes | None:
    """Ask for what is only warned of, so its lack costs no seed and no second try."""
    left = until - time.monotonic()
    try:
        return get(url, min(left, _ONE)) if left > 0 else None
    except NoAnswer:
        return None


def _get(url: str, seconds: float) -> bytes | None:
    """Return what is answered with 200, None for another status below 500; raise NoAnswer."""
    import http.client  # noqa: PLC0415 - costs memory and time that few boots need

    end = time.monotonic() + seconds
    try:
        parts = urlsplit(url)
        connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = connect(parts.hostname or "", parts.port, timeout=seconds)
        try:
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", target, headers={"User-Agent": "berth"})
            answer = connection.getresponse()
            if answer.status >= 500:
                raise NoAnswer(f"HTTP status {answer.status}")
            return _body(answer, end) if answer.status == 200 else None
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise NoAnswer(reason) from error


def _body(answer: object, end: float) -> bytes:
    """Read at most one byte more than a document may have; a server that drips has no longer than one that is quick."""
    data = b""
    while len(data) <= LARGEST:
        part = answer.read1(min(1 << 16, LARGEST + 1 - len(data)))  # type: ignore[attr-defined]
        if not part:
            return data
        data += part
        if time.monotonic() > end:
            raise NoAnswer("the answer takes too long")
    return data
