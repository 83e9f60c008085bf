"""Reading an update bundle, and making sure that it is what its manifest says, before anything is done with it."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from builder.artifact.bundle import MANIFEST, MEMBERS
from builder.artifact.manifest import Manifest
from builder.artifact.output import CHUNK
from builder.errors import InputError, Place
from init.formats import bootimage, cmdline, envblock, verity

_HINT = "give it a .bundle that `berth build` wrote"
_LARGEST_SMALL_FILE = 64 << 20  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """Where an image lies in the bundle's file, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A bundle that is whole in itself: sizes, names, command line and verity's top fit each other.

    The images' hashes are not compared yet: whoever reads them compares with the manifest's parts.
    """

    path: Path
    manifest: Manifest
    boot: Extent
    root: Extent

    def pieces(self, extent: Extent) -> Iterator[bytes]:
        """Yield an image's bytes; raise InputError where the file became shorter."""
        with self.path.open("rb") as file:
            file.seek(extent.offset)
            left = extent.size
            while left:
                piece = file.read(min(CHUNK, left))
                if not piece:
                    raise InputError("it became shorter while it was read", place=Place(file=str(self.path)))
                left -= len(piece)
                yield piece


def read_bundle(path: Path) -> Bundle:
    """Read a bundle; raise InputError where it is none, is cut off, or does not fit its manifest."""
    place = Place(file=str(path))
    try:
        with path.open("rb") as file:
            bundle = _read(path, file)
            _check(bundle, file)
    except InputError as error:
        error.place = error.place or place
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", hint=_HINT, place=place) from error
    except (tarfile.TarError, ValueError, EOFError) as error:
        raise InputError(f"damaged, or not an update bundle: {error}", hint=_HINT, place=place) from error
    return bundle


def _read(path: Path, file: IO[bytes]) -> Bundle:
    with tarfile.open(fileobj=file, mode="r:") as archive:
        members = archive.getmembers()
        if tuple(member.name for member in members) != MEMBERS or not all(member.isreg() for member in members):
            raise InputError("not an update bundle", hint=_HINT)
        content = archive.extractfile(MANIFEST) if members[0].size <= _LARGEST_SMALL_FILE else None
        if content is None:
            raise InputError("a manifest of more than 64 MiB is not read", hint=_HINT)
        manifest = Manifest.from_json(content.read())
    boot, root = (Extent(offset=member.offset_data, size=member.size) for member in members[1:])
    if root.offset + root.size > os.fstat(file.fileno()).st_size:
        raise InputError("this bundle is cut off", hint="copy it again, or build it again")
    return Bundle(path=path, manifest=manifest, boot=boot, root=root)


def check_slot(file: IO[bytes], boot: Extent, root: Extent, *, root_hash: str, hash_offset: int) -> None:
    """Compare command line and verity's top of two images with what is said of them; raise InputError, ValueError."""
    line = cmdline.parse(_command_line(file, boot))
    if (line.root_hash, line.root_offset) != (root_hash, hash_offset):
        raise InputError("the boot image names another root than is said of it")
    file.seek(root.offset + hash_offset)
    found = verity.parse_superblock(file.read(verity.SUPERBLOCK_BYTES))
    if found is None or hash_offset + found.tree_bytes != root.size:
        raise InputError("the root image holds no verity tree where its command line says")
    file.seek(root.offset + hash_offset + found.hash_block)
    if not verity.has_root(found, hash_offset, file.read(found.hash_block), root_hash):
        raise InputError("the root image's verity tree has another root hash than its command line names")


def _check(bundle: Bundle, file: IO[bytes]) -> None:
    """Compare what is in the images with what the manifest says; raise InputError, ValueError."""
    manifest = bundle.manifest
    for name, extent in (("boot", bundle.boot), ("root", bundle.root)):
        if manifest.part(name).size != extent.size:
            raise InputError(f"the {name} image has {extent.size} bytes, its manifest says {manifest.part(name).size}")
    check_slot(file, bundle.boot, bundle.root, root_hash=manifest.root_hash, hash_offset=manifest.hash_offset)


def _command_line(file: IO[bytes], boot: Extent) -> str:
    file.seek(boot.offset)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            content = archive.extractfile(bootimage.CMDLINE)
            data = content.read(1 << 16) if content else b""
    except (KeyError, tarfile.TarError) as error:
        raise InputError(f"the boot image can't be read: {error}") from error
    found = envblock.read(data, (bootimage.CMDLINE_VARIABLE,)) or {}
    return found.get(bootimage.CMDLINE_VARIABLE, b"").decode("utf-8", "replace")
