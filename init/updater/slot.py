"""What lies in a slot: its boot image's extent and command line, its root image's extent, read from the devices.

Sizes are nowhere on the disk but in the images themselves: the boot image is a ustar archive that ends with two zero
blocks, the root image ends with verity's tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from init.blockdevice.device import BlockDevice
from init.formats import bootimage, cmdline, envblock, verity

BLOCK = 512
MEMBERS_MOST = 16
CHUNK = 1 << 20
_CLASS = Path("/sys/class/block")


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A file of the archive: offset and size in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A slot's two partitions."""

    name: str  # a or b
    boot: BlockDevice
    root: BlockDevice


def node(whole: str, number: int) -> str:
    """Return the node of a disk's partition; raise FileNotFoundError."""
    folder = _CLASS / Path(whole).name
    for found in sorted(folder.glob("*/partition")):
        if found.read_text().strip() == str(number):
            return f"/dev/{found.parent.name}"
    raise FileNotFoundError(2, f"it has no partition {number}", whole)


def pieces(device: BlockDevice, size: int, offset: int = 0) -> Iterator[bytes]:
    """Yield `size` bytes of a device, in pieces."""
    end = offset + size
    while offset < end:
        piece = device.read(offset, min(CHUNK, end - offset))
        if not piece:
            return
        offset += len(piece)
        yield piece


def digest(device: BlockDevice, size: int) -> str:
    """Return the SHA-256 of a device's first bytes, hex; raise OSError."""
    hashed = hashlib.sha256()
    for piece in pieces(device, size):
        hashed.update(piece)
    return hashed.hexdigest()


def members(boot: BlockDevice) -> tuple[dict[str, Member], int]:
    """Return a boot image's files and its size in bytes; raise ValueError where there is none, OSError."""
    found: dict[str, Member] = {}
    at = 0
    for _ in range(MEMBERS_MOST):
        header = boot.read(at, BLOCK)
        if header == bytes(BLOCK):
            if not found:
                break
            return found, at + 2 * BLOCK
        size = _size(header, at, boot.size)
        found[header[:100].split(b"\0")[0].decode("ascii", "replace")] = Member(offset=at + BLOCK, size=size)
        at += BLOCK + -(-size // BLOCK) * BLOCK
    raise ValueError("no boot image")


def _size(header: bytes, at: int, room: int) -> int:
    if len(header) != BLOCK or header[257:262] != b"ustar":
        raise ValueError(f"no ustar header at {at}")
    try:
        size = int(header[124:136].rstrip(b" \0"), 8)
        stated = int(header[148:156].rstrip(b" \0"), 8)
    except ValueError as error:
        raise ValueError(f"a damaged ustar header at {at}") from error
    if stated != sum(header[:148]) + 8 * 0x20 + sum(header[156:]) or not 0 <= size <= room - at:
        raise ValueError(f"a damaged ustar header at {at}")
    return size


def root_of(boot: BlockDevice) -> tuple[str, int]:
    """Return the verity root hash and its offset from a boot image's command line; raise ValueError, OSError."""
    files, _ = members(boot)
    where = files.get(bootimage.CMDLINE)
    if where is None or where.size > 1 << 16:
        raise ValueError("the boot image has no command line")
    found = envblock.read(boot.read(where.offset, where.size), (bootimage.CMDLINE_VARIABLE,)) or {}
    line = cmdline.parse(found.get(bootimage.CMDLINE_VARIABLE, b"").decode("utf-8", "replace"))
    if line.root_hash is None or line.root_offset is None:
        raise ValueError("the boot image's command line names no root")
    return line.root_hash, line.root_offset


def superblock(root: BlockDevice, root_hash: str, offset: int) -> verity.Superblock:
    """Return the verity superblock of a root image whose tree has this root hash; raise ValueError, OSError."""
    found = verity.parse_superblock(root.read(offset, verity.SUPERBLOCK_BYTES))
    if found is None:
        raise ValueError("the root image holds no verity tree where its command line says")
    top = root.read(offset + found.hash_block, found.hash_block)
    if not verity.has_root(found, offset, top, root_hash):
        raise ValueError("the root image's verity tree has not the root hash that its command line names")
    return found


def extents(slot: Slot) -> tuple[int, int]:
    """Return the sizes of a slot's boot image and root image; raise ValueError where it holds none, OSError."""
    _, boot_size = members(slot.boot)
    root_hash, offset = root_of(slot.boot)
    return boot_size, offset + superblock(slot.root, root_hash, offset).tree_bytes
