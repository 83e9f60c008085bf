"""State: the one place that is written, partition 9 of the disk that booted, or memory where there is none.

| partition 9                     | what happens                                                            |
|---------------------------------|-------------------------------------------------------------------------|
| first and last MiB are zero     | grown to the disk's end, ext4 made, mounted                             |
| marked: ext4 was being made     | made anew: the power went before anything was kept there                |
| mounts as ext4                  | used                                                                    |
| ext4 that met errors before     | `e2fsck -p` first; used, and degraded where that can't mend it          |
| mounts after `e2fsck -p`        | used                                                                    |
| ours by its torn superblock     | mended by `e2fsck -y` from the superblock's copies, used                |
| anything else                   | never written to: memory, and the machine is degraded                   |
| none (ISO, kernel from outside) | memory                                                                  |
"""

from __future__ import annotations

from dataclasses import dataclass
from errno import EIO

from init.formats import disk, gpt
from init.formats.service import Readiness, Restart, Service
from init.pid1 import apart, disks, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.root import Found
    from init.pid1.system import Early

PLACE = "/run/berth/state"
FACTORY = "/usr/share/factory"
"""Followed by the place: what the image has for each of `FOLDERS`. What state lacks is copied from it at each boot."""
IN_MEMORY = "size=50%,mode=755"
"""The cap of a state in memory: half of it, so that writing never starves the machine."""

FOLDERS = (
    ("var", "/var", 0o755),
    ("home", "/home", 0o755),
    ("root", "/root", 0o700),
    ("srv", "/srv", 0o755),
    ("opt", "/opt", 0o755),
    ("usr-local", "/usr/local", 0o755),
    ("mnt", "/mnt", 0o755),
)
"""Name on state, where it is seen, permissions."""

_MIB = disk.MIB
_MARK_AT = disk.MAKING_SECTOR * disk.SECTOR
_MAKE = ("/usr/sbin/mkfs.ext4", "-q", "-F", "-m", "1", "-L", "berth-state", "-E", "nodiscard")  # it is blank
_CHECK = ("/usr/sbin/e2fsck", "-p")
# Without -p it goes on with a copy of the superblock, where the power went while that was written.
_MEND = ("/usr/sbin/e2fsck", "-y")
_ERROR_FS = 2  # s_state: damage was met (Documentation/filesystems/ext4/super.rst)
_MENDED, _CANNOT = ("0", "1"), "8"  # e2fsck(8): no errors, or corrected; an operational error
_LABEL = b"berth-state"
_MOUNTED = mounts.NO_ACCESS_TIME  # set-uid programs and devices of containers live here: no nosuid, no nodev
_STILL = 120.0  # seconds in which no disk moves: then what works on state has hung
_DAYS = 7 * 86400.0  # seconds that it may take as long as a disk moves: a large one that has to be checked takes hours


@dataclass(frozen=True, kw_only=True, slots=True)
class StateMount:
    """What state is. `problem` is a sentence when it isn't what it ought to be: then the machine is degraded."""

    kind: str  # `ext4`, `memory`, or `none` when not even memory could be had
    device: str | None
    fresh: bool  # made in this boot
    problem: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Meanwhile:
    """Whom long work tells: people by `say`, the watchdog each second by `alive`."""

    say: Callable[[str], object]
    alive: Callable[[], object]


NO_STATE = StateMount(kind="none", device=None, fresh=False, problem=None)
"""Before it was looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """What to write so that partition 9 reaches the disk's end: bytes, offset by offset, backup before primary."""

    disk: str
    partition: str
    start: int
    length: int
    writes: tuple[tuple[int, bytes], ...]


def is_blank(first: bytes, last: bytes) -> bool:
    """Tell whether a partition is blank, from its first and its last MiB. One read short isn't."""
    return first == last == bytes(_MIB)


def plan_growth(table: gpt.Table, disk_path: str, partition: str, disk_bytes: int) -> Growth | None:
    """Return what makes state reach the disk's end; None when it does, or when the table isn't Berth's."""
    sectors = disk_bytes // disk.SECTOR
    entry = table.entries.get(disk.STATE)
    if entry is None or entry.name != "state":
        return None
    wanted = disk.state_sectors(sectors, entry.first)
    if entry.first + wanted - 1 <= entry.last or any(
        other.first > entry.first for number, other in table.entries.items() if number != disk.STATE
    ):
        return None
    grown = gpt.grown(table, sectors=sectors, number=disk.STATE, last=entry.first + wanted - 1)
    encoded = gpt.encode(grown)
    backup_at = (sectors - disk.GPT_SECTORS) * disk.SECTOR
    return Growth(
        disk=disk_path,
        partition=partition,
        start=entry.first * disk.SECTOR,
        length=wanted * disk.SECTOR,
        writes=((backup_at, encoded.backup), (disk.SECTOR, encoded.primary)),
    )


def grow_partition(system: Early, growth: Growth) -> None:
    """Write the table, backup first, and tell the kernel; raise OSError. Each write is synced."""
    for offset, data in growth.writes:
        system.write_blocks(growth.disk, offset, data)
    system.resize_partition(growth.disk, disk.STATE, growth.start, growth.length)


def grow_mounted(system: Early, growth: Growth) -> tuple[Service, ...]:
    """Grow a state that is in use; return the one-shot service that grows the file system. Raise OSError."""
    grow_partition(system, growth)
    return (
        Service(
            name="grow-state",
            argv=("/usr/sbin/resize2fs", growth.partition),
            readiness=Readiness.EXIT,
            restart=Restart.NO,
            start_timeout=3600.0,
        ),
    )


def find_partition(system: Early, found: Found | None) -> str | None:
    """Return the node of the booted disk's state partition; None when there is no such disk or partition."""
    if found is None or found.disk is None or found.table is None:
        return None
    return _node(system, "state", found.disk, found.table)


def _node(system: Early, name: str, whole: str, table: gpt.Table) -> str | None:
    named = table.named(name)
    if named is None:
        return None
    device = disks.partition(disks.present(system), whole.removeprefix("/dev/"), named[0])
    return device.path if device is not None else None


def growth_of(system: Early, found: Found | None, partition: str | None) -> Growth | None:
    """Return the growth that the booted disk's state could have; raise OSError."""
    if found is None or found.disk is None or found.table is None or partition is None:
        return None
    return plan_growth(found.table, found.disk, partition, system.device_size(found.disk))


def mount_state(system: Early, found: Found | None, meanwhile: Meanwhile) -> StateMount:
    """Mount state at `PLACE`, from disk or from memory. Never raises OSError: `problem` says what happened."""
    try:
        partition = find_partition(system, found)
        if partition is not None:
            return _from_disk(system, found, partition, meanwhile)
        expected = found is not None and found.media == "disk"
        problem = "the disk has no state partition: what is written is lost at power-off" if expected else None
    except OSError as error:
        problem = f"state can't be used ({_words(error)}): what is written is lost at power-off"
    return _in_memory(system, problem)


def _from_disk(system: Early, found: Found | None, partition: str, meanwhile: Meanwhile) -> StateMount:
    size = system.device_size(partition)
    first = system.read_blocks(partition, 0, _MIB)
    last = system.read_blocks(partition, max(0, size - _MIB), _MIB)
    mark = _mark(system, found)
    fresh = is_blank(first, last) or (mark is not None and mark.is_set(system))
    if fresh:
        growth = growth_of(system, found, partition)
        if growth is not None:
            grow_partition(system, growth)
        _make(system, partition, mark, meanwhile)
    problem = None
    if not fresh and _had_errors(first):
        meanwhile.say(f"state on {partition} had errors, so it is checked: on a large disk this takes its time")
        status, said = _run(system, (*_CHECK, partition), meanwhile)
        meanwhile.say(f"e2fsck: status {status}: {said}")
        if status not in _MENDED:
            problem = (
                f"{partition} has errors that need a person (e2fsck: status {status}): keep a copy, run e2fsck on it"
            )
    step = mounts.MountStep(source=partition, target=PLACE, kind="ext4", flags=_MOUNTED, data="errors=remount-ro")
    try:
        mounts.perform(system, step)
    except OSError as error:
        meanwhile.say(f"state on {partition} is checked and mended: on a large disk this takes its time")
        status, said = _run(system, (*_CHECK, partition), meanwhile)
        if status == _CANNOT and _is_ours(first):
            meanwhile.say(f"state's superblock is torn: {' '.join(_MEND)}")
            status, said = _run(system, (*_MEND, partition), meanwhile)
        if status not in _MENDED:
            raise OSError(error.errno, f"{error.strerror}; e2fsck: status {status}: {said}") from error
        mounts.perform(system, step)
    return StateMount(kind="ext4", device=partition, fresh=fresh, problem=problem)


def _is_ours(first: bytes) -> bool:
    """Tell by magic and label of its superblock whether ext4 was made here (ext4(5), Documentation/filesystems/ext4).

    What lies behind another file system may be the remains of an older one, which mending would bring back.
    """
    return _is_ext4(first) and first[1024 + 0x78 :].startswith(_LABEL)


def _had_errors(first: bytes) -> bool:
    """Tell by the superblock's `s_state` whether the kernel found ext4 damaged: it mounts it all the same, as it is."""
    return _is_ext4(first) and bool(first[1024 + 0x3A] & _ERROR_FS)


def _is_ext4(first: bytes) -> bool:
    return first[1024 + 0x38 : 1024 + 0x3A] == b"\x53\xef"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Mark:
    """The note that ext4 is being made, in a sector of record-0: mke2fs leaves none of the partition's own alone."""

    device: str
    data: bytes

    def is_set(self, system: Early) -> bool:
        try:
            return system.read_blocks(self.device, _MARK_AT, len(self.data)) == self.data
        except OSError:
            return False

    def set(self, system: Early) -> None:
        system.write_blocks(self.device, _MARK_AT, self.data)

    def take_away(self, system: Early) -> None:
        """Raise OSError where it may still be there: then nothing may be kept on a state that would be made anew."""
        system.write_blocks(self.device, _MARK_AT, bytes(len(self.data)))
        if system.read_blocks(self.device, _MARK_AT, len(self.data)) == self.data:
            raise OSError(5, "the mark of a state that is being made does not go away", self.device)


def _mark(system: Early, found: Found | None) -> _Mark | None:
    """Return the mark of the booted disk's state; None for a disk without a boot record."""
    if found is None or found.disk is None or found.table is None:
        return None
    device = _node(system, disk.record_name(0), found.disk, found.table)
    named = found.table.named("state")
    return _Mark(device=device, data=disk.making_mark(named[1].guid)) if device is not None and named else None


def _make(system: Early, partition: str, mark: _Mark | None, meanwhile: Meanwhile) -> None:
    """Make ext4. Where the power goes on the way, the mark says so: what is half there is neither blank nor mounts."""
    if mark is not None:
        mark.set(system)
    status, said = _run(system, (*_MAKE, partition), meanwhile)
    if status != "0":
        raise OSError(EIO, f"{_MAKE[0]} ended with {status}: {said}")
    if mark is not None:
        mark.take_away(system)


def _run(system: Early, argv: tuple[str, ...], meanwhile: Meanwhile) -> tuple[str, str]:
    """Run a program on state for as long as a disk moves; return its status and its last line. Raise OSError."""

    def work() -> bytes:
        try:
            result = system.run(argv, seconds=_DAYS)
        except OSError as error:
            return f"- {error.strerror}".encode()
        return (
            f"{result.status} {result.output.decode('utf-8', 'replace').strip().rpartition(chr(10))[2][:1000]}".encode()
        )

    answer = apart.within(system, _STILL, work, progress=lambda: disks.moved(system), alive=meanwhile.alive)
    if answer is None:
        raise OSError(EIO, f"{argv[0]} did not end: its disk does not answer")
    status, _, said = answer.decode("utf-8", "replace").partition(" ")
    return status, said


def _in_memory(system: Early, problem: str | None) -> StateMount:
    step = mounts.MountStep(source="tmpfs", target=PLACE, kind="tmpfs", flags=_MOUNTED, data=IN_MEMORY)
    try:
        mounts.perform(system, step)
    except OSError as error:
        return StateMount(kind="none", device=None, fresh=True, problem=f"there is nowhere to write ({_words(error)})")
    return StateMount(kind="memory", device=None, fresh=True, problem=problem)


def _words(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def spread(system: Early, state: StateMount) -> tuple[str, ...]:
    """Show state's folders at their places, filled from the factory; return a sentence for each that failed."""
    if state.kind == "none":
        return ()
    problems = []
    for name, place, mode in FOLDERS:
        try:
            _show(system, name, place, mode)
        except OSError as error:
            problems.append(f"{place} can't be written to ({_words(error)})")
    return tuple(problems)


def _show(system: Early, name: str, place: str, mode: int) -> None:
    """Bind the folder; where the image has files of its own at the place, lay state over them."""
    folder = f"{PLACE}/{name}"
    system.make_folder(folder, mode)
    if not system.names(place):
        mounts.perform(system, mounts.MountStep(source=folder, target=place, flags=mounts.BIND))
    else:
        work = f"{PLACE}/.overlay-{name}"
        system.make_folder(work, 0o700)
        data = f"lowerdir={place},upperdir={folder},workdir={work}"
        step = mounts.MountStep(source="overlay", target=place, kind="overlay", flags=_MOUNTED, data=data)
        mounts.perform(system, step)
    if system.exists(FACTORY + place):  # last: on a full disk what is there has to be seen all the same
        system.fill_tree(FACTORY + place, place)


def unmount_order() -> tuple[str, ...]:
    """Return the places to unmount at shutdown, in order: what is shown first, state itself last."""
    return (*(place for _, place, _ in reversed(FOLDERS)), PLACE)
