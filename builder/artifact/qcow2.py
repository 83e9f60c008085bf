"""qcow2 images, written directly, so that the bytes depend on nothing but the disk's bytes.

qemu-img asks the file system where holes are and copies with several coroutines; this goes by contents, in order.
Source: QEMU's docs/interop/qcow2.rst, version 3, clusters of 64 KiB.

    cluster 0              header
    cluster 1 …            refcount table, refcount blocks (16 bits each)
    then                   L1 table, L2 tables, data clusters in the order of the disk
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from builder.artifact.output import Artifact, data_extents, describe, replacing
from builder.errors import BuildError

CLUSTER = 65536
MAGIC = b"QFI\xfb"
_ENTRIES = CLUSTER // 8  # of an L2 table
_REFCOUNTS = CLUSTER // 2  # of a refcount block
_COPIED = 1 << 63  # refcount is exactly one
_OFFSET = 0x00FFFFFFFFFFFE00
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_ZEROS = bytes(CLUSTER)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """Where everything goes, in clusters."""

    refcount_table: int
    refcount_blocks: int
    l1: int
    l1_clusters: int
    l2: int
    data: int
    total: int


def write_qcow2(*, raw: Path, out: Path) -> Artifact:
    """Write the disk image `raw` as qcow2; clusters that are all zero take no room."""
    with raw.open("rb") as source:
        size = source.seek(0, 2)
        used = _used_clusters(source, size)
        tables = sorted({cluster // _ENTRIES for cluster in used})
        plan = _plan(size, tables=len(tables), data=len(used))
        with replacing(out) as file:
            file.truncate(plan.total * CLUSTER)
            file.write(_header(size, plan))
            _write_refcounts(file, plan)
            _write_maps(file, plan, used, tables)
            for index, cluster in enumerate(used):
                source.seek(cluster * CLUSTER)
                file.seek((plan.data + index) * CLUSTER)
                file.write(source.read(CLUSTER))
    return describe("qcow2", out)


def _used_clusters(source: BinaryIO, size: int) -> list[int]:
    """Return the disk's clusters that hold anything but zeros, ascending."""
    used: list[int] = []
    following = 0
    for start, end in list(data_extents(source)):
        for cluster in range(max(start // CLUSTER, following), -(-min(end, size) // CLUSTER)):
            source.seek(cluster * CLUSTER)
            data = source.read(CLUSTER)
            if data != _ZEROS[: len(data)]:
                used.append(cluster)
            following = cluster + 1
    return used


def _plan(size: int, *, tables: int, data: int) -> _Plan:
    l1_entries = -(-size // (_ENTRIES * CLUSTER))
    l1_clusters = max(1, -(-l1_entries * 8 // CLUSTER))
    blocks = 1
    while True:
        total = 1 + 1 + blocks + l1_clusters + tables + data
        needed = -(-total // _REFCOUNTS)
        if needed <= blocks:
            break
        blocks = needed
    l1 = 2 + blocks
    return _Plan(
        refcount_table=1,
        refcount_blocks=blocks,
        l1=l1,
        l1_clusters=l1_clusters,
        l2=l1 + l1_clusters,
        data=l1 + l1_clusters + tables,
        total=total,
    )


def _header(size: int, plan: _Plan) -> bytes:
    l1_entries = -(-size // (_ENTRIES * CLUSTER))
    return _HEADER.pack(
        MAGIC, 3, 0, 0, CLUSTER.bit_length() - 1, size, 0, l1_entries, plan.l1 * CLUSTER,
        plan.refcount_table * CLUSTER, 1, 0, 0, 0, 0, 0, 4, _HEADER.size,
    )  # fmt: skip


def _write_refcounts(file: BinaryIO, plan: _Plan) -> None:
    first = plan.refcount_table + 1
    file.seek(plan.refcount_table * CLUSTER)
    for block in range(plan.refcount_blocks):
        file.write(struct.pack(">Q", (first + block) * CLUSTER))
    file.seek(first * CLUSTER)
    file.write(b"\0\1" * plan.total)


def _write_maps(file: BinaryIO, plan: _Plan, used: list[int], tables: list[int]) -> None:
    for index, table in enumerate(tables):
        file.seek(plan.l1 * CLUSTER + table * 8)
        file.write(struct.pack(">Q", (plan.l2 + index) * CLUSTER | _COPIED))
    position = {table: plan.l2 + index for index, table in enumerate(tables)}
    for index, cluster in enumerate(used):
        file.seek(position[cluster // _ENTRIES] * CLUSTER + cluster % _ENTRIES * 8)
        file.write(struct.pack(">Q", (plan.data + index) * CLUSTER | _COPIED))


class Reader:
    """Reads an uncompressed qcow2 image without a backing file, as `write_qcow2` makes them."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        head = file.read(_HEADER.size)
        if len(head) < 72 or head[:4] != MAGIC:
            raise BuildError("not a qcow2 image")
        version, backing, _, bits, self.size, crypt, entries, l1 = struct.unpack_from(">IQIIQIIQ", head, 4)
        if version not in (2, 3) or backing or crypt or not 9 <= bits <= 21 or entries > 1 << 22:
            raise BuildError(
                "this qcow2 image has a backing file, is encrypted, or is not read here",
                hint="convert it with `qemu-img convert -O raw`",
            )
        self._file = file
        self._cluster = 1 << bits
        file.seek(l1)
        data = file.read(entries * 8)
        self._l1 = struct.unpack(f">{len(data) // 8}Q", data[: len(data) // 8 * 8])
        self._l2: dict[int, tuple[int, ...]] = {}

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes of the disk from `offset`; zeros where nothing is stored, less at its end."""
        size = max(0, min(size, self.size - offset))
        return b"".join(self._pieces(offset, size))

    def _pieces(self, offset: int, size: int) -> Iterator[bytes]:
        while size > 0:
            inside = offset % self._cluster
            take = min(size, self._cluster - inside)
            place = self._place(offset // self._cluster)
            if place:
                self._file.seek(place + inside)
                yield self._file.read(take).ljust(take, b"\0")
            else:
                yield bytes(take)
            offset += take
            size -= take

    def _place(self, cluster: int) -> int:
        entries = self._cluster // 8
        index = cluster // entries
        table = self._l1[index] & _OFFSET if index < len(self._l1) else 0
        if not table:
            return 0
        if index not in self._l2:
            self._file.seek(table)
            data = self._file.read(self._cluster).ljust(self._cluster, b"\0")
            self._l2[index] = struct.unpack(f">{entries}Q", data)
        entry = self._l2[index][cluster % entries]
        if entry >> 62 & 1:
            raise BuildError("this qcow2 image is compressed", hint="convert it with `qemu-img convert -O raw`")
        return 0 if entry & 1 else entry & _OFFSET
