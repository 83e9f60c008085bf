"""Letting go of state at the very end: what is mounted below it, then it; read-only where something holds it."""

from __future__ import annotations

import errno

from init.pid1 import identity, mounts
from init.pid1.system import SYNC_SECONDS

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.system import System

ALL_BOUND = 5.0  # seconds for unmounting everything, and for each where that was not enough
EACH_BOUND = 2.0
ANSWER_MOST = 4096  # bytes
_BEGIN = b"\0"  # of an answer: one that is not there at all has no bytes either
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
    """Keep seed and clock, sync, unmount. Return whether state is entirely unmounted, or was never on a disk.

    Each in a child with a bound: a drive that never answers holds sync(2) and umount(2), which nothing ends. Whatever
    came of the sync, unmounting writes each file system once more.
    """
    if on_disk:
        for keep in (identity.save_seed, identity.stamp_clock):
            _try(say, keep.__name__, lambda keep=keep: keep(system))  # type: ignore[misc]
    written = _try(say, "sync", lambda: _sync(system, say))
    try:
        mounted = system.read("/proc/self/mounts", 1 << 20).decode("utf-8", "replace")
    except OSError:
        mounted = ""
    still = _unmount(system, targets(mounted, order), order)
    for place in still:
        if _within(system, EACH_BOUND, lambda place=place: _freeze(system, place)) is not None:  # type: ignore[misc]
            say(f"{place} is held by something: remounted read-only")
        else:
            say(f"{place} could be neither unmounted nor made read-only")
    if still and written:
        _try(say, "sync", lambda: _sync(system, say))
    return not still or not on_disk


def _sync(system: System, say: Callable[[str], None]) -> bool:
    written = system.sync()
    if not written:
        say(f"a disk has not taken all that is for it within {SYNC_SECONDS:g} s: going on with what does")
    return written


def _unmount(system: System, places: tuple[str, ...], order: tuple[str, ...]) -> tuple[str, ...]:
    """Unmount all places; return those of `order` that are still mounted."""
    answer = _within(
        system,
        ALL_BOUND,
        lambda: "\n".join(place for place in places if not _unmounted(system, place) and place in order).encode(),
    )
    if answer is not None:
        return tuple(answer.decode().splitlines())
    # One of them never ends. Whichever it is, the others need not share its fate.
    return tuple(place for place in places if not _unmounted_alone(system, place) and place in order)


def _unmounted_alone(system: System, place: str) -> bool:
    return _within(system, EACH_BOUND, lambda: b"done" if _unmounted(system, place) else b"") == b"done"


def _unmounted(system: System, place: str) -> bool:
    try:
        system.unmount(place)
    except OSError as error:
        return error.errno == errno.EINVAL  # nothing is mounted there
    return True


def _within(system: System, seconds: float, work: Callable[[], bytes]) -> bytes | None:
    """Return the answer of work in a child; None where there is none within so many seconds."""
    try:
        _, reading = system.apart(lambda: _BEGIN + work())
    except OSError:  # there can be no child: unmounting matters more than the bound
        return _done(work)
    try:
        if not system.wait_readable([reading], seconds):
            return None
        answer = system.read_from(reading, ANSWER_MOST)
        return answer.removeprefix(_BEGIN) if answer.startswith(_BEGIN) else None
    except OSError:
        return None
    finally:
        system.close(reading)


def _done(work: Callable[[], bytes]) -> bytes | None:
    try:
        return work()
    except OSError:
        return None


def _freeze(system: System, place: str) -> bytes:
    system.mount("", place, "", mounts.REMOUNT | mounts.READ_ONLY)
    return b""


def _try(say: Callable[[str], None], what: str, act: Callable[[], object]) -> bool:
    """Do one thing; tell whether it was done, which an act may deny itself; say it where it was refused."""
    try:
        return act() is not False
    except OSError as error:
        say(f"{what}: {error}")
        return False
