"""Reads one layer's tar into entries as overlayfs reads them, and refuses what leads out of the layer.

Entries are values: nothing of a layer is ever written to the builder's disk but file contents, under their hash.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from builder.errors import BuildError, VerificationError
from builder.images.image import Content, Layer
from builder.rootfs.entry import Entry, Kind
from init.formats.layers import OPAQUE_VALUE, OPAQUE_XATTR, Change, change_of, clean_path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MOST_BYTES = 16 << 30  # one layer, unpacked: a bound against decompression bombs
_MOST_ENTRIES = 1_000_000
_KINDS = {
    tarfile.REGTYPE: Kind.FILE,
    tarfile.AREGTYPE: Kind.FILE,
    tarfile.CONTTYPE: Kind.FILE,
    tarfile.GNUTYPE_SPARSE: Kind.FILE,
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.LNKTYPE: Kind.HARDLINK,
    tarfile.FIFOTYPE: Kind.FIFO,
}
_XATTR = "SCHILY.xattr."
_NO_TAR = (tarfile.TarError, ValueError, OverflowError, RecursionError)  # numbers that are none are ValueErrors


class _Verified(io.RawIOBase):
    """A stream that is hashed and bounded as it is read."""

    def __init__(self, inner: BinaryIO, image: str) -> None:
        super().__init__()
        self._inner = inner
        self._image = image
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self.digest.update(data)
        self.size += len(data)
        if self.size > _MOST_BYTES:
            raise BuildError(f"a layer of the image {self._image} unpacks to more than {_MOST_BYTES >> 30} GiB")
        buffer[: len(data)] = data
        return len(data)


def read_layer(stream: BinaryIO, diff_id: str, *, below: Sequence[Layer], image: str, content: Content) -> Layer:
    """Return the layer in a tar (plain, gzip or zstd) whose uncompressed SHA-256 has to be `diff_id`.

    Raise VerificationError where it is not, BuildError for a member that may not be in a layer.
    """
    verified = _Verified(_decompressed(stream, image), image)
    try:
        nodes = _members(verified, below, image, content)
        while verified.read(1 << 20):
            pass  # what follows the archive's end belongs to its hash
    except (*_NO_TAR, EOFError, zlib.error, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise BuildError(f"a layer of the image {image} is damaged: {error}") from error
    if verified.digest.hexdigest() != diff_id:
        raise VerificationError(f"a layer of the image {image} is not the one that is named: sha256:{diff_id}")
    ordered = tuple(sorted(nodes.values(), key=lambda entry: entry.path))
    _refuse_files_as_folders(ordered, image)
    return Layer(diff_id=diff_id, size=verified.size, entries=ordered)


def _decompressed(stream: BinaryIO, image: str) -> BinaryIO:
    head = stream.read(4)
    stream.seek(0)
    if head[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=stream)  # type: ignore[return-value]
    if head == b"\x28\xb5\x2f\xfd":
        return zstd.ZstdFile(stream)  # type: ignore[return-value]
    if head[:3] == b"BZh" or head == b"\xfd7zX":
        raise BuildError(f"a layer of the image {image} is compressed in a way that OCI images are not")
    return stream


def _members(stream: _Verified, below: Sequence[Layer], image: str, content: Content) -> dict[str, Entry]:
    nodes: dict[str, Entry] = {}
    opaque: list[str] = []
    with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
        for number, member in enumerate(archive):
            if number > _MOST_ENTRIES:
                raise BuildError(f"a layer of the image {image} has more than {_MOST_ENTRIES} members")
            try:
                change, path = change_of(clean_path(member.name))
            except ValueError as error:
                raise BuildError(f"a layer of the image {image} may not be unpacked: {error}") from error
            match change:
                case Change.NODE:
                    entry = _node(archive, member, path, image, content)
                    _replace(nodes, entry)
                case Change.REMOVED:
                    nodes[path] = Entry(path=path, kind=Kind.CHARACTER, mode=0o000, origin=image)
                case Change.OPAQUE:
                    opaque.append(path)
                case Change.IGNORED:
                    continue
            _add_parents(nodes, path, below, image)
    for path in opaque:
        folder = nodes.get(path) or _known_folder(path, below, image)
        mark = (*((name, value) for name, value in folder.xattrs if name != OPAQUE_XATTR), (OPAQUE_XATTR, OPAQUE_VALUE))
        nodes[path] = replace(folder, xattrs=tuple(sorted(mark)))
    return nodes


def _node(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, image: str, content: Content) -> Entry:
    kind = _KINDS.get(member.type)
    if kind is None:
        what = "a device node" if member.isdev() else f"of the unknown type {member.type!r}"
        raise BuildError(
            f"the image {image}: `/{path}` is {what}",
            hint="a container's devices are made by its engine; take the node out of the image",
        )
    xattrs = tuple(
        sorted(
            (name.removeprefix(_XATTR), value.encode("utf-8", "surrogateescape"))
            for name, value in member.pax_headers.items()
            if name.startswith((_XATTR + "user.", _XATTR + "security.capability"))
        )
    )
    entry = Entry(
        path=path, kind=kind, mode=member.mode & 0o7777, uid=member.uid, gid=member.gid, origin=image, xattrs=xattrs
    )
    if kind is Kind.FILE:
        source = archive.extractfile(member)
        if source is None:
            raise BuildError(f"the image {image}: `/{path}` has no content")
        sha256 = content.put_stream(io.BufferedReader(source))  # type: ignore[type-var]
        return replace(entry, size=member.size, sha256=sha256)
    if kind is Kind.HARDLINK:
        try:
            return replace(entry, target=clean_path(member.linkname))
        except ValueError as error:
            raise BuildError(f"the image {image}: the hard link `/{path}` leads out of the layer") from error
    return replace(entry, target=member.linkname if kind is Kind.SYMLINK else "")


def _replace(nodes: dict[str, Entry], entry: Entry) -> None:
    """A later member takes the place of an earlier one, with all that was below it unless both are folders."""
    before = nodes.get(entry.path)
    if before is not None and before.kind is Kind.DIRECTORY and entry.kind is not Kind.DIRECTORY:
        for path in [path for path in nodes if path.startswith(entry.path + "/")]:
            del nodes[path]
    nodes[entry.path] = entry


def _add_parents(nodes: dict[str, Entry], path: str, below: Sequence[Layer], image: str) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in nodes:
        nodes[parent] = _known_folder(parent, below, image)
        parent = parent.rpartition("/")[0]


def _known_folder(path: str, below: Sequence[Layer], image: str) -> Entry:
    """A folder that the layer only implies keeps owner and mode that it has in the layers below."""
    for layer in reversed(below):
        for entry in layer.entries:
            if entry.path == path and entry.kind is Kind.DIRECTORY:
                return replace(entry, xattrs=tuple(pair for pair in entry.xattrs if pair[0] != OPAQUE_XATTR))
    return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755, origin=image)


def _refuse_files_as_folders(entries: Sequence[Entry], image: str) -> None:
    """Nothing may lie below a link or a file of its own layer, and a hard link needs its file in the same layer."""
    kinds = {entry.path: entry.kind for entry in entries}
    for entry in entries:
        parent = entry.path.rpartition("/")[0]
        if parent and kinds[parent] is not Kind.DIRECTORY:
            raise BuildError(f"the image {image}: `/{entry.path}` lies below `/{parent}`, which is no folder")
        if entry.kind is Kind.HARDLINK and kinds.get(entry.target) is not Kind.FILE:
            raise BuildError(f"the image {image}: the hard link `/{entry.path}` has no file in its layer")
