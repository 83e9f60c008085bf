"""ISO 9660 with Rock Ridge, as much as is needed to find files in an image and to fix its dates (ECMA-119, IEEE P1282).

    sector 16 …   volume descriptors of 2048 bytes; type 1 is the primary one, type 255 ends them
    offset 80     of the primary: volume space size in sectors, little and big endian
    offset 156    of the primary: the root's directory record
    offset 813    of the primary: four dates of 17 bytes

A directory record: length, …, extent (LE at 2), size (LE at 10), date of 7 bytes at 18, flags at 25, name length at
32, name, padding to even, then Rock Ridge's entries (`NM` the name, `TF` dates, `CE` where more of them lie).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

SECTOR = 2048
_DESCRIPTORS = 16 * SECTOR
_SPACE_SIZE = 80
_ROOT = 156
_DATES = 813
_IS_FOLDER = 2
_CURRENT = b"\0"
_PARENT = b"\1"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A file or folder: its path from the root without a leading slash, and where it lies, in bytes."""

    path: str
    offset: int
    size: int
    is_folder: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Record:
    name: bytes
    extent: int
    size: int
    flags: int
    position: int  # of the record, in bytes from the image's beginning
    length: int


class NotIso9660(ValueError):
    """The bytes are not an ISO 9660 image that can be read."""


def primary_offset(file: BinaryIO) -> int:
    """Return the byte offset of the primary volume descriptor; raise NotIso9660 where there is none."""
    for index in range(64):
        offset = _DESCRIPTORS + index * SECTOR
        file.seek(offset)
        head = file.read(7)
        if len(head) < 7 or head[1:6] != b"CD001" or head[0] == 255:
            break
        if head[0] == 1:
            return offset
    raise NotIso9660("no ISO 9660 volume")


def nodes(file: BinaryIO) -> Iterator[Node]:
    """Give every file and folder of an image, parents first."""
    for path, record in _walk(file):
        yield Node(
            path=path,
            offset=record.extent * SECTOR,
            size=record.size,
            is_folder=bool(record.flags & _IS_FOLDER),
        )


def find(file: BinaryIO, path: str) -> Node | None:
    """Return the node at `path`, without a leading slash."""
    return next((node for node in nodes(file) if node.path == path), None)


def fix_dates(file: BinaryIO, epoch: int) -> None:
    """Write `epoch` (seconds, UTC) over every date of an image: volume, directory records, Rock Ridge."""
    primary = primary_offset(file)
    long = _long_date(epoch)
    short = _short_date(epoch)
    positions = [(primary + _ROOT + 18, short), (primary + _DATES, long), (primary + _DATES + 17, long)]
    positions.append((primary + _DATES + 51, long))
    for record in _all_records(file):
        positions.append((record.position + 18, short))
        for tag, start, body in _system_use(file, record):
            if tag == b"TF":
                positions += _stamps(start, body, short=short, long=long)
    for position, date in positions:
        file.seek(position)
        file.write(date)


def set_space_size(file: BinaryIO, sectors: int) -> None:
    """Say in the volume descriptor how many sectors of 2048 bytes the volume has."""
    file.seek(primary_offset(file) + _SPACE_SIZE)
    file.write(struct.pack("<I", sectors) + struct.pack(">I", sectors))


def _stamps(start: int, body: bytes, *, short: bytes, long: bytes) -> list[tuple[int, bytes]]:
    """Return where the dates of a `TF` entry stand: bit 7 of its flags tells the long form, the others which dates."""
    date = long if body[4] & 0x80 else short
    count = (body[4] & 0x7F).bit_count()
    return [(start + 5 + index * len(date), date) for index in range(count)]


def _long_date(epoch: int) -> bytes:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(epoch)).encode() + b"00\0"


def _short_date(epoch: int) -> bytes:
    utc = time.gmtime(epoch)
    return bytes((utc.tm_year - 1900, utc.tm_mon, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, 0))


def _root(file: BinaryIO) -> _Record:
    position = primary_offset(file) + _ROOT
    file.seek(position)
    return _parse(file.read(34), position)


def _parse(data: bytes, position: int) -> _Record:
    if len(data) < 34 or len(data) < 33 + data[32]:
        raise NotIso9660("a directory record ends too early")
    return _Record(
        name=data[33 : 33 + data[32]],
        extent=struct.unpack_from("<I", data, 2)[0],
        size=struct.unpack_from("<I", data, 10)[0],
        flags=data[25],
        position=position,
        length=data[0],
    )


def _records(file: BinaryIO, folder: _Record) -> Iterator[_Record]:
    """Give the records of one folder, `.` and `..` too. A record never crosses a sector."""
    if folder.size > 1 << 24:
        raise NotIso9660("a folder is impossibly large")
    start = folder.extent * SECTOR
    file.seek(start)
    data = file.read(folder.size)
    at = 0
    while at < len(data):
        length = data[at]
        if length == 0:
            at = (at // SECTOR + 1) * SECTOR
            continue
        yield _parse(data[at : at + length], start + at)
        at += length


def _walk(file: BinaryIO) -> Iterator[tuple[str, _Record]]:
    waiting = [("", _root(file))]
    seen = set()
    while waiting:
        prefix, folder = waiting.pop()
        if folder.extent in seen:
            raise NotIso9660("a folder contains itself")
        seen.add(folder.extent)
        for record in _records(file, folder):
            if record.name in (_CURRENT, _PARENT):
                continue
            path = prefix + _name(file, record)
            yield path, record
            if record.flags & _IS_FOLDER:
                waiting.append((path + "/", record))


def _all_records(file: BinaryIO) -> list[_Record]:
    folders = [_root(file)] + [record for _, record in _walk(file) if record.flags & _IS_FOLDER]
    return [record for folder in folders for record in _records(file, folder)]


def _name(file: BinaryIO, record: _Record) -> str:
    parts = [body[5:] for tag, _, body in _system_use(file, record) if tag == b"NM"]
    name = b"".join(parts) if parts else record.name.split(b";")[0].rstrip(b".").lower()
    return name.decode("utf-8", "replace")


def _system_use(file: BinaryIO, record: _Record) -> Iterator[tuple[bytes, int, bytes]]:
    """Give Rock Ridge's entries of a record: tag, position in the image, and all bytes of the entry."""
    start = 33 + len(record.name)
    start += start % 2
    areas = [(record.position + start, record.length - start)]
    for _ in range(8):  # continuation areas of one record
        if not areas:
            return
        position, length = areas.pop()
        file.seek(position)
        data = file.read(max(0, length))
        at = 0
        while at + 4 <= len(data) and data[at + 2] >= 4:
            body = data[at : at + data[at + 2]]
            if body[:2] == b"ST":
                break
            if body[:2] == b"CE" and len(body) >= 28:
                block, offset, size = (struct.unpack_from("<I", body, index)[0] for index in (4, 12, 20))
                areas.append((block * SECTOR + offset, min(size, SECTOR)))
            yield body[:2], position + at, body
            at += len(body)
