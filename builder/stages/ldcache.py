"""The dynamic linker's cache, `/etc/ld.so.cache`, as ldconfig writes it, from the tree itself.

Written here and not by ldconfig, whose output holds what else lies in the folders of the host that runs it.
All numbers are little-endian (glibc's dl-cache.h, "new format"):

    offset  bytes  header                               each entry, 24 bytes
         0     20  `glibc-ld.so.cache1.1`                0  4  kind: 0x303 ELF for x86-64, 0xa03 for AArch64
        20      4  number of entries                     4  4  offset of the name, from the header's start
        24      4  length of the strings                 8  4  offset of the path
        28      1  2: little-endian                     12  4  unused
        29      3  unused                               16  8  hardware capability, 0
        32      4  offset of extensions, 0
        36     12  unused

Entries are sorted by name, downwards, numbers in names by value: the loader searches by halves.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Iterator

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile

from builder.rootfs import kept
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

PATH = "etc/ld.so.cache"
_KINDS = {"amd64": 0x0303, "arm64": 0x0A03}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Write the cache of the libraries in the loader's own folders and those of /etc/ld.so.conf.d."""
    architecture = context.recipe.build.architecture
    known = _sonames(draft, context)
    found: dict[str, str] = {}
    for folder in folders(draft, _TRIPLETS[architecture]):
        for node in draft.below(folder):
            name = node.path.removeprefix(folder + "/")
            if "/" not in name and known.get(_file_of(draft, node)) == name:
                found.setdefault(name, f"/{node.path}")
    draft.file(PATH, encode(found, _KINDS[architecture]))
    return f"{len(found)} libraries"


def folders(draft: Draft, triplet: str) -> list[str]:
    """Return the folders that are searched, in order, each once."""
    named: list[str] = []
    for node in draft.below("etc/ld.so.conf.d"):
        if node.path.endswith(".conf"):
            lines = draft.read(node.path).decode("utf-8", "replace").splitlines()
            named += [line.strip().lstrip("/") for line in lines if line.strip().startswith("/")]
    named += [f"usr/lib/{triplet}", "usr/lib"]
    merged = [re.sub(r"^lib(?=/|$)", "usr/lib", folder.rstrip("/")) for folder in named]
    return list(dict.fromkeys(merged))


def _file_of(draft: Draft, node: Entry) -> str:
    """Return the hash of the file that a library's name leads to, "" where it leads elsewhere."""
    for _ in range(8):
        if node.kind is Kind.FILE:
            return node.sha256
        if node.kind is Kind.HARDLINK:
            path = node.target
        elif node.kind is Kind.SYMLINK and not node.target.startswith(("/", ".")):
            path = f"{node.path.rpartition('/')[0]}/{node.target}"
        else:
            return ""
        following = draft.get(path)
        if following is None:
            return ""
        node = following
    return ""


def _sonames(draft: Draft, context: StageContext) -> dict[str, str]:
    """Return the name that each shared library gives itself, by the hash of its bytes; kept in the store."""
    hashes = sorted({node.sha256 for node in draft if node.kind is Kind.FILE and _may_be_library(node.path)})
    key = kept.key_of(kept.code(__file__), *hashes)
    names: dict[str, str] | None = kept.load(context.store, "sonames", key)
    if names is None:
        names = {sha256: name for sha256 in hashes if (name := soname(context.store.read(sha256)))}
        kept.save(context.store, "sonames", key, names)
    return names


def _may_be_library(path: str) -> bool:
    name = path.rpartition("/")[2]
    return ".so" in name and (name.startswith(("lib", "ld-")) or name.endswith(".so"))


def soname(data: bytes) -> str:
    """Return what a shared library calls itself (DT_SONAME), "" where it does not or is none."""
    if data[:4] != b"\x7fELF":
        return ""
    try:
        for section in ELFFile(io.BytesIO(data)).iter_sections():
            if isinstance(section, DynamicSection):
                return next((str(tag.soname) for tag in section.iter_tags("DT_SONAME")), "")  # type: ignore[attr-defined] # made by its name
    except ELFError:
        return ""
    return ""


def compare(one: str, two: str) -> int:
    """Compare names as the loader does (`_dl_cache_libcmp`): digits by value, everything else by byte."""
    left, right = [*_pieces(one)], [*_pieces(two)]
    return (left > right) - (left < right)


def _pieces(name: str) -> Iterator[tuple[int, int]]:
    # a run of digits sorts above any other character: glibc answers 1 where only the first of two has one
    for match in re.finditer(r"\d+|\D", name):
        piece = match[0]
        yield (1, int(piece)) if piece.isdigit() else (0, ord(piece))


def encode(libraries: dict[str, str], kind: int) -> bytes:
    """Return the cache of names and the paths that they lead to."""
    names = sorted(libraries, key=functools.cmp_to_key(compare), reverse=True)
    strings = bytearray()
    start = 48 + 24 * len(names)
    rows = []
    for name in names:
        key = start + len(strings)
        strings += name.encode() + b"\0"
        value = start + len(strings)
        strings += libraries[name].encode() + b"\0"
        rows.append(struct.pack("<iIIIQ", kind, key, value, 0, 0))
    header = struct.pack("<20sIIB3xI12x", b"glibc-ld.so.cache1.1", len(names), len(strings), 2, 0)
    return header + b"".join(rows) + bytes(strings)
