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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from init.dialects import nocloud
from init.dialects.compile import Document
from init.dialects.netseed import Address, Fetched, is_remote
from init.dialects.nocloud import Line, Seed
from init.formats import cmdline

BUNDLE = "berth.seed/1"
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


def candidates(places: Places, fetched: Mapping[Address, Fetched] | None = None) -> list[Found]:
    """Return every configuration that is there, the one that counts first; the last good one is the last.

    `fetched` is what the addresses of `remote` gave.
    """
    had = fetched or {}
    found: list[Found] = []
    line = Line()
    if places.file is not None:
        found.append(_file(places.file, places))
    for source, text in texts(places):
        said = nocloud.parse_line(text.get("ds", ""))
        if said is not None:
            line = said if line == Line() else line
            if said.seed is not None:
                url = nocloud.with_dmi(said.seed, places.smbios)
                there = had.get(Address(url=url, kind="seed", source=source))
                seed = there.seed if there is not None else nocloud.read_seed(url)
                found.append(Found(source=source, seed=seed or Seed(), line=said))
        for key in URL_KEYS:
            there = had.get(Address(url=text.get(key, ""), kind="document", source=source))
            if there is not None and there.seed is not None:
                found.append(Found(source=source, seed=there.seed))
        if "berth.config" in text:
            found.append(Found(source=source, seed=Seed(user_data=_base64(text["berth.config"]))))
    found.extend(Found(source="cidata", seed=nocloud.read_folder(folder), line=line) for folder in places.seeds)
    if places.medium is not None:
        found.append(Found(source="medium", seed=Seed(user_data=nocloud.read_file(places.medium)), line=line))
    if places.last_good is not None:
        found.append(last_good(nocloud.read_file(places.last_good / "user-data")))
    return [each for each in found if each.seed.is_there()]


def _file(path: Path, places: Places) -> Found:
    """A document for the machine as it stands: name and network that its source gave beside user-data go on."""
    beside = last_good(nocloud.read_file(places.last_good / "user-data")).seed if places.last_good else Seed()
    seed = Seed(
        user_data=nocloud.read_file(path) or b"",
        meta_data=beside.meta_data,
        network_config=beside.network_config,
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
