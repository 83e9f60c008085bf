"""A file that ends before its own tables say is no image, however it begins."""

from __future__ import annotations

import io
import struct

import pytest
from fakes import heads

from builder.artifact.whole import check_whole
from builder.errors import InputError


def iso(blocks: int, size: int) -> bytes:
    data = bytearray(size)
    data[0x8000:0x8006] = b"\1CD001"
    struct.pack_into("<I", data, 0x8000 + 80, blocks)
    struct.pack_into("<H", data, 0x8000 + 128, 2048)
    return bytes(data)


def qcow2(size: int) -> bytes:
    """One level 1 table at 64 KiB, one level 2 table at 128 KiB, one cluster of data at 192 KiB."""
    data = bytearray(max(size, 0x30000 + 0x10000))
    data[:4] = b"QFI\xfb"
    struct.pack_into(">I", data, 20, 16)
    struct.pack_into(">IQ", data, 36, 1, 0x10000)
    struct.pack_into(">Q", data, 0x10000, 0x20000 | 1 << 63)
    struct.pack_into(">Q", data, 0x20000, 0x30000 | 1 << 63)
    return bytes(data[:size])


@pytest.mark.parametrize(
    ("whole", "size"), [(iso(40, 40 * 2048), 40 * 2048), (heads.raw(100), 51200), (qcow2(0x40000), 0x40000)]
)
def test_a_byte_less_is_too_little(whole: bytes, size: int) -> None:
    file = io.BytesIO(whole)
    check_whole(file)
    assert file.tell() == 0
    with pytest.raises(InputError, match="cut off"):
        check_whole(io.BytesIO(whole[: size - 1]))


def test_other_files_pass() -> None:
    check_whole(io.BytesIO(b"#!/bin/sh\n"))
    check_whole(io.BytesIO())


def test_a_damaged_partition_table_is_not_believed() -> None:
    """The disk is known by its backup then; a size that the damage made up says nothing."""
    disk = bytearray(heads.raw(100))
    disk[512 + 38] = 1
    check_whole(io.BytesIO(disk))
