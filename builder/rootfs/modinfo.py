"""What a kernel module says of itself: its section `.modinfo`, pairs `key=value` ended by NUL bytes.

Only what a cut needs is kept: `depends` (names that have to be loaded first) and `softdep` (names that are asked
for where they exist). Names use `_` where file names may use `-`.
"""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from builder.errors import BuildError
from builder.rootfs import kept
from builder.rootfs.archive import NOT_DEBIANS
from builder.rootfs.entry import Entry

if TYPE_CHECKING:
    from builder.fetch.store import Store

SUFFIXES = (".ko", ".ko.xz", ".ko.gz")
_LARGEST = 64 << 20  # bytes of an unpacked module; the largest of trixie has 13 MB


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleNeeds:
    """The names of modules that one module needs (`depends`) and would like (`softdep`)."""

    depends: tuple[str, ...] = ()
    softdep: tuple[str, ...] = ()


def module_name(path: str) -> str:
    """Return the name that the kernel knows a module file by."""
    return path.rpartition("/")[2].partition(".ko")[0].replace("-", "_")


def is_module(path: str) -> bool:
    """Return whether a path is that of a kernel module."""
    return path.startswith("usr/lib/modules/") and path.endswith(SUFFIXES)


@cache
def _code() -> str:
    return kept.code(__file__)


def read_needs(modules: Sequence[Entry], store: Store) -> Mapping[str, ModuleNeeds]:
    """Return what each module needs, by path. Read once for a set of modules, then kept in the store."""
    files = sorted(modules, key=lambda node: node.path)
    key = kept.key_of(_code(), *(f"{node.path}\0{node.sha256}" for node in files))
    known = kept.load(store, "modinfo", key)
    if known is None:
        with ThreadPoolExecutor() as pool:  # decompression releases the interpreter's lock
            read = pool.map(lambda node: _read(node, store), files)
            known = {node.path: needs for node, needs in zip(files, read, strict=True)}
        kept.save(store, "modinfo", key, known)
    return {
        path: ModuleNeeds(depends=tuple(depends), softdep=tuple(softdep)) for path, (depends, softdep) in known.items()
    }


def _read(node: Entry, store: Store) -> tuple[list[str], list[str]]:
    try:
        text = _section(_unpacked(store.read(node.sha256), node.path))
    except (lzma.LZMAError, zlib.error, struct.error, EOFError, IndexError, ValueError) as error:
        raise BuildError(
            f"the kernel module `/{node.path}` of {node.origin} is damaged: {error}", hint=NOT_DEBIANS
        ) from error
    return parse_needs(text)


def _unpacked(data: bytes, path: str) -> bytes:
    if path.endswith(".xz"):
        engine = lzma.LZMADecompressor()
        unpacked = engine.decompress(data, max_length=_LARGEST)
        if not engine.eof:
            raise ValueError("it is cut off, or larger than any module is")
        return unpacked
    if path.endswith(".gz"):
        return zlib.decompressobj(wbits=31).decompress(data, _LARGEST)
    return data


def _section(image: bytes) -> bytes:
    """Return the section `.modinfo` of a 64-bit little-endian ELF file (elf(5)).

    By hand: a general reader takes longer for the thousands of modules than decompressing them does.
    """
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("it is no 64-bit ELF file")
    table = int.from_bytes(image[40:48], "little")
    size, count, names = struct.unpack_from("<HHH", image, 58)
    rows = [struct.unpack_from("<I20xQQ", image, table + number * size) for number in range(count)]
    start = rows[names][1]
    for name, offset, length in rows:
        if image.startswith(b".modinfo\0", start + name):
            return image[offset : offset + length]
    raise ValueError("it has no section .modinfo")


def parse_needs(text: bytes) -> tuple[list[str], list[str]]:
    """Return (depends, softdep) of a section `.modinfo`."""
    depends: list[str] = []
    softdep: list[str] = []
    for pair in text.split(b"\0"):
        key, _, value = pair.decode("utf-8", "replace").partition("=")
        if key == "depends":
            depends += [name.replace("-", "_") for name in value.split(",") if name]
        elif key == "softdep":
            softdep += [name.replace("-", "_") for name in value.split() if name not in ("pre:", "post:")]
    return depends, softdep
