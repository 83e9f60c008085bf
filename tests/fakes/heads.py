"""The least that passes for an image before it boots: an ISO's first volume descriptor, a GPT, a qcow2 header."""

from __future__ import annotations

import struct

from init.formats import gpt


def iso() -> bytes:
    blocks = 17
    descriptor = bytearray(2048)
    descriptor[:7] = b"\1CD001\1"
    struct.pack_into("<I", descriptor, 80, blocks)
    struct.pack_into(">I", descriptor, 84, blocks)
    struct.pack_into("<H", descriptor, 128, 2048)
    struct.pack_into(">H", descriptor, 130, 2048)
    return bytes(16 * 2048) + bytes(descriptor)


def raw(sectors: int = 80) -> bytes:
    table = gpt.encode(gpt.Table(disk_guid="11111111-2222-4333-8444-555555555555", sectors=sectors, entries={}))
    start = table.protective_mbr + table.primary
    return start + bytes(sectors * gpt.SECTOR - len(start) - len(table.backup)) + table.backup


def qcow2() -> bytes:
    head = bytearray(0x20000)
    struct.pack_into(">4sI", head, 0, b"QFI\xfb", 3)
    struct.pack_into(">IQ", head, 20, 16, 1 << 20)
    struct.pack_into(">IQ", head, 36, 1, 0x10000)
    return bytes(head)
