"""GRUB's BIOS boot code on a GPT disk, placed by hand: what grub-bios-setup writes, without a device to write to.

    boot sector  0x5c  8 bytes LE  first sector of the core; without it the machine is dead
                 0x66  2 bytes     90 90 (two NOPs) for hard disks whose BIOS passes a wrong drive number
    core         0x1f4 8 bytes LE  second sector of the core (mkimage leaves 2)

The core lies contiguous in the `bios` partition, so that its one block list entry is enough. Measured in QEMU.
"""

from __future__ import annotations

import struct

from builder.errors import BuildError
from init.formats import disk

BOOT_CODE_BYTES = 440  # before the disk's signature and the MBR's table


def boot_code(boot_sector: bytes, core_first: int) -> bytes:
    """Return the first 440 bytes of the disk. `core_first` is the sector where the core begins."""
    code = bytearray(boot_sector[:BOOT_CODE_BYTES])
    struct.pack_into("<Q", code, 0x5C, core_first)
    code[0x66:0x68] = b"\x90\x90"
    return bytes(code)


def placed_core(core: bytes, core_first: int, room: int) -> bytes:
    """Return the core as it stands from sector `core_first` on; raise BuildError where `room` bytes are too few."""
    placed = bytearray(core.ljust(-(-len(core) // disk.SECTOR) * disk.SECTOR, b"\0"))
    if len(placed) > room:
        raise BuildError(f"GRUB's core has {len(placed)} bytes, the partition for it only {room}")
    struct.pack_into("<Q", placed, 0x1F4, core_first + 1)
    return bytes(placed)
