"""The one HTTP client: whatever the builder fetches goes through `Client.fetch`.

Trust is the operating system's store (or `SSL_CERT_FILE`); `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` and `~/.netrc` are
obeyed. A server may not make the client wait or write without end: size, silence, trickling and redirects are bounded.
Retrying and resuming are `download.py`'s; here one request is made, and each way to fail has a class.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import truststore
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, IncompleteRead

from builder.errors import FetchError
from builder.fetch.redirect import allowed_target

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 1 << 17  # bytes
_LONGEST_SAID = 200  # letters of a server's own words
_MOST_DIGITS = 18  # of a length in bytes; what is longer is nonsense
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Bounds of one request. Times are in seconds, `window_bytes` in bytes.

    A transfer is broken off when within `window` fewer than `window_bytes` came: a server that trickles would
    otherwise hold a build for ever. An answer's headers have to be whole within `silence`, and so has what stands
    before, between and behind the chunks of a body that comes in chunks.
    """

    connect: float = 15.0
    silence: float = 30.0
    window: float = 30.0
    window_bytes: int = 4096
    redirects: int = 5


class Gone(FetchError):
    """The server answered that it has no such file (401, 403, 404, 410, 451)."""


class Refused(FetchError):
    """The answer breaks a rule; asking again would not help."""


class Interrupted(FetchError):
    """The server or the network failed on the way; asking again may help. `after` is its Retry-After in seconds."""

    def __init__(self, message: str, *, hint: str | None = None, after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after = after


class RangeRefused(FetchError):
    """The server cannot go on where the last try stopped: begin again."""


def shown(url: str) -> str:
    """Return `url` fit for people's eyes and for logs: without user name and password."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def printable(text: str) -> str:
    """Return what a server said fit for a terminal: in ASCII, without control characters, and not too long."""
    plain = "".join(letter if letter.isascii() and letter.isprintable() else "?" for letter in text)
    return plain if len(plain) <= _LONGEST_SAID else plain[:_LONGEST_SAID] + "..."


class Client:
    """One HTTP client for a whole run; threads may share it. Use it as a context manager, or call `close`."""

    def __init__(self, limits: Limits | None = None) -> None:
        """Make a client with `limits` (defaults fit a slow line)."""
        self.limits = limits or Limits()
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._guard = threading.Lock()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        with self._guard:
            for session in self._sessions:
                session.close()
            self._sessions.clear()
        self._local = threading.local()

    def fetch(
        self, url: str, write: Callable[[bytes], object], *, limit: int, offset: int = 0, exact: bool = False
    ) -> None:
        """Fetch `url` from byte `offset` on and give what comes to `write`, at most `limit` bytes in all.

        `limit` counts from the file's first byte; with `exact` the file has just so many. Raises Gone, Refused,
        Interrupted, or RangeRefused when `offset` is not 0 and the server answers with the whole file.
        """
        try:
            with contextlib.closing(self._follow(url, offset)) as response:
                self._check_status(response, offset)
                self._copy(response, write, limit - offset, exact=exact)
        except requests.exceptions.SSLError as error:
            raise Refused(
                f"{shown(url)}: its certificate is not trusted ({_innermost(error)})",
                hint="does a company's authority sign? Add it to the system's trust store or name it in SSL_CERT_FILE",
            ) from None
        except requests.exceptions.ProxyError as error:
            raise Interrupted(
                f"{shown(url)}: the proxy cannot be used ({_innermost(error)})",
                hint="check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
            ) from None
        except requests.exceptions.InvalidURL as error:
            raise Refused(f"{shown(url)}: this is no address that can be asked ({_innermost(error)})") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise Interrupted(f"{shown(url)}: {_innermost(error)}") from None

    def get(self, url: str, *, limit: int) -> bytes:
        """Return a small document of at most `limit` bytes. Raises as `fetch` does."""
        parts: list[bytes] = []
        self.fetch(url, parts.append, limit=limit)
        return b"".join(parts)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = _Session()
            session.headers.update({"User-Agent": "berth", "Accept": "*/*", "Accept-Encoding": "identity"})
            for scheme in ("http://", "https://"):
                session.mount(scheme, _Adapter(self.limits.silence))
            self._local.session = session
            with self._guard:
                self._sessions.append(session)
        return session

    def _follow(self, url: str, offset: int) -> requests.Response:
        origin = url
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        for _ in range(self.limits.redirects + 1):
            response = self._session().get(
                url,
                headers=headers,
                stream=True,
                allow_redirects=False,
                timeout=(self.limits.connect, self.limits.silence),
            )
            if response.status_code not in _REDIRECTS:
                return response
            location = response.headers.get("Location", "")
            response.close()
            if not (location.isascii() and location.isprintable()):
                raise Refused(f"{shown(origin)}: redirected to an address that cannot be read")
            try:
                target = urljoin(url, location)
                problem = allowed_target(origin, target)
            except ValueError:  # a bracket that is not closed, for one
                raise Refused(f"{shown(origin)}: redirected to an address that cannot be read") from None
            if problem:
                raise Refused(f"{shown(origin)}: redirected to {shown(target)}: {problem}")
            url = target
        raise Refused(f"{shown(origin)}: more than {self.limits.redirects} redirects")

    def _check_status(self, response: requests.Response, offset: int) -> None:
        status, name = response.status_code, shown(response.url)
        said = f"{name}: the server answers {status} {printable(response.reason or '')}".rstrip()
        if status in {401, 403, 404, 410, 451}:
            raise Gone(said)
        if status == 416 or (offset and status == 200):
            raise RangeRefused(f"{name}: the server cannot resume")
        if status == 206 and offset:
            if not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
                raise RangeRefused(f"{name}: the server resumes at the wrong place")
            return
        if status == 429 or status >= 500:
            raise Interrupted(said, after=_retry_after(response))
        if status != 200:
            raise Refused(said)

    def _copy(self, response: requests.Response, write: Callable[[bytes], object], limit: int, *, exact: bool) -> None:
        name = shown(response.url)
        announced = _number(response.headers.get("Content-Length", ""))
        if announced is not None and announced > limit:
            raise Refused(
                f"{name}: the server wants to send {announced} bytes where at most {limit} are right"
                + _web_page(response)
            )
        if exact and announced is not None and announced < limit:
            raise Refused(f"{name}: the server has {announced} bytes where {limit} are right" + _web_page(response))
        left = limit
        mark, came = time.monotonic(), 0
        while chunk := response.raw.read1(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise Refused(f"{name}: larger than the {limit} bytes that are right" + _web_page(response))
            write(chunk)
            came += len(chunk)
            now = time.monotonic()
            if now - mark > self.limits.window:
                if came < self.limits.window_bytes:
                    raise Interrupted(f"{name}: only {came} bytes came within {now - mark:.0f} s")
                mark, came = now, 0
        if announced is not None and limit - left != announced:
            raise Interrupted(f"{name}: the connection ended after {limit - left} of {announced} bytes")


def _web_page(response: requests.Response) -> str:
    if response.headers.get("Content-Type", "").startswith("text/html"):
        return " (it answers with a web page: a log-in portal, or an address that is no mirror?)"
    return ""


def _retry_after(response: requests.Response) -> float | None:
    return _number(response.headers.get("Retry-After", ""))


def _number(text: str) -> int | None:
    """Return the number that a header states, or None: `isdigit` takes ² too, and `int` not any number of digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None


def _innermost(error: BaseException) -> str:
    """Say what went wrong at the bottom: the layers above only repeat the address."""
    seen: BaseException = error
    while not isinstance(seen, TimeoutError):
        inner = (
            getattr(seen, "reason", None) or seen.__cause__ or seen.__context__ or (seen.args[0] if seen.args else None)
        )
        if not isinstance(inner, BaseException) or inner is seen:
            break
        seen = inner
    if isinstance(seen, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(seen, IncompleteRead):
        return "the connection ended in the middle"
    if isinstance(seen, TimeoutError):
        return "no answer in time"
    if isinstance(seen, ssl.SSLCertVerificationError):
        return str(seen.verify_message)
    if isinstance(seen, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(seen, http.client.HTTPException | ValueError) and not isinstance(seen, HTTPError):
        return "what answers there does not speak HTTP: another service's port, or https where http is meant?"
    return printable(str(getattr(seen, "strerror", None) or seen)) or type(seen).__name__


class _Session(requests.Session):
    """Leaves redirects to `Client`: requests decodes them even where it is to follow none, and drops the connection."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002 - requests' form
        return None


class _Deadline:
    """Shuts a socket from which one thing is not whole in time; a time-out per `recv` does not see a trickle."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._socket = sock
        self._over = False
        self._timer = threading.Timer(seconds, self._shut)
        self._timer.daemon = True

    def _shut(self) -> None:
        self._over = True
        with contextlib.suppress(OSError, AttributeError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._over:
            raise TimeoutError("the answer was not whole in time")


def _connection_classes(seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    class Answer(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *arguments: Any, **keywords: Any) -> None:
            super().__init__(sock, *arguments, **keywords)
            self._socket = sock

        def read1(self, n: int = -1) -> bytes:
            # One `recv` reads from a plain body. Of chunks the length's line and, behind the last one, any number of
            # trailer lines are read before `read1` returns.
            with _Deadline(self._socket, seconds) if self.chunked else contextlib.nullcontext():
                return super().read1(n)

    class Plain(HTTPConnection):
        response_class = Answer

        def getresponse(self) -> Any:
            with _Deadline(self.sock, seconds):
                return super().getresponse()

    class Secure(HTTPSConnection):
        response_class = Answer

        def getresponse(self) -> Any:
            with _Deadline(self.sock, seconds):
                return super().getresponse()

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    """Trusts what the operating system trusts; requests alone takes certifi's list instead."""

    def __init__(self, headers_within: float) -> None:
        self._pools = _connection_classes(headers_within)
        self._context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().__init__(pool_connections=4, pool_maxsize=2)

    def init_poolmanager(self, *arguments: Any, **keywords: Any) -> None:
        super().init_poolmanager(*arguments, **keywords)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **keywords: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **keywords)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context} if host.get("scheme") == "https" else {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the connection to the context: it checks host name and chain by itself."""
