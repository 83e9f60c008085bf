"""Device-mapper devices through /dev/mapper/control (linux/dm-ioctl.h, interface 4).

struct dm_ioctl, 312 bytes: version 3 × u32 · data_size u32 · data_start u32 · target_count u32 ·
open_count i32 · flags u32 · event_nr u32 · padding u32 · dev u64 · name 128 · uuid 129 · data 7
struct dm_target_spec, 40 bytes: sector_start u64 · length u64 · status i32 · next u32 · target_type 16,
followed by the parameters, NUL-terminated, padded to 8
"""

from __future__ import annotations

import fcntl
import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from init.pid1.system import TableRow

_CONTROL = "/dev/mapper/control"
_HEADER = struct.Struct("=3IIIIiIIIQ128s129s7x")
_SPEC = struct.Struct("=QQiI16s")
_DEV_CREATE, _DEV_REMOVE, _DEV_SUSPEND, _TABLE_LOAD = 3, 4, 6, 9
_READ_ONLY = 1


def _number(command: int) -> int:
    return 3 << 30 | _HEADER.size << 16 | 0xFD << 8 | command  # _IOWR(DM_IOCTL, command, struct dm_ioctl)


def _pack(name: str, payload: bytes = b"", *, targets: int = 0, flags: int = 0) -> bytearray:
    size = _HEADER.size + len(payload)
    header = _HEADER.pack(4, 0, 0, size, _HEADER.size, targets, 0, flags, 0, 0, 0, name.encode(), b"")
    return bytearray(header + payload)


def encode_table(table: Sequence[TableRow]) -> bytes:
    """Return the rows as the kernel wants them behind the header."""
    payload = b""
    for row in table:
        parameters = row.parameters.encode() + b"\0"
        parameters += bytes(-len(parameters) % 8)
        length = _SPEC.size + len(parameters)
        payload += _SPEC.pack(row.start, row.length, 0, length, row.target.encode()) + parameters
    return payload


def _minor(device: int) -> int:
    return device & 0xFF | device >> 12 & 0xFFF00


def create(name: str, table: Sequence[TableRow], *, read_only: bool) -> str:
    """Make and start a device; return `/dev/dm-N`. Nothing stays behind when a step fails."""
    flags = _READ_ONLY if read_only else 0
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        answer = _pack(name)
        fcntl.ioctl(control, _number(_DEV_CREATE), answer)
        try:
            rows = _pack(name, encode_table(table), targets=len(table), flags=flags)
            fcntl.ioctl(control, _number(_TABLE_LOAD), rows)
            answer = _pack(name)
            fcntl.ioctl(control, _number(_DEV_SUSPEND), answer)  # without the suspend flag it resumes
        except OSError:
            fcntl.ioctl(control, _number(_DEV_REMOVE), _pack(name))
            raise
        return f"/dev/dm-{_minor(_HEADER.unpack_from(answer)[10])}"
    finally:
        os.close(control)


def remove(name: str) -> None:
    """Take a device away."""
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(control, _number(_DEV_REMOVE), _pack(name))
    finally:
        os.close(control)
