"""The disk labelled `cidata`: looked for and mounted by children, each with a bound.

A drive may take a command and never answer, and a file system may hang while it is mounted; whoever waits for either
can't be ended. So PID 1 touches neither: each disk is looked at by a child of its own, side by side, and one more
mounts what was found. Of what has not answered in time it is said, and the boot goes on without it.
"""

from __future__ import annotations

from init.pid1 import disks, mounts
from init.pid1.apart import ANSWER_MOST, Child
from init.pid1.sources import SEED_FOLDER

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from init.pid1.devices import Devices
    from init.pid1.disks import BlockDevice
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.loop import Loop
    from init.pid1.system import System

BOUND = 20.0  # seconds for all disks, and again for the mount: a CD takes ten to come up to speed
_LABELS = (b"cidata", b"CIDATA")
_ISO_LABEL = (32768 + 40, 32)  # ECMA-119, 8.4.7: the primary volume descriptor's volume identifier
_FAT_LABELS = (43, 71)  # Microsoft's FAT specification: BS_VolLab of FAT12 and FAT16, of FAT32; 11 bytes
_MODULES = {"vfat": ("vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1"), "iso9660": ("isofs",)}
_HEAD = 33 * 1024  # bytes: as far as labels lie
_LOOKING, _MOUNTING = "looking for a disk labelled cidata", "mounting the disk labelled cidata"
_NONE, _MOUNTED = b"none", b"mounted"


class SeedDisk:
    """`done` gets the device that is mounted at `SEED_FOLDER`, or None, once, from the loop; `problem` tells people."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        early: EarlyResult,
        problem: Callable[[str], None],
        done: Callable[[str | None], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._early = early
        self._problem = problem
        self._done = done
        self._looks: dict[str, Child] = {}  # by the disk's name
        self._paths: tuple[str, ...] = ()  # of all devices, in the order in which they count
        self._chosen = self._over = False

    def begin(self) -> None:
        """Start looking. Raise OSError when devices can't be listed: then it may be called again."""
        if self._chosen:
            return
        self._loop.after(_LOOKING, BOUND, self._choose)  # first: whatever happens below, the boot goes on
        own = (self._early.disk or "").removeprefix("/dev/")
        # A label on the disk that booted is no order from outside.
        others = [device for device in disks.present(self._system) if device.disk != own]
        self._paths = tuple(device.path for device in others)
        for disk in dict.fromkeys(device.disk for device in others):
            devices = [device for device in others if device.disk == disk]
            self._looks[disk] = self._child(disk, lambda devices=devices: look(self._system, devices), self._look)  # type: ignore[misc]
        for child in self._looks.values():
            child.start()
        if not others:
            self._loop.soon(_LOOKING, self._choose)

    def _child(self, name: str, work: Callable[[], bytes], then: Callable[[], None]) -> Child:
        return Child(self._system, self._loop, f"disk labelled cidata: {name}", work, then)

    def _look(self) -> None:
        if all(child.answer is not None for child in self._looks.values()):
            self._choose()

    def _choose(self) -> None:
        """All disks have answered, or their time is up."""
        if self._chosen:
            return
        self._chosen = True
        self._loop.cancel(_LOOKING)
        mute = []
        kinds = {}
        for disk, child in self._looks.items():
            path, _, kind = (child.answer or b"").decode().partition(" ")
            kinds[path] = kind
            if not path:
                mute.append(disk)
                child.abandon()
        found = next((path for path in self._paths if path in kinds), None)
        self._loop.soon(_MOUNTING, lambda: self._mount(found, kinds[found]) if found else self._done(None))
        for disk in mute:
            self._problem(f"{disk} does not answer, so no configuration was looked for there")

    def _mount(self, path: str, kind: str) -> None:
        devices = self._early.devices
        child = self._child(path, lambda: mount(self._system, devices, path, kind), lambda: self._end(path, child))
        self._loop.after(_MOUNTING, BOUND, lambda: self._end(path, child))
        child.start()

    def _end(self, path: str, child: Child) -> None:
        """It is mounted, or can't be, or its time is up."""
        if self._over:
            return
        self._over = True
        self._loop.cancel(_MOUNTING)
        child.abandon()
        is_there = child.answer == _MOUNTED
        self._loop.soon(_MOUNTING, lambda: self._done(path if is_there else None))
        if not is_there:
            why = (child.answer or b"it does not answer").decode()
            self._problem(f"the disk labelled cidata, {path}, can't be read: {why}")


# What the children do.


def look(system: System, devices: Sequence[BlockDevice]) -> bytes:
    """Return the first device that is labelled `cidata`, and its kind behind a blank; or that there is none."""
    for device in devices:
        try:
            kind = label_kind(system.read_blocks(device.path, 0, _HEAD))
        except OSError:
            continue  # a drive without a medium, or a partition past the disk's end
        if kind is not None:
            return f"{device.path} {kind}".encode()
    return _NONE


def mount(system: System, devices: Devices | None, path: str, kind: str) -> bytes:
    """Mount a device at `SEED_FOLDER`; return that it is there, or why not."""
    if devices is not None:
        for name in _MODULES[kind]:
            devices.load(system, name)
    flags = mounts.READ_ONLY | mounts.NO_SUID | mounts.NO_DEVICES | mounts.NO_EXECUTE
    try:
        mounts.perform(system, mounts.MountStep(source=path, target=SEED_FOLDER, kind=kind, flags=flags))
    except OSError as error:
        return (error.strerror or str(error)).encode()[:ANSWER_MOST]
    return _MOUNTED


def label_kind(head: bytes) -> str | None:
    """Tell from a device's first 33 KiB whether it is a file system labelled `cidata`: `vfat`, `iso9660` or None."""
    start, length = _ISO_LABEL
    if head[32769:32774] == b"CD001" and head[start : start + length].rstrip() in _LABELS:
        return "iso9660"
    if head[510:512] == b"\x55\xaa" and any(head[at : at + 11].rstrip() in _LABELS for at in _FAT_LABELS):
        return "vfat"
    return None
