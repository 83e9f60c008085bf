"""Letting go of state at the very end: what is mounted below it, then it; read-only where something holds it."""

from __future__ import annotations

import errno

from init.pid1 import apart, disks, identity, mounts
from init.pid1.system import SYNC_SECONDS

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.system import System

PATIENCE = 5.0  # seconds in which no disk does anything
HURRIED = 1.0  # the same, once a disk was found to do nothing
_KERNEL_KINDS = frozenset(
    (
        "proc",
        "sysfs",
        "devtmpfs",
        "devpts",
        "tmpfs",
        "cgroup2",
        "mqueue",
        "overlay",
        "erofs",
        "nsfs",
        "ramfs",
        "iso9660",
    )
)


def targets(mounted: str, order: tuple[str, ...]) -> tuple[str, ...]:
    """Return what to unmount, in order, from the text of /proc/self/mounts.

    First, newest first, whatever lies below one of `order` and every file system on a device of its own; then `order`.
    """
    before = []
    for line in mounted.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = words[1].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        below = any(place.startswith(f"{root}/") for root in order)
        if place not in order and place != "/" and (below or words[2] not in _KERNEL_KINDS):
            before.append(place)
    return (*reversed(before), *order)


def leave(
    system: System,
    order: tuple[str, ...],
    say: Callable[[str], None],
    *,
    on_disk: bool,
    alive: Callable[[], object] = lambda: None,
) -> bool:
    """Keep seed and clock, sync, unmount. Return whether state is entirely unmounted, or was never on a disk.

    Each in a child: a drive that never answers holds write(2), sync(2) and umount(2), which nothing ends. A slow one is
    waited for as long as anything moves; `alive` is called each second of that.
    """

    def patiently(work: Callable[[], bytes], seconds: float) -> bytes | None:
        return apart.within(system, seconds, work, progress=lambda: disks.moved(system), alive=alive)

    if on_disk:
        kept = patiently(lambda: _keep(system), PATIENCE)
        if kept != b"":
            said = kept.decode("utf-8", "replace") if kept is not None else "their disk does not answer"
            say(f"random seed and clock could not be kept: {said}")
    written = _sync(system, say)
    try:
        mounted = system.read("/proc/self/mounts", 1 << 20).decode("utf-8", "replace")
    except OSError:
        mounted = ""
    patience, clean, held = PATIENCE, True, []
    for place in targets(mounted, order):
        answer = patiently(lambda place=place: b"done" if _unmounted(system, place) else b"", patience)  # type: ignore[misc]
        if answer is None:
            say(f"{place} can't be unmounted: its disk does not answer")
            patience, clean = HURRIED, clean and place not in order
        elif not answer and place in order:
            held.append(place)
    for place in held:
        if patiently(lambda place=place: _freeze(system, place), patience) is not None:  # type: ignore[misc]
            say(f"{place} is held by something: remounted read-only")
        else:
            say(f"{place} could be neither unmounted nor made read-only")
    if held and written:
        _sync(system, say)
    return not on_disk or (clean and not held)


def _keep(system: System) -> bytes:
    """Keep the random seed and the clock for the next boot; return what kept one from it, empty where nothing did."""
    failed = []
    for keep in (identity.save_seed, identity.stamp_clock):
        try:
            keep(system)
        except OSError as error:
            failed.append(f"{keep.__name__}: {error}")
    return "; ".join(failed).encode()


def _sync(system: System, say: Callable[[str], None]) -> bool:
    try:
        written = system.sync()
    except OSError as error:
        say(f"sync: {error}")
        return False
    if not written:
        say(f"a disk has not taken all that is for it within {SYNC_SECONDS:g} s: going on with what does")
    return written


def _unmounted(system: System, place: str) -> bool:
    """Unmount a place. To be asked once: what is being unmounted is no mount point any more, yet not written."""
    try:
        system.unmount(place)
    except OSError as error:
        return error.errno == errno.EINVAL  # nothing is mounted there
    return True


def _freeze(system: System, place: str) -> bytes:
    system.mount("", place, "", mounts.REMOUNT | mounts.READ_ONLY)
    return b""
