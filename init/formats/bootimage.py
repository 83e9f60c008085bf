"""A slot's boot image: the ustar archive that GRUB reads from the boot partition or, on an ISO, from `/berth/boot.img`.

    vmlinuz        the kernel
    initramfs      what it starts
    cmdline.env    a GRUB environment block of 1024 bytes with the variable `cmdline`
    sums           CRC-32 of each of these, in the form that GRUB's `hashsum --check` reads

The names are part of loader format 1. The sums are against bits that a drive lost, not against people (that is verity's
and the updater's part): GRUB reads 16 MB in a tenth of a second with CRC-32 and in more than one with SHA-256. A kernel
with a flipped bit would halt in its own decompressor, where no panic and no watchdog gets the machine back; so GRUB
starts nothing that does not match. An image without sums is started unchecked.
"""

from __future__ import annotations

import zlib

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

KERNEL = "vmlinuz"
INITRAMFS = "initramfs"
CMDLINE = "cmdline.env"
CMDLINE_VARIABLE = "cmdline"
CMDLINE_BYTES = 1024
SUMS = "sums"
SUMS_HASH = "crc32"


def sums(members: Mapping[str, bytes]) -> bytes:
    """Return the member `sums` for an archive's other members."""
    return "".join(f"{zlib.crc32(data):08x}  {name}\n" for name, data in members.items()).encode()
