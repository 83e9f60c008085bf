"""GUID partition tables as bytes (UEFI 2.10, 5.2 and 5.3), for sectors of 512 bytes.

    sector 0            protective MBR; its first 440 bytes are free for boot code
    sector 1            primary header
    sectors 2 … 33      primary array: 128 entries of 128 bytes, four to a sector
    last 33 … last 1    backup array
    last sector         backup header

GRUB reads the primary alone; so whoever changes a table writes the backup first, syncs, then the primary.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SECTOR = 512
ENTRIES = 128
ENTRY_BYTES = 128
ARRAY_BYTES = ENTRIES * ENTRY_BYTES
ARRAY_SECTORS = ARRAY_BYTES // SECTOR
SIGNATURE = b"EFI PART"
REVISION = 0x00010000
HEADER_BYTES = 92
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
_NO_TYPE = bytes(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One partition: GUIDs in upper-case text, first and last sector (both belong to it)."""

    type_guid: str
    guid: str
    first: int
    last: int
    name: str
    attributes: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A whole table: the disk's GUID and size in sectors, and entries by number from 1."""

    disk_guid: str
    sectors: int
    entries: Mapping[int, Entry]

    def named(self, name: str) -> tuple[int, Entry] | None:
        """Return number and entry of the first partition called `name`."""
        for number, entry in sorted(self.entries.items()):
            if entry.name == name:
                return number, entry
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """The bytes of a table. `backup` (array, then header) belongs into the last 33 sectors."""

    protective_mbr: bytes  # one sector
    primary: bytes  # header and array, 33 sectors from sector 1 on
    backup: bytes


# Not by `uuid`: PID 1 reads partition tables, and that module costs it more time than all of this one.


def _guid_bytes(text: str) -> bytes:
    """Return a GUID's 16 bytes: its first three fields are little endian, the rest is in order."""
    data = bytes.fromhex(text.replace("-", ""))
    if len(data) != 16:
        raise ValueError(f"not a GUID: {text!r}")
    return data[3::-1] + data[5:3:-1] + data[7:5:-1] + data[8:]


def _guid_text(data: bytes) -> str:
    digits = (data[3::-1] + data[5:3:-1] + data[7:5:-1] + data[8:]).hex().upper()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _encode_array(entries: Mapping[int, Entry]) -> bytes:
    array = bytearray(ARRAY_BYTES)
    for number, entry in entries.items():
        if not 1 <= number <= ENTRIES:
            raise ValueError(f"a GPT has no entry {number}")
        name = entry.name.encode("utf-16-le")
        if len(name) > 72:
            raise ValueError(f"a partition's name has at most 36 characters: {entry.name!r}")
        _ENTRY.pack_into(
            array,
            (number - 1) * ENTRY_BYTES,
            _guid_bytes(entry.type_guid),
            _guid_bytes(entry.guid),
            entry.first,
            entry.last,
            entry.attributes,
            name,
        )
    return bytes(array)


def _encode_header(table: Table, *, array: bytes, here: int, other: int, array_at: int) -> bytes:
    def pack(checksum: int) -> bytes:
        return _HEADER.pack(
            SIGNATURE,
            REVISION,
            HEADER_BYTES,
            checksum,
            0,
            here,
            other,
            2 + ARRAY_SECTORS,
            table.sectors - ARRAY_SECTORS - 2,
            _guid_bytes(table.disk_guid),
            array_at,
            ENTRIES,
            ENTRY_BYTES,
            zlib.crc32(array),
        )

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")


def protective_mbr(sectors: int) -> bytes:
    """Return sector 0: one entry of type 0xEE over the whole disk, no boot code."""
    covered = min(sectors - 1, 0xFFFFFFFF)
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, covered)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def encode(table: Table) -> Encoded:
    """Return all bytes of `table`."""
    array = _encode_array(table.entries)
    last = table.sectors - 1
    primary = _encode_header(table, array=array, here=1, other=last, array_at=2)
    backup = _encode_header(table, array=array, here=last, other=1, array_at=last - ARRAY_SECTORS)
    return Encoded(protective_mbr=protective_mbr(table.sectors), primary=primary + array, backup=array + backup)


def decode(header: bytes, array: bytes) -> Table:
    """Read a table from its header's sector and its array; works for primary and backup alike.

    Raises ValueError where a signature, a size or a checksum is not what it has to be.
    """
    if len(header) < HEADER_BYTES or header[:8] != SIGNATURE:
        raise ValueError("no GPT header")
    fields = _HEADER.unpack_from(header)
    size, checksum, here, other = fields[2], fields[3], fields[5], fields[6]
    count, entry_bytes, array_checksum = fields[11], fields[12], fields[13]
    if not HEADER_BYTES <= size <= min(SECTOR, len(header)):
        raise ValueError("the GPT header has an impossible size")
    if zlib.crc32(header[:16] + bytes(4) + header[20:size]) != checksum:
        raise ValueError("the GPT header's checksum is wrong")
    if (count, entry_bytes) != (ENTRIES, ENTRY_BYTES):
        raise ValueError("the GPT does not have 128 entries of 128 bytes")
    if len(array) < ARRAY_BYTES or zlib.crc32(array[:ARRAY_BYTES]) != array_checksum:
        raise ValueError("the GPT array's checksum is wrong")
    entries: dict[int, Entry] = {}
    for index in range(ENTRIES):
        kind, guid, first, last, attributes, name = _ENTRY.unpack_from(array, index * ENTRY_BYTES)
        if kind != _NO_TYPE:
            text = name.decode("utf-16-le", errors="replace").split("\0", 1)[0]
            entries[index + 1] = Entry(
                type_guid=_guid_text(kind),
                guid=_guid_text(guid),
                first=first,
                last=last,
                name=text,
                attributes=attributes,
            )
    return Table(disk_guid=_guid_text(fields[9]), sectors=max(here, other) + 1, entries=entries)


def grown(table: Table, *, sectors: int, number: int, last: int) -> Table:
    """Return `table` on a disk that has become `sectors` long, with partition `number` ending at `last`."""
    entries = dict(table.entries)
    entries[number] = replace(entries[number], last=last)
    return Table(disk_guid=table.disk_guid, sectors=sectors, entries=entries)
