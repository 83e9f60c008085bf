"""An image as a value: its layers as entries, its configuration and manifest as the bytes that name it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

from builder.rootfs.entry import Entry, Kind

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Content(Protocol):
    """The part of the content store that images need."""

    def read(self, sha256: str) -> bytes:
        """Return verified bytes."""

    def put(self, data: bytes) -> str:
        """Keep bytes; return their SHA-256."""

    def put_stream(self, stream: BinaryIO, *, sha256: str | None = None, size: int | None = None) -> str:
        """Keep a stream's bytes; return their SHA-256."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """One layer. `diff_id` is the SHA-256 (hex) of its uncompressed tar of `size` bytes.

    `entries` are relative to the layer's own root. A removed file is a character device 0/0, a replaced directory
    has the xattr `trusted.overlay.opaque`: that is how overlayfs reads them.
    """

    diff_id: str
    size: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One image. `config` and `manifest` are the exact bytes; the image's id is the SHA-256 of `config`."""

    name: str
    layers: tuple[Layer, ...]
    config: bytes
    manifest: bytes
    created: int  # seconds since 1970, UTC

    @property
    def id(self) -> str:
        """The image's id: SHA-256 of its configuration, hex."""
        return hashlib.sha256(self.config).hexdigest()


def canonical_json(value: Any) -> bytes:
    """Return JSON that has the same bytes for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


class _HashingSink(io.RawIOBase):
    """Counts and hashes what is written, and keeps none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += len(data)
        return len(data)


_TAR_TYPES = {
    Kind.DIRECTORY: tarfile.DIRTYPE,
    Kind.FILE: tarfile.REGTYPE,
    Kind.SYMLINK: tarfile.SYMTYPE,
    Kind.HARDLINK: tarfile.LNKTYPE,
    Kind.CHARACTER: tarfile.CHRTYPE,
    Kind.BLOCK: tarfile.BLKTYPE,
    Kind.FIFO: tarfile.FIFOTYPE,
}


def layer_of(entries: Iterable[Entry], content: Content, epoch: int) -> Layer:
    """Return the layer that holds `entries`, with the digest that its tar (PAX, sorted, all times `epoch`) has."""
    ordered = tuple(sorted(entries, key=lambda entry: entry.path))
    sink = _HashingSink()
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for entry in ordered:
            member = tarfile.TarInfo(entry.path + "/" * (entry.kind is Kind.DIRECTORY))
            member.type = _TAR_TYPES[entry.kind]
            member.mode, member.uid, member.gid, member.mtime = entry.mode, entry.uid, entry.gid, epoch
            member.linkname = entry.target
            member.devmajor, member.devminor = entry.device
            member.pax_headers = {
                f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape") for name, value in entry.xattrs
            }
            data = content.read(entry.sha256) if entry.kind is Kind.FILE else b""
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return Layer(diff_id=sink.digest.hexdigest(), size=sink.size, entries=ordered)
