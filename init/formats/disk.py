"""The disk of an installed machine: partitions, their GUIDs, and the sectors that Berth addresses by number.

Everything counts in sectors of 512 bytes unless a name says `mib` or `bytes`. Partitions begin on a MiB. Numbers
and GPT names never change on a machine, for GRUB's script and the updater go by them; only sizes may differ.

    #    name       MiB   holds
    1    bios         1   GRUB's core for BIOS
    2    esp          8   FAT, `EFI/BOOT/BOOTX64.EFI`
    3 4  record-0/1   1   one copy of the boot record; in record-0 the boot's phase as well
    5 6  boot-a/b   128   ustar: vmlinuz, initramfs, cmdline.env
    7 8  root-a/b  1024   EROFS and its verity tree (a recipe may raise it)
    9    state     ≥ 64   ext4; what is left of the disk. Alone in its sector of the GPT's array

Inside a record partition (`bootrecord`): sector 0 is a ustar header and sector 1 the 512-byte environment block that
it announces, so that GRUB finds and writes it as a file; sectors 2 and 3 are zero, the archive's end. PID 1 keeps
the phase of a boot in sector 1024 of record-0, in a 4 KiB block of its own: a torn phase never costs a copy of the
record. In sector 1032, likewise, it notes that it is making the file system of state (`making_mark`).
"""

from __future__ import annotations

from dataclasses import dataclass

SECTOR = 512  # bytes; drives with another logical size are refused by name
MIB = 1024 * 1024
SECTORS_PER_MIB = MIB // SECTOR
GPT_SECTORS = 33  # a header and an array of 128 entries
FIRST_USABLE = 1 + GPT_SECTORS

DEFAULT_ROOT_MIB = 1024
SMALLEST_STATE_MIB = 64
BOOT_MIB = 128
ESP_MIB = 8

TYPE_BIOS = "21686148-6449-6E6F-744E-656564454649"
TYPE_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
TYPE_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
TYPE_RECORD = "6D8C94FF-F7E5-44FE-927D-F708C25C42CA"  # Berth's own from here on, made once
TYPE_BOOT = "E92A83C6-4AAC-4EF9-B847-82A5E89C7998"
TYPE_ROOT = "C0EAD007-58CD-4DE1-80CF-1F2B9E2F0F6B"

BIOS = 1
ESP = 2
RECORDS = (3, 4)
BOOTS = {"a": 5, "b": 6}
ROOTS = {"a": 7, "b": 8}
STATE = 9
SLOTS = ("a", "b")

RECORD_HEADER_SECTOR = 0  # in each record partition
RECORD_SECTOR = 1
PHASE_SECTOR = 1024  # in record-0
MAKING_SECTOR = 1032  # in record-0


@dataclass(frozen=True, kw_only=True, slots=True)
class Partition:
    """One partition: GPT number and name, its type, first sector and count of sectors."""

    number: int
    name: str
    type_guid: str
    first: int
    sectors: int

    @property
    def last(self) -> int:
        """The last sector that belongs to it, as GPT says it."""
        return self.first + self.sectors - 1

    @property
    def offset_bytes(self) -> int:
        """Where it begins on the disk, in bytes."""
        return self.first * SECTOR

    @property
    def size_bytes(self) -> int:
        """Its size in bytes."""
        return self.sectors * SECTOR


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A whole disk: its size in sectors and the nine partitions, by number ascending."""

    sectors: int
    partitions: tuple[Partition, ...]

    def number(self, number: int) -> Partition:
        """Return the partition with GPT entry `number`."""
        return self.partitions[number - 1]

    def named(self, name: str) -> Partition:
        """Return the partition called `name`; raise KeyError where there is none."""
        for partition in self.partitions:
            if partition.name == name:
                return partition
        raise KeyError(name)


def boot_name(slot: str) -> str:
    """Return the GPT name of a slot's boot partition."""
    return f"boot-{slot}"


def root_name(slot: str) -> str:
    """Return the GPT name of a slot's root partition."""
    return f"root-{slot}"


def record_name(copy: int) -> str:
    """Return the GPT name of the partition that holds copy 0 or 1 of the boot record."""
    return f"record-{copy}"


def fixed_partitions(*, root_mib: int = DEFAULT_ROOT_MIB) -> tuple[tuple[str, str, int], ...]:
    """Return name, type and MiB of the partitions before `state`, in order of their numbers."""
    return (
        ("bios", TYPE_BIOS, 1),
        ("esp", TYPE_ESP, ESP_MIB),
        ("record-0", TYPE_RECORD, 1),
        ("record-1", TYPE_RECORD, 1),
        ("boot-a", TYPE_BOOT, BOOT_MIB),
        ("boot-b", TYPE_BOOT, BOOT_MIB),
        ("root-a", TYPE_ROOT, root_mib),
        ("root-b", TYPE_ROOT, root_mib),
    )


def smallest_mib(*, root_mib: int = DEFAULT_ROOT_MIB, state_mib: int = SMALLEST_STATE_MIB) -> int:
    """Return how many MiB a disk needs: one in front for the GPT, one behind for its backup."""
    return 1 + sum(mib for _, _, mib in fixed_partitions(root_mib=root_mib)) + state_mib + 1


def making_mark(state_guid: str) -> bytes:
    """Return what stands in `MAKING_SECTOR` while ext4 is made on the state partition with this GUID; else zeros do."""
    return f"berth.making-state/1\n{state_guid}\n".encode().ljust(SECTOR, b"\0")


def state_sectors(disk_sectors: int, state_first: int) -> int:
    """Return the largest size of a state partition that begins at `state_first`: up to the last whole MiB."""
    end = (disk_sectors - GPT_SECTORS) // SECTORS_PER_MIB * SECTORS_PER_MIB
    return max(0, end - state_first)


def lay_out(disk_sectors: int, *, root_mib: int = DEFAULT_ROOT_MIB) -> Layout:
    """Return the layout of a disk of `disk_sectors` sectors; state takes what the slots leave.

    Raises ValueError, with both sizes in MiB, where less than the smallest state would be left.
    """
    partitions: list[Partition] = []
    first = SECTORS_PER_MIB
    for number, (name, type_guid, mib) in enumerate(fixed_partitions(root_mib=root_mib), start=1):
        sectors = mib * SECTORS_PER_MIB
        partitions.append(Partition(number=number, name=name, type_guid=type_guid, first=first, sectors=sectors))
        first += sectors
    left = state_sectors(disk_sectors, first)
    if left < SMALLEST_STATE_MIB * SECTORS_PER_MIB:
        needed = smallest_mib(root_mib=root_mib)
        raise ValueError(f"a disk of {disk_sectors // SECTORS_PER_MIB} MiB is too small: {needed} MiB are needed")
    partitions.append(Partition(number=STATE, name="state", type_guid=TYPE_LINUX, first=first, sectors=left))
    return Layout(sectors=disk_sectors, partitions=tuple(partitions))
