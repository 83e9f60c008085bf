"""The block devices that there are, and the GUID partition table of each: which disk is the one that booted.

A disk is known by the GUID of its partition `record-0` alone, never by a label: two disks may carry the same names.
"""

from __future__ import annotations

import encodings.utf_16_le  # noqa: F401 - GPT's names; a codec is looked up by name, so nothing else brings it along
from dataclasses import dataclass

from init.formats import gpt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

CLASS = "/sys/class/block"
_NEVER = ("loop", "dm-", "ram", "zram", "fd", "nbd")  # what can't hold a root image by itself


@dataclass(frozen=True, kw_only=True, slots=True)
class BlockDevice:
    """One disk or partition. `disk` is the disk's name for a partition, and `number` its number there."""

    name: str
    disk: str
    number: int | None

    @property
    def path(self) -> str:
        """The device's node."""
        return f"/dev/{self.name}"


def present(system: Early) -> tuple[BlockDevice, ...]:
    """Return the disks and partitions that are there and hold something, disks first; raise OSError."""
    found = []
    for name in system.names(CLASS):
        if name.startswith(_NEVER):
            continue
        device = _describe(system, name)
        if device is not None:
            found.append(device)
    return tuple(sorted(found, key=lambda device: (device.number is not None, device.name)))


def _describe(system: Early, name: str) -> BlockDevice | None:
    try:
        if int(system.read(f"{CLASS}/{name}/size", 64) or b"0") == 0:
            return None  # a drive without a medium
        if not system.exists(f"{CLASS}/{name}/partition"):
            return BlockDevice(name=name, disk=name, number=None)
        number = int(system.read(f"{CLASS}/{name}/partition", 64))
        disk = system.read_link(f"{CLASS}/{name}").split("/")[-2]
    except (OSError, ValueError, IndexError):
        return None  # it went away meanwhile
    return BlockDevice(name=name, disk=disk, number=number)


def read_table(system: Early, path: str) -> gpt.Table | None:
    """Return a disk's partition table: the primary, or the backup where that is damaged. None: no GPT."""
    primary = system.read_blocks(path, gpt.SECTOR, gpt.SECTOR + gpt.ARRAY_BYTES)
    try:
        return gpt.decode(primary[: gpt.SECTOR], primary[gpt.SECTOR :])
    except ValueError:
        pass
    size = system.device_size(path)
    start = size - gpt.SECTOR - gpt.ARRAY_BYTES
    if start <= 0:
        return None
    backup = system.read_blocks(path, start, gpt.SECTOR + gpt.ARRAY_BYTES)
    try:
        return gpt.decode(backup[gpt.ARRAY_BYTES :], backup[: gpt.ARRAY_BYTES])
    except ValueError:
        return None


def is_booted(table: gpt.Table, record: str) -> bool:
    """Tell whether a disk is the one whose record GRUB used: by the GUID of its `record-0`."""
    found = table.named("record-0")
    return found is not None and found[1].guid == record.upper()


def partition(devices: tuple[BlockDevice, ...], disk: str, number: int) -> BlockDevice | None:
    """Return the device of a disk's partition by number."""
    for device in devices:
        if device.disk == disk and device.number == number:
            return device
    return None


def moved(system: Early) -> tuple[tuple[str, ...], ...]:
    """Return what the disks have done so far: reads, writes, sectors written and flushes that ended.

    Documentation/admin-guide/iostats.rst. What is under way counts for nothing: it may be so for ever.
    """
    try:
        text = system.read("/proc/diskstats", 1 << 20).decode("utf-8", "replace")
    except OSError:
        return ()
    lines = [line.split() for line in text.splitlines()]
    return tuple((words[2], words[3], words[7], words[9], *words[18:19]) for words in lines if len(words) > 9)
