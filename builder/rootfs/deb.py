"""Reads a .deb into values: what its control file says, its scripts, and one entry per path, bytes in the store.

What was read is kept beside the store's blobs, under the .deb's own hash and the hash of the code that read it, so
that a package is unpacked once however often it is built with. The kept text begins with its own hash: a damaged
one is read anew, never believed.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from builder.errors import BuildError
from builder.rootfs import archive, entry, kept, mergedusr, tarread
from builder.rootfs.archive import Bounds, BrokenArchive, ByteStream
from builder.rootfs.entry import Entry, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from builder.fetch.store import Store

_FETCH_AGAIN = "run the same command again: it is fetched anew; if that comes back, check the disk and the memory"
_SMALL = 1 << 20  # bytes; larger files go to the store as a stream
_CONTROL_BOUNDS = Bounds(content=64 << 20, entries=1000)
_FIELD = re.compile(r"^([!-9;-~]+):[ \t]*(.*)$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Deb:
    """One package. `control_files` are all members of control.tar but `control` itself, by name.

    `names` are the paths as the archive spells them (`/lib/x`), in its order: what dpkg writes into its list.
    """

    name: str
    sha256: str
    control: Mapping[str, str]
    control_files: Mapping[str, bytes]
    entries: tuple[Entry, ...]
    names: tuple[str, ...]

    @property
    def version(self) -> str:
        """The version, as the control file has it."""
        return self.control["Version"]


def read_deb(path: Path, *, name: str, store: Store, sha256: str | None = None, bounds: Bounds | None = None) -> Deb:
    """Read one .deb; raise BuildError where it is no package that may be unpacked.

    `sha256` is the hash that the file has to have. Where what it holds is already known by that hash, the file is
    not opened at all.
    """
    if sha256 is not None:
        known = _load(store, sha256, name)
        if known is not None:
            return known
    try:
        with path.open("rb") as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()
            if sha256 is not None and actual != sha256:
                raise BuildError(
                    f"the package file of {name} is not the one that the lock names",
                    hint=_FETCH_AGAIN,
                )
            if sha256 is None:
                known = _load(store, actual, name)
                if known is not None:
                    return known
            stream.seek(0)
            deb = _read(stream, name=name, sha256=actual, store=store, bounds=bounds or Bounds())
    except BrokenArchive as error:
        raise BuildError(
            f"the package {name} cannot be unpacked: {error}",
            hint=archive.NOT_DEBIANS,
        ) from error
    except OSError as error:
        raise BuildError(
            f"the package file of {name} cannot be read: {error.strerror or error}", hint=_FETCH_AGAIN
        ) from error
    _save(store, deb)
    return deb


def _read(stream: BinaryIO, *, name: str, sha256: str, store: Store, bounds: Bounds) -> Deb:
    size = os.fstat(stream.fileno()).st_size
    found = {part.name: part for part in archive.parts(stream, size)}
    version = found.get("debian-binary")
    if version is None or not b"".join(archive.expand(stream, version, bounds)).startswith(b"2."):
        raise BrokenArchive("it is not a Debian package of format 2")
    control = [part for part in found.values() if part.name.split(".tar")[0] == "control"]
    data = [part for part in found.values() if part.name.split(".tar")[0] == "data"]
    if len(control) != 1 or len(data) != 1:
        raise BrokenArchive("it does not hold exactly one control.tar and one data.tar")
    files = _control(ByteStream(archive.expand(stream, control[0], _CONTROL_BOUNDS)))
    fields = parse_control(files.pop("control", b""), name)
    entries, names = _data(ByteStream(archive.expand(stream, data[0], bounds)), name, store, bounds)
    return Deb(name=name, sha256=sha256, control=fields, control_files=files, entries=entries, names=names)


def _control(stream: ByteStream) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for member, content in tarread.members(stream, _CONTROL_BOUNDS):
        if member.kind is Kind.FILE and "/" not in member.path:
            files[member.path] = content.read(member.size)
    return files


def parse_control(raw: bytes, name: str) -> dict[str, str]:
    """Read the fields of one control paragraph; raise BrokenArchive where it has no name or version."""
    fields: dict[str, str] = {}
    last = ""
    for line in raw.decode("utf-8", "replace").splitlines():
        match = _FIELD.match(line)
        if match:
            last = match[1]
            fields[last] = match[2].rstrip()
        elif line[:1] in (" ", "\t") and last:
            fields[last] += "\n" + line
        elif line.strip():
            raise BrokenArchive(f"its control file has a line that is no field: {line[:80]!r}")
    if fields.get("Package") != name or not fields.get("Version"):
        raise BrokenArchive(f"its control file says that it is {fields.get('Package')!r}")
    return fields


def _data(stream: ByteStream, name: str, store: Store, bounds: Bounds) -> tuple[tuple[Entry, ...], tuple[str, ...]]:
    entries: list[Entry] = []
    names: list[str] = []
    for member, content in tarread.members(stream, bounds):
        names.append("/" + member.path if member.path else "/.")
        digest = ""
        if member.kind is Kind.FILE:
            digest = _keep(content, member.size, store)
        entries.append(
            Entry(
                path=_place(member),
                kind=member.kind,
                mode=0o777 if member.kind is Kind.SYMLINK else member.mode,
                uid=member.uid,
                gid=member.gid,
                origin=name,
                size=member.size,
                sha256=digest,
                target=mergedusr.resolve(member.target) if member.kind is Kind.HARDLINK else member.target,
            )
        )
    return tuple(entries), tuple(names)


def _place(member: tarread.Member) -> str:
    if member.kind is Kind.SYMLINK and member.path in mergedusr.LINKS:
        return member.path  # base-files brings the links themselves
    return mergedusr.resolve(member.path)


def _keep(content: ByteStream, size: int, store: Store) -> str:
    if size <= _SMALL:
        data = content.read(size)
        if len(data) != size:
            raise BrokenArchive("it is cut off in the middle of a file")
        return store.put(data)
    return store.put_stream(cast("BinaryIO", content), size=size)  # read(n) is all that it uses


@cache
def _reader() -> str:
    return kept.code(__file__, archive.__file__, tarread.__file__, mergedusr.__file__, entry.__file__)


def _load(store: Store, sha256: str, name: str) -> Deb | None:
    value = kept.load(store, "unpacked", kept.key_of(_reader(), sha256))
    if value is None or value["name"] != name:
        return None
    deb = _decode(value, sha256)
    return deb if all(store.has(node.sha256) for node in deb.entries if node.sha256) else None


def _save(store: Store, deb: Deb) -> None:
    kept.save(store, "unpacked", kept.key_of(_reader(), deb.sha256), _encode(deb))


def _encode(deb: Deb) -> dict[str, Any]:
    return {
        "name": deb.name,
        "control": dict(deb.control),
        "files": {name: data.decode("latin-1") for name, data in deb.control_files.items()},
        "names": deb.names,
        "entries": [[e.path, e.kind.value, e.mode, e.uid, e.gid, e.size, e.sha256, e.target] for e in deb.entries],
    }


def _decode(value: dict[str, Any], sha256: str) -> Deb:
    return Deb(
        name=value["name"],
        sha256=sha256,
        control=value["control"],
        control_files={name: text.encode("latin-1") for name, text in value["files"].items()},
        names=tuple(value["names"]),
        entries=tuple(_entries(value["entries"], value["name"])),
    )


def _entries(rows: list[list[Any]], origin: str) -> Iterator[Entry]:
    for path, kind, mode, uid, gid, size, digest, target in rows:
        yield Entry(
            path=path, kind=Kind(kind), mode=mode, uid=uid, gid=gid, origin=origin, size=size, sha256=digest,
            target=target,
        )  # fmt: skip
