"""Is a file that begins like a disk image one? Its own head says enough to tell it from a few magic bytes.

ISO 9660  ECMA-119, 8.4: version 1, and block count and size in both byte orders
GPT       UEFI 2.10, 5.3.2: the checksums of the primary table, or of the backup in the last 33 sectors
qcow2     QEMU, docs/interop/qcow2.rst: version, size of a cluster, size of the disk, where the first table is
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import BinaryIO

from builder.errors import InputError
from init.formats import gpt

_ISO_DESCRIPTOR = 16 * 2048
_HINT = "give the .iso, .raw or .qcow2 that `berth build` made; copy or download it again, or build it again"
_TABLE = gpt.SECTOR + gpt.ARRAY_BYTES


def check_heads(file: BinaryIO) -> None:
    """Raise InputError where `file` begins like an ISO, a disk or a qcow2 image and is none. Other kinds pass.

    The position is at the beginning afterwards.
    """
    head, descriptor = _at(file, 0, 1024), _at(file, _ISO_DESCRIPTOR, 2048)
    problem = None
    if descriptor[1:6] == b"CD001":
        problem = _iso(descriptor)
    elif head.startswith(b"QFI\xfb"):
        problem = _qcow2(head)
    elif head[gpt.SECTOR :].startswith(gpt.SIGNATURE):
        problem = _gpt(file)
    file.seek(0)
    if problem is not None:
        raise InputError(f"this is no image, though it begins like one: {problem}", hint=_HINT)


def _iso(descriptor: bytes) -> str | None:
    if len(descriptor) < 2048:
        return "it ends within the ISO's first volume descriptor"
    little, big = struct.unpack_from("<I", descriptor, 80), struct.unpack_from(">I", descriptor, 84)
    sizes = struct.unpack_from("<H", descriptor, 128) + struct.unpack_from(">H", descriptor, 130)
    if descriptor[0] != 1 or descriptor[6] != 1 or little != big or not little[0] or sizes != (2048, 2048):
        return "the ISO's first volume descriptor makes no sense"
    return None


def _qcow2(head: bytes) -> str | None:
    if len(head) < 72:
        return "it ends within the qcow2 header"
    version, bits = struct.unpack_from(">I", head, 4)[0], struct.unpack_from(">I", head, 20)[0]
    size, tables, start = struct.unpack_from(">QxxxxIQ", head, 24)
    if version not in (2, 3) or not 9 <= bits <= 21 or not size or not tables or not start or start % (1 << bits):
        return "the qcow2 header makes no sense"
    return None


def read_table(read_at: Callable[[int, int], bytes], size: int) -> tuple[gpt.Table, bool]:
    """Return the partition table of a disk of `size` bytes, and whether that is the backup, for the primary is damaged.

    `read_at` takes offset and count in bytes. Raises ValueError where both are damaged.
    """
    primary = read_at(gpt.SECTOR, _TABLE)
    try:
        return gpt.decode(primary[: gpt.SECTOR], primary[gpt.SECTOR :]), False
    except ValueError as error:
        backup = read_at(size - _TABLE, _TABLE) if size > _TABLE else b""
        try:
            return gpt.decode(backup[gpt.ARRAY_BYTES :], backup[: gpt.ARRAY_BYTES]), True
        except ValueError:
            raise ValueError(f"{error}, and there is no sound backup at its end") from error


def _gpt(file: BinaryIO) -> str | None:
    try:
        read_table(lambda offset, count: _at(file, offset, count), file.seek(0, io.SEEK_END))
    except ValueError as error:
        return str(error)
    return None


def _at(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)
