"""Is a disk image all there? A download that broke off or a full disk leaves a file shorter than its own tables say.

ISO 9660  ECMA-119, 8.4: number of blocks at byte 80 of the first volume descriptor, their size at byte 128
GPT       UEFI 2.10, 5.3.2: the backup header's sector at byte 32 of the primary header
qcow2     QEMU, docs/interop/qcow2.rst: the level 1 and level 2 tables name every cluster
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO

from builder.errors import InputError
from init.formats import gpt

_ISO_DESCRIPTOR = 16 * 2048
_OFFSET = 0x00FF_FFFF_FFFF_FE00  # of a table's entry; the other bits are flags
_MOST_TABLES = 1 << 16


def check_whole(file: BinaryIO) -> None:
    """Raise InputError where `file` ends before what its own tables name. Other kinds pass.

    The position is at the beginning afterwards.
    """
    size = file.seek(0, io.SEEK_END)
    needed = _needed(file)
    file.seek(0)
    if needed > size:
        raise InputError(
            f"this image is cut off: {needed} bytes are needed, and the file has {size}",
            hint="copy or download it again, or build it again",
        )


def _needed(file: BinaryIO) -> int:
    head = _at(file, 0, 1024)
    descriptor = _at(file, _ISO_DESCRIPTOR, 2048)
    if descriptor[1:6] == b"CD001" and len(descriptor) == 2048:
        (blocks,), (block,) = struct.unpack_from("<I", descriptor, 80), struct.unpack_from("<H", descriptor, 128)
        return int(blocks * block)
    if head[:4] == b"QFI\xfb":
        return _qcow2(file, head)
    try:
        return gpt.decode(head[gpt.SECTOR :], _at(file, 2 * gpt.SECTOR, gpt.ARRAY_BYTES)).sectors * gpt.SECTOR
    except ValueError:  # no disk, or one whose primary table is damaged, and tells nothing
        return 0


def _qcow2(file: BinaryIO, head: bytes) -> int:
    if len(head) < 104:  # the header of version 3
        return 104
    (bits,) = struct.unpack_from(">I", head, 20)
    tables, start = struct.unpack_from(">IQ", head, 36)
    if not 9 <= bits <= 21 or tables > _MOST_TABLES:
        raise InputError("this qcow2 image's header is damaged", hint="copy or download it again")
    cluster = 1 << bits
    needed = start + 8 * tables
    for table in _entries(_at(file, start, 8 * tables)):
        needed = max(needed, table + cluster if table else 0)
        for data in _entries(_at(file, table, cluster)) if table else ():
            # A compressed cluster (bit 62) has its length elsewhere in the word; its first byte has to be there.
            needed = max(needed, data + cluster if data else 0)
    return int(needed)


def _entries(table: bytes) -> list[int]:
    words = struct.unpack(f">{len(table) // 8}Q", table[: len(table) // 8 * 8])
    return [word & _OFFSET for word in words if not word >> 62 & 1]


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
