"""Netlink's attributes: length u16 with its own four bytes, kind u16, value, padded to four (netlink(7))."""

from __future__ import annotations

import struct

_HEAD = struct.Struct("=HH")
_NESTED = 0x8000
_KIND = 0x3FFF  # without the flags for nesting and byte order


def attribute(kind: int, value: bytes) -> bytes:
    """Return one attribute."""
    return _HEAD.pack(_HEAD.size + len(value), kind) + value + bytes(-len(value) % 4)


def nested(kind: int, value: bytes) -> bytes:
    """Return an attribute that holds attributes."""
    return attribute(kind | _NESTED, value)


def text(value: str) -> bytes:
    """Return a text as the kernel reads it, with a NUL."""
    return value.encode() + b"\0"


def parse_all(data: bytes) -> list[tuple[int, bytes]]:
    """Return kinds and values in order; stop where the lengths make no sense."""
    found = []
    while len(data) >= _HEAD.size:
        length, kind = _HEAD.unpack_from(data)
        if not _HEAD.size <= length <= len(data):
            break
        found.append((kind & _KIND, data[_HEAD.size : length]))
        data = data[(length + 3) & ~3 :]
    return found


def parse(data: bytes) -> dict[int, bytes]:
    """Return values by kind; the last wins."""
    return dict(parse_all(data))
