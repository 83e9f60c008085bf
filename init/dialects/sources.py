"""Where a machine's configuration comes from, first found wins (docs/configuration.md).

file         given by `berthctl config apply`
cmdline      `ds=nocloud;s=…`, `cloud-config-url=…`, `berth.config=BASE64` on the kernel command line
smbios       `ds=nocloud;s=…` as the firmware's product serial
cidata       a disk labelled `cidata`, which PID 1 has mounted
medium       `/berth/user-data` on the boot medium
last-good    what was in force at the last boot
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from init.dialects import nocloud
from init.dialects.compile import Document
from init.dialects.netseed import Address, is_remote, shown
from init.dialects.nocloud import Line, Seed
from init.dialects.reading import AT_ONCE, Reading
from init.formats import cmdline

BUNDLE = "berth.seed/1"
_HALF = ", and meta-data alone is no seed: put an empty file `user-data` beside it"
URL_KEYS = ("cloud-config-url", "url")


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where to look, as the command line of the child says."""

    file: Path | None = None
    cmdline: Path | None = None
    smbios: Path | None = None
    seeds: tuple[Path, ...] = ()
    medium: Path | None = None
    last_good: Path | None = None
    instance: str | None = None  # the one that runs, for a `file`: what it did once is not done again


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A configuration, by the name of its source."""

    source: str
    seed: Seed
    line: Line = field(default_factory=Line)
    absent: str = ""  # what to say where a place was named and holds no configuration

    def documents(self) -> tuple[Document | None, Document | None, Document | None]:
        """Return user-data, meta-data and network-config as the compiler takes them."""
        names = ("user-data", "meta-data", "network-config")
        datas = (self.seed.user_data, self._meta(), self.seed.network_config)
        made = [
            None if data is None else Document(data=data, file=f"{self.source}:{name}")
            for name, data in zip(names, datas, strict=True)
        ]
        return (made[0], made[1], made[2])

    def keep(self) -> bytes:
        """Return what state keeps of it: user-data as it is, or all documents in one where there are more."""
        meta = self._meta()
        if meta is None and self.seed.network_config is None:
            return self.seed.user_data or b""
        parts = {"user-data": self.seed.user_data, "meta-data": meta, "network-config": self.seed.network_config}
        texts = {name: base64.b64encode(data).decode("ascii") for name, data in parts.items() if data is not None}
        return json.dumps({"format": BUNDLE, **texts}).encode()

    def _meta(self) -> bytes | None:
        """Meta-data with what the command line says on top; only single lines are added, as JSON, which is YAML."""
        extra = {"local-hostname": self.line.hostname, "instance-id": self.line.instance_id}
        lines = [f"{name}: {json.dumps(text)}" for name, text in extra.items() if text]
        data = self.seed.meta_data
        if not lines:
            return data
        kept = [
            each
            for each in (data or b"").decode("utf-8", "replace").splitlines()
            if not each.startswith(tuple(f"{name}:" for name, text in extra.items() if text))
        ]
        return "\n".join([*kept, *lines, ""]).encode()


def remote(places: Places) -> tuple[Address, ...]:
    """Return the addresses that the command line and the firmware name, the one that counts first."""
    found = []
    for source, text in texts(places):
        said = nocloud.parse_line(text.get("ds", ""))
        if said is not None and said.seed is not None:
            url = nocloud.with_dmi(said.seed, places.smbios)
            found.append(Address(url=url, kind="seed", source=source))
        found += [Address(url=text[key], kind="document", source=source) for key in URL_KEYS if key in text]
    return tuple(address for address in found if is_remote(address.url))


def local(places: Places) -> tuple[Path, ...]:
    """Return the folders on the machine that the command line and the firmware name."""
    found = []
    for _, text in texts(places):
        said = nocloud.parse_line(text.get("ds", ""))
        if said is not None and said.seed is not None:
            found.append(nocloud.with_dmi(said.seed, places.smbios).removeprefix("file://"))
    return tuple(Path(path) for path in found if path.startswith("/"))


def each(places: Places, reading: Reading = AT_ONCE) -> Iterator[Found]:
    """Return every place where a configuration may lie, one by one, the one that counts first; the last good is last.

    What is asked for is waited for, so whoever has found what counts goes no further.
    """
    line = Line()
    if places.file is not None:
        yield _file(places.file, places, reading)
    for source, text in texts(places):
        said = nocloud.parse_line(text.get("ds", ""))
        if said is not None:
            line = said if line == Line() else line
            if said.seed is not None:
                yield _named(source, said, nocloud.with_dmi(said.seed, places.smbios), reading)
        for key in URL_KEYS:
            if is_remote(text.get(key, "")):
                yield _answer(Address(url=text[key], kind="document", source=source), Line(), reading)
        if "berth.config" in text:
            yield Found(source=source, seed=Seed(user_data=_base64(text["berth.config"])))
    for folder in places.seeds:
        seed = reading.folder(folder)
        absent = "the disk labelled cidata has no user-data" + (_HALF if seed.meta_data is not None else "")
        yield Found(source="cidata", seed=seed, line=line, absent="" if seed.is_there() else absent)
    if places.medium is not None:
        yield Found(source="medium", seed=reading.file(places.medium), line=line)
    kept = last_good_of(places, reading)
    if kept is not None:
        yield kept


def last_good_of(places: Places, reading: Reading = AT_ONCE) -> Found | None:
    """Return the configuration that state keeps; None where it keeps none."""
    if places.last_good is None:
        return None
    seed = reading.file(places.last_good / "user-data")
    return Found(source="last-good", seed=seed) if seed.problem else last_good(seed.user_data)


def candidates(places: Places) -> list[Found]:
    """Return every configuration that is there and can be read, the one that counts first; the last good is last."""
    return [found for found in each(places) if found.seed.user_data is not None]


def _named(source: str, said: Line, url: str, reading: Reading) -> Found:
    """Return what lies at the address that `ds=nocloud;s=` names."""
    if is_remote(url):
        return _answer(Address(url=url, kind="seed", source=source), said, reading)
    path = url.removeprefix("file://")
    if not path.startswith("/"):
        return Found(source=source, seed=Seed(), line=said)  # `init.dialects.unused` says so
    seed = reading.folder(Path(path))
    half = _HALF if seed.meta_data is not None else ""
    absent = "" if seed.is_there() else f"no configuration from {path}: no user-data lies there{half}"
    return Found(source=source, seed=seed, line=said, absent=absent)


def _answer(address: Address, line: Line, reading: Reading) -> Found:
    had = reading.address(address)
    if had.seed is not None:
        return Found(source=address.source, seed=had.seed, line=line)
    absent = f"no configuration from {shown(address.url)}: {had.reason}"
    return Found(source=address.source, seed=Seed(), line=line, absent=absent)


def _file(path: Path, places: Places, reading: Reading) -> Found:
    """A document for the machine as it stands: name and network that its source gave beside user-data go on."""
    kept = last_good_of(places, reading)
    given, beside = reading.file(path), kept.seed if kept is not None else Seed()
    seed = Seed(
        user_data=given.user_data or b"",
        meta_data=beside.meta_data,
        network_config=beside.network_config,
        problem=given.problem,
    )
    return Found(source="file", seed=seed, line=Line(instance_id=places.instance))


def texts(places: Places) -> Iterator[tuple[str, dict[str, str]]]:
    """Return the words that may name a configuration, by the name of who says them: the command line, the firmware."""
    yield "cmdline", _command_line(places.cmdline)
    yield "smbios", _serial(places.smbios)


def _command_line(path: Path | None) -> dict[str, str]:
    data = nocloud.read_file(path) if path is not None else None
    parameters = cmdline.parse((data or b"").decode("utf-8", "replace")).parameters
    if "ci.ds" in parameters:
        parameters.setdefault("ds", parameters["ci.ds"])
    return parameters


def _serial(smbios: Path | None) -> dict[str, str]:
    data = nocloud.read_file(smbios / "product_serial") if smbios is not None else None
    text = (data or b"").decode("utf-8", "replace").strip()
    return {"ds": text.removeprefix("ds=")} if text.startswith("ds=") else {}


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b"berth.config is not base64"  # the compiler says that this is no document


def last_good(data: bytes | None) -> Found:
    """Return the configuration that state keeps, from its file's bytes (`Found.keep`)."""
    if data is None or not data.startswith(b'{"format"'):
        return Found(source="last-good", seed=Seed(user_data=data))
    try:
        value: Any = json.loads(data)
        parts = {
            name: base64.b64decode(value[name])
            for name in ("user-data", "meta-data", "network-config")
            if name in value
        }
    except (ValueError, TypeError, RecursionError):
        return Found(source="last-good", seed=Seed(user_data=data))
    seed = Seed(
        user_data=parts.get("user-data", b""),
        meta_data=parts.get("meta-data"),
        network_config=parts.get("network-config"),
    )
    return Found(source="last-good", seed=seed)
