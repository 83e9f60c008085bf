"""Letting go of state at the very end: what is mounted below it, then it; read-only where something holds it."""

from __future__ import annotations

from init.pid1 import identity, mounts

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.system import System

SYNC_BOUND = 10.0  # seconds
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


def leave(system: System, order: tuple[str, ...], say: Callable[[str], None], *, on_disk: bool) -> bool:
    """Keep seed and clock, sync, unmount. Return whether state is entirely unmounted, or was never on a disk."""
    if on_disk:
        for keep in (identity.save_seed, identity.stamp_clock):
            _try(say, keep.__name__, lambda keep=keep: keep(system))  # type: ignore[misc]
    _try(say, "sync", lambda: _sync(system, say))
    try:
        mounted = system.read("/proc/self/mounts", 1 << 20).decode("utf-8", "replace")
    except OSError:
        mounted = ""
    failed = [place for place in targets(mounted, order) if not _unmount(system, place)]
    still = [place for place in failed if place in order]
    for place in still:
        if _try(say, f"remount {place} read-only", lambda place=place: _freeze(system, place)):  # type: ignore[misc]
            say(f"{place} is held by something: remounted read-only")
    if still:
        _try(say, "sync", lambda: _sync(system, say))
    return not still or not on_disk


def _sync(system: System, say: Callable[[str], None]) -> None:
    """Write all that is dirty, in a child with a bound: a drive that never answers holds sync(2), which nothing ends.

    Whatever came of it, unmounting writes each file system once more.
    """

    def work() -> bytes:
        system.sync()
        return b"done"

    _, reading = system.apart(work)
    try:
        if not system.wait_readable([reading], SYNC_BOUND):
            say(f"a disk has not taken all that is for it within {SYNC_BOUND:g} s: going on with what does")
    finally:
        system.close(reading)


def _freeze(system: System, place: str) -> None:
    system.mount("", place, "", mounts.REMOUNT | mounts.READ_ONLY)


def _unmount(system: System, place: str) -> bool:
    try:
        system.unmount(place)
    except OSError as error:
        return error.errno == 22  # EINVAL: nothing is mounted there
    return True


def _try(say: Callable[[str], None], what: str, act: Callable[[], None]) -> bool:
    try:
        act()
    except OSError as error:
        say(f"{what}: {error}")
        return False
    return True
