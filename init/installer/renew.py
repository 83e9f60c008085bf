"""Renewing the loader of a disk that is installed: GRUB's core, the ESP, and the boot code in sector 0.

Not safe against a power cut: a disk has each of these once. So it happens only by hand, and says so first. Everything
is read back; the partition table and all other partitions stay as they are.
"""

from __future__ import annotations

from init.blockdevice.device import Part, padded
from init.formats import disk as layouts
from init.formats import gpt
from init.formats.loader import BOOT_CODE_BYTES
from init.installer.write import WriteError

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.blockdevice.device import BlockDevice
    from init.installer.write import Loader


def table_of(device: BlockDevice) -> gpt.Table:
    """Return a disk's primary table, the one that GRUB goes by; raise ValueError where it has none."""
    head = device.read(layouts.SECTOR, layouts.SECTOR + gpt.ARRAY_BYTES)
    return gpt.decode(head[: layouts.SECTOR], head[layouts.SECTOR :])


def has_record(table: gpt.Table, guid: str) -> bool:
    """Tell whether a table is that of the disk whose `record-0` has this GUID."""
    found = table.named(layouts.record_name(0))
    return found is not None and found[1].guid == guid.upper()


def renew(device: BlockDevice, parts: Loader) -> None:
    """Write the loader's parts to an installed disk. Raise WriteError, ValueError (no Berth disk), OSError."""
    table = table_of(device)
    places = {name: table.named(name) for name in ("bios", "esp")}
    bios, esp = places["bios"], places["esp"]
    if bios is None or esp is None or bios[1].first != layouts.SECTORS_PER_MIB:
        raise ValueError("the disk has no place for this loader")
    for (_, entry), data in ((bios, parts.core), (esp, parts.esp)):
        size = (entry.last - entry.first + 1) * layouts.SECTOR
        part = Part(device, entry.first * layouts.SECTOR, size, f"{device.name}, partition {entry.name}")
        part.write(0, padded(data))
        part.sync()
        if part.read(0, len(data)) != data:
            raise WriteError(f"{part.name} does not read back as it was written: the disk is damaged")
    first = device.read(0, layouts.SECTOR)
    wanted = parts.boot[:BOOT_CODE_BYTES].ljust(BOOT_CODE_BYTES, b"\0") + first[BOOT_CODE_BYTES:]
    device.write(0, wanted)
    device.sync()
    if device.read(0, layouts.SECTOR) != wanted:
        raise WriteError(f"{device.name} does not read back as it was written: the disk is damaged")
