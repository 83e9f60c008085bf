"""What rescue borrows from a slot: its root, read-only, as a box of tools. Nothing of it runs as the system.

The initramfs has no room for an SSH server, network cards' drivers and a DHCP client (docs/adr/0008). A slot's root has
them; so the first one whose verity tree is the one that its boot image names is mounted at `PLACE`, and a program in it
(`init.rescue`) is started there, by chroot(2). What of it is damaged can't be read (EIO), and never runs. State is
mounted read-only, its journal left as it is: rescue writes nothing to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from init.formats.release import APP_PATH, MODULES_PATH
from init.formats.verity import SUPERBLOCK_BYTES, has_root, parse_superblock
from init.pid1 import mounts, rescuedisk, verity
from init.pid1.devices import read_index
from init.pid1.state import PLACE as STATE
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.devices import Devices
    from init.pid1.rescuedisk import RescueDisk, RootPlace
    from init.pid1.system import Early

PLACE = "/slot"
KEPT = "/var/lib/berth"  # of state, shown at the same place in `PLACE`
OWN = "\2"  # sshd writes no such byte: it escapes what is not printable
_MAPPING = "berth-rescue"
_PYTHON = "/usr/bin/python3"
_BOUND = ("/dev", "/proc", "/sys", "/run")
_IN_MEMORY = ("/etc", "/var", "/root", "/home", "/tmp")  # noqa: S108 - the places themselves
_STRICT = mounts.NO_SUID | mounts.NO_DEVICES


@dataclass(frozen=True, kw_only=True, slots=True)
class Borrowed:
    """A slot's root that is mounted, and a sentence for each thing that can't be had."""

    slot: str
    problems: tuple[str, ...]


def borrow(system: Early, found: RescueDisk, own: str | None, devices: Devices | None) -> Borrowed | None:
    """Mount the first root that can be; None where neither can. `own` is the slot whose kernel runs. Raise OSError."""
    place = _mount_root(system, found, own)
    if place is None:
        return None
    problems: list[str] = []
    step = mounts.MountStep(
        source="devpts", target="/dev/pts", kind="devpts", flags=mounts.NO_SUID | mounts.NO_EXECUTE,
        data="mode=620,ptmxmode=666,gid=5",
    )  # fmt: skip
    problems += mounts.perform_all(system, (step,))
    for folder in _BOUND:
        system.mount(folder, PLACE + folder, "", mounts.BIND | mounts.RECURSIVE)
    for folder in _IN_MEMORY:
        mode = "mode=1777" if folder == "/tmp" else "mode=755"  # noqa: S108 - the place itself
        system.mount("tmpfs", PLACE + folder, "tmpfs", _STRICT, f"{mode},size=10%")
    for folder in ("/etc", "/var"):
        system.fill_tree(f"{PLACE}/usr/share/factory{folder}", PLACE + folder)
    problems += _drivers(system, devices)
    problems += _state(system, found, devices)
    return Borrowed(slot=place.slot, problems=tuple(problems))


def _mount_root(system: Early, found: RescueDisk, own: str | None) -> RootPlace | None:
    """Try the slot of this kernel first: only its root is sure to have drivers for it."""
    for slot in sorted(("a", "b"), key=lambda each: each != own):
        try:
            place = rescuedisk.root_place(system, found, slot)
            if place is not None and _mounted(system, place):
                return place
        except OSError:
            continue  # the other one, then
    return None


def _mounted(system: Early, place: RootPlace) -> bool:
    superblock = parse_superblock(system.read_blocks(place.device, place.offset, SUPERBLOCK_BYTES))
    if superblock is None:
        return False
    top = system.read_blocks(place.device, place.offset + superblock.hash_block, superblock.hash_block)
    if not has_root(superblock, place.offset, top, place.root_hash):
        return False
    rows = verity.table(superblock, place.device, place.offset, place.root_hash, panics=False)
    mapped = system.map_device(_MAPPING, rows)
    flags = mounts.READ_ONLY | mounts.NO_ACCESS_TIME
    try:
        mounts.perform(system, mounts.MountStep(source=mapped, target=PLACE, kind="erofs", flags=flags))
    except OSError:
        system.unmap_device(_MAPPING)
        raise
    return True


def _drivers(system: Early, devices: Devices | None) -> list[str]:
    """Load what the initramfs lacks: network cards, the file system of state."""
    kernel = system.read("/proc/sys/kernel/osrelease", 256).decode().strip()
    if devices is None or not system.exists(f"{PLACE}{MODULES_PATH}/{kernel}/modules.dep"):
        return [f"the root that could be read has no drivers for this kernel ({kernel}): there is no network"]
    devices.again(read_index(system, PLACE))
    devices.coldplug(system)
    return []


def _state(system: Early, found: RescueDisk, devices: Devices | None) -> list[str]:
    node = found.nodes.get("state")
    if node is None:
        return ["the disk has no state partition: nobody's keys are known"]
    try:
        if devices is not None:
            devices.load(system, "ext4")
        step = mounts.MountStep(source=node, target=STATE, kind="ext4", flags=mounts.READ_ONLY, data="noload")
        mounts.perform(system, step)
        # Mounted after /run was bound, it would not be seen there.
        mounts.perform(system, mounts.MountStep(source=STATE, target=PLACE + STATE, flags=mounts.BIND))
        kept = f"{STATE}{KEPT}"
        if system.exists(kept):
            mounts.perform(system, mounts.MountStep(source=kept, target=PLACE + KEPT, flags=mounts.BIND))
    except OSError as error:
        return [f"state can't be read ({error.strerror}): nobody's keys are known"]
    return []


def speaking(spawn: Spawn, writing: int) -> Spawn:
    """Return the start with both its output streams on a pipe."""
    return replace(spawn, stdout=writing, stderr=writing)


def program(slot: str, own: str, record: str, why: str) -> Spawn:
    """Return the start of the program in the borrowed root that opens the way in.

    Its lines are for people. Those that it says itself begin with `OWN`, those that others log there don't.
    """
    words = (_PYTHON, "-I", "-B", APP_PATH, "rescue", "--slot", slot, "--own", own, "--record", record)
    return Spawn(
        argv=(*words, "--reason", why),
        root=PLACE,
        environment=(("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")),
    )
