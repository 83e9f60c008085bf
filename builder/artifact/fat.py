"""Reads a file from a FAT12 or FAT16 volume with long names, to find what we put on an ESP (Microsoft's fatgen103).

offset 11  bytes a sector   13 sectors a cluster   14 reserved sectors   16 count of FATs   17 root entries
offset 19  sectors (0: see 32)   22 sectors of one FAT
a folder's entry of 32 bytes: name 0–10, attributes 11 (0x0F: part of a long name), cluster 26, size 28
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

ReadAt = Callable[[int, int], bytes]  # (offset, size) in bytes of the volume
_LARGEST = 64 << 20
_LONG = 0x0F
_FOLDER = 0x10
_VOLUME = 0x08


class NotFat(ValueError):
    """The volume is not one that is read here."""


class Volume:
    """A FAT volume, read through a function."""

    def __init__(self, read_at: ReadAt) -> None:
        head = read_at(0, 512)
        if len(head) < 512 or head[510:512] != b"\x55\xaa":
            raise NotFat("no FAT volume")
        sector, per_cluster, reserved, fats, entries = struct.unpack_from("<HBHBH", head, 11)
        (small,), (fat_sectors,), (large,) = (
            struct.unpack_from(form, head, at) for form, at in (("<H", 19), ("<H", 22), ("<I", 32))
        )
        sectors = small or large
        if sector not in (512, 1024, 2048, 4096) or not per_cluster or not fat_sectors or not entries:
            raise NotFat("no FAT12 or FAT16 volume")
        self._read = read_at
        self._cluster = sector * per_cluster
        self._root = (reserved + fats * fat_sectors) * sector
        self._root_bytes = entries * 32
        self._data = self._root + -(-self._root_bytes // sector) * sector
        self._clusters = (sectors * sector - self._data) // self._cluster
        self._wide = self._clusters >= 4085  # FAT16; the type depends on this count alone
        self._fat = read_at(reserved * sector, min(fat_sectors * sector, _LARGEST))

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is none; letters' case does not matter, as in FAT."""
        content = self._read(self._root, self._root_bytes)
        *folders, name = path.lower().split("/")
        for folder in folders:
            found = self._find(content, folder, is_folder=True)
            if found is None:
                return None
            content = self._chain(found[0], None)
        found = self._find(content, name, is_folder=False)
        return None if found is None else self._chain(*found)

    def _find(self, content: bytes, name: str, *, is_folder: bool) -> tuple[int, int] | None:
        for found, attributes, cluster, size in _entries(content):
            if found == name and bool(attributes & _FOLDER) == is_folder:
                return cluster, size
        return None

    def _chain(self, cluster: int, size: int | None) -> bytes:
        """Follow a chain of clusters; a loop ends where more was read than the volume holds."""
        data = bytearray()
        limit = self._clusters * self._cluster if size is None else size
        while 2 <= cluster < self._clusters + 2 and len(data) < min(limit, _LARGEST):
            data += self._read(self._data + (cluster - 2) * self._cluster, self._cluster)
            cluster = self._next(cluster)
        return bytes(data if size is None else data[:size])

    def _next(self, cluster: int) -> int:
        offset = cluster * 2 if self._wide else cluster * 3 // 2
        pair = self._fat[offset : offset + 2]
        if len(pair) < 2:
            return 0
        (value,) = struct.unpack("<H", pair)
        if self._wide:
            return int(value)
        return int(value >> 4 if cluster % 2 else value & 0xFFF)


def _entries(content: bytes) -> Iterator[tuple[str, int, int, int]]:
    """Give name in small letters, attributes, first cluster and size of each entry of a folder."""
    long: list[bytes] = []
    for at in range(0, len(content) - 31, 32):
        entry = content[at : at + 32]
        if entry[0] == 0:
            return
        if entry[0] == 0xE5:
            long = []
        elif entry[11] & 0x3F == _LONG:
            long.insert(0, entry[1:11] + entry[14:26] + entry[28:32])
        else:
            if not entry[11] & _VOLUME:
                yield _name(entry, long), entry[11], *struct.unpack_from("<HI", entry, 26)
            long = []


def _name(entry: bytes, long: list[bytes]) -> str:
    if long:
        return b"".join(long).decode("utf-16-le", "replace").split("\0", 1)[0].lower()
    stem, suffix = (part.decode("ascii", "replace").rstrip(" ").lower() for part in (entry[:8], entry[8:11]))
    return f"{stem}.{suffix}" if suffix else stem
