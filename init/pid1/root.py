"""Finding the root: which devices may hold it, and whether one does, by verity's root hash and nothing else.

| booted from                                | looked at                                                     |
|--------------------------------------------|---------------------------------------------------------------|
| a slot (`berth.record=GUID berth.slot=S`)  | partition `root-S` of the disk with that `record-0`            |
| an ISO (`berth.media=iso`)                 | `/berth/root.img` on every ISO 9660 file system                |
| a kernel given from outside                | every disk and partition that holds the image at its beginning |
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import ENODEV

from init.formats.disk import SECTOR, record_name, root_name
from init.formats.verity import SUPERBLOCK_BYTES, Superblock, has_root, parse_superblock
from init.pid1 import answering, disks, mounts, verity
from init.pid1.answering import Answering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.cmdline import CommandLine
    from init.formats.gpt import Table
    from init.pid1.disks import BlockDevice
    from init.pid1.system import Early

NEEDED_FOR_ISO = ("loop", "isofs")
"""Modules that no device asks for, besides `forerun.NEEDED`."""

MEDIUM = "/run/berth/medium"
MAPPING = "berth-root"
_LOOKS = 3
_CURE = "no boot of this slot can count as good: restart; if it says so again, the disk is failing, replace it"
_ISO_MAGIC_AT = 16 * 2048
_ISO_MAGIC = b"\x01CD001"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """Where the root is. `disk` is the disk whose slot it is, `table` its partition table; None for an ISO."""

    device: str  # what holds image and tree: a partition, a disk, a loop device
    superblock: Superblock
    media: str  # `disk`, `iso`, `direct`
    disk: str | None
    table: Table | None


class Search:
    """Looks at each device once per change, until one has the root. Failures are noted, never raised.

    PID 1 reads only disks that have answered (`answering`): with one that is mute a stick may still come.
    """

    def __init__(self, command_line: CommandLine) -> None:
        self._line = command_line
        self._refused: dict[str, str] = {}
        self._tried: set[str] = set()
        self.asking = Answering()
        self.seen: tuple[BlockDevice, ...] = ()
        self._is_here = False  # the disk that booted
        self.hopeless: str | None = None  # the slot's partition is there and holds another image: no waiting helps

    @property
    def media(self) -> str:
        """What the root is looked for on."""
        if self._line.media == "iso":
            return "iso"
        return "disk" if self._line.record and self._line.slot else "direct"

    @property
    def owed(self) -> str:
        """The disk that has to be there, since GRUB read this kernel from it, while it is not seen; else empty."""
        booted = self.media == "disk" and not self._is_here
        return "the disk that booted is not here" if booted else ""

    def look(self, system: Early) -> Found | None:
        """Look at what is there now."""
        try:
            self.seen = disks.present(system)
        except OSError as error:
            self._refused["/sys/class/block"] = f"can't be read: {error.strerror}"
            return None
        self.asking.ask(system, dict.fromkeys(device.disk for device in self.seen))
        for device in self.seen:
            if device.path in self._tried:
                continue
            if device.disk not in self.asking:
                self._refused[device.path] = "does not answer"
                continue
            self._tried.add(device.path)
            self._refused.pop(device.path, None)
            try:
                found = self._look_at(system, device)
            except OSError as error:
                self._refused[device.path] = error.strerror or "can't be read"
                continue
            if found is not None:
                return found
        return None

    def forget(self, name: str) -> None:
        """Look at a device again: it has changed (a disc was put in, partitions came)."""
        self._tried.discard(f"/dev/{name}")
        self.asking.forget(name)

    def _look_at(self, system: Early, device: BlockDevice) -> Found | None:
        match self.media:
            case "disk":
                return self._slot(system, device) if device.number is None else None
            case "iso":
                return self._iso(system, device)
            case _:
                return self._direct(system, device)

    def _slot(self, system: Early, device: BlockDevice) -> Found | None:
        table = disks.read_table(system, device.path)
        if table is None or not disks.is_booted(table, self._line.record or ""):
            self._refused[device.path] = "isn't the disk that booted" if table else "has no partition table"
            return None
        self._is_here = True
        if system.sector_size(device.path) != SECTOR:
            self._refused[device.path] = "has sectors of 4 KiB, which Berth can't boot from"
            return None
        named = table.named(root_name(self._line.slot or ""))
        part = disks.partition(self.seen, device.name, named[0]) if named else None
        if part is None:
            self._tried.discard(device.path)  # the kernel may not have told of its partitions yet
            self._refused[device.path] = f"has no partition {root_name(self._line.slot or '')}"
            return None
        superblock = self._check(system, part.path)
        if superblock is None:
            self.hopeless = f"{part.path} {self._refused.get(part.path, 'is not named by the kernel command line')}"
            return None
        return Found(device=part.path, superblock=superblock, media="disk", disk=device.path, table=table)

    def _iso(self, system: Early, device: BlockDevice) -> Found | None:
        if system.read_blocks(device.path, _ISO_MAGIC_AT, len(_ISO_MAGIC)) != _ISO_MAGIC:
            self._refused[device.path] = "isn't an ISO 9660 file system"
            return None
        step = mounts.MountStep(
            source=device.path,
            target=MEDIUM,
            kind="iso9660",
            flags=mounts.READ_ONLY | mounts.NO_SUID | mounts.NO_DEVICES,
        )
        mounts.perform(system, step)
        loop = None
        try:
            loop = system.attach_loop(f"{MEDIUM}/berth/root.img")
            superblock = self._check(system, loop)
            if superblock is not None:
                return Found(device=loop, superblock=superblock, media="iso", disk=None, table=None)
            self._refused[device.path] = "its /berth/root.img isn't the image that belongs to this kernel"
        except OSError as error:
            self._refused[device.path] = f"/berth/root.img: {error.strerror}"
        self._let_go(system, loop)
        return None

    def _let_go(self, system: Early, loop: str | None) -> None:
        try:
            if loop is not None:
                system.detach_loop(loop)
            system.unmount(MEDIUM)
        except OSError as error:
            self._refused[MEDIUM] = error.strerror or "can't be unmounted"

    def _direct(self, system: Early, device: BlockDevice) -> Found | None:
        superblock = self._check(system, device.path)
        if superblock is None:
            return None
        if device.number is None:
            return Found(device=device.path, superblock=superblock, media="direct", disk=None, table=None)
        disk = f"/dev/{device.disk}"
        table = disks.read_table(system, disk)
        return Found(device=device.path, superblock=superblock, media="direct", disk=disk, table=table)

    def _check(self, system: Early, path: str) -> Superblock | None:
        offset, wanted = self._line.root_offset, self._line.root_hash
        if offset is None or wanted is None:
            return None
        head = system.read_blocks(path, offset, SUPERBLOCK_BYTES)
        superblock = parse_superblock(head)
        if superblock is None:
            self._refused[path] = "holds no verity tree at the offset that the kernel was told"
            return None
        top = system.read_blocks(path, offset + superblock.hash_block, superblock.hash_block)
        if not has_root(superblock, offset, top, wanted):
            self._refused[path] = "holds another image than the one that belongs to this kernel"
            return None
        return superblock

    def explain(self) -> tuple[str, ...]:
        """Say in sentences what was looked for and what each device was."""
        wanted = {
            "disk": f"partition root-{self._line.slot} on the disk with record {self._line.record}",
            "iso": "/berth/root.img on a CD or stick",
            "direct": "a disk or partition that holds the root image",
        }[self.media]
        lines = [f"looked for: {wanted}"]
        if not self.seen:
            lines.append("no disk, stick or CD was seen at all: its driver may be missing")
        for device in self.seen:
            refused = self._refused.get(device.path)
            if refused is not None:
                lines.append(f"{device.path}: {refused}")
        return tuple(lines)


def mount(system: Early, found: Found, root_hash: str, offset: int, target: str) -> str:
    """Set up verity over what was found and mount it read-only at `target`; return `/dev/dm-N`; raise OSError."""
    rows = verity.table(found.superblock, found.device, offset, root_hash)
    mapped = system.map_device(MAPPING, rows)
    step = mounts.MountStep(source=mapped, target=target, kind="erofs", flags=mounts.READ_ONLY | mounts.NO_ACCESS_TIME)
    try:
        mounts.perform(system, step)
    except OSError:
        system.unmap_device(MAPPING)
        raise
    return mapped


def record_partitions(system: Early, found: Found | None) -> tuple[str, ...]:
    """Return the nodes of `record-0` and `record-1` on the booted disk, `()` unless both are there.

    Raise OSError where a slot was booted and they can't be found: no boot of such a machine counts as good.
    """
    if found is None or found.disk is None or found.table is None:
        return ()
    paths, why = _records(system, found.disk.removeprefix("/dev/"), found.table)
    if not paths and found.media == "disk":
        raise OSError(ENODEV, f"{why}; {_CURE}", f"record-0 and record-1 of {found.disk}")
    return paths


def records_without_root(system: Early, record: str) -> tuple[str, ...]:
    """Return the same where the disk is there and its root is not what it has to be; raise OSError."""
    for device in answering.present(system):
        table = disks.read_table(system, device.path) if device.number is None else None
        if table is not None and disks.is_booted(table, record):
            return _records(system, device.name, table)[0]
    return ()


def _records(system: Early, disk: str, table: Table) -> tuple[tuple[str, ...], str]:
    """Return both nodes, or none and why. Look more than once: one read that fails makes a partition look absent."""
    numbers = [named[0] if named else 0 for named in map(table.named, map(record_name, (0, 1)))]
    why = "the kernel does not show them"
    for _ in range(_LOOKS):
        try:
            devices = disks.present(system)
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
            continue
        paths = [device.path for number in numbers if (device := disks.partition(devices, disk, number)) is not None]
        if len(paths) == len(numbers):
            return tuple(paths), ""
    return (), why
