"""Which disk an installation may have, if any: a pure function of the disks that there are and of what was asked for.

The rules, from the most to the least final:

 1. Never a disk that Berth can't boot from or doesn't own alone: the boot medium, a RAID array or a member of one, one
    of several paths to a disk, sectors of 4 KiB, read-only, in use, too small.
 2. Never over data, unless the disk's serial number stands in `wipe`. Without data is a disk that has no partition
    table and whose first and last MiB are zero, and one on which an installation was interrupted (`mark`).
 3. Never by choosing: `only-empty` wants exactly one empty disk. `smallest` and `largest` are the user's own rule; it
    names one disk, and where rule 1 or 2 forbids that one, no other is taken in its place.

Removable disks (sticks, cards) are taken only when they are named by path or serial number.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats import disk as layouts

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

ONLY_EMPTY = "only-empty"
SMALLEST = "smallest"
LARGEST = "largest"
_SERIAL = "serial:"


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A whole disk as it was found. `size` and `sector` (its logical sectors) are bytes; unknown texts are empty."""

    path: str
    size: int
    sector: int = 512
    serial: str = ""
    model: str = ""
    wwid: str = ""  # the same for every path to one disk
    removable: bool = False
    read_only: bool = False
    is_medium: bool = False  # the live system runs from it
    is_array: bool = False  # a device that is made of others: RAID, multipath, LVM
    member: str = ""  # what it is a member of, by a signature on it: `a RAID array`
    used: tuple[str, ...] = ()  # where it is mounted, or who holds it
    is_blank: bool = False  # no partition table, first and last MiB zero
    is_interrupted: bool = False  # an installation was begun and not finished
    is_berth: bool = False  # a Berth machine is installed
    is_readable: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked for, in the words of `berth.install`. `root_mib` is the size of a root partition."""

    disk: str
    wipe: str | None = None
    root_mib: int = layouts.DEFAULT_ROOT_MIB


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What will be written: `disk` with `layout`; `reason` says in words why this one; `destroys`: it holds data."""

    disk: Disk
    layout: layouts.Layout
    reason: str
    destroys: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why nothing will be written, and what to do. `disk` is the one that was meant, where one was."""

    reason: str
    hint: str = ""
    disk: Disk | None = None


def plan(disks: Iterable[Disk], request: Request) -> Plan | Refusal:
    """Choose the disk of a request, or say why there is none."""
    present = tuple(disks)
    if request.disk == ONLY_EMPTY:
        return _only_empty(present, request)
    if request.disk in (SMALLEST, LARGEST):
        return _by_size(present, request)
    if request.disk.startswith(_SERIAL):
        serial = request.disk.removeprefix(_SERIAL)
        return _named(present, tuple(one for one in present if serial and one.serial == serial), request)
    return _named(present, tuple(one for one in present if one.path == request.disk), request)


def describe(disk: Disk) -> str:
    """Return a disk for people: path, model, size, serial number."""
    serial = f"serial {disk.serial}" if disk.serial else "no serial number"
    return f"{disk.path} ({', '.join(part for part in (disk.model, sized(disk.size), serial) if part)})"


def sized(count: int) -> str:
    """Return bytes as makers of disks count them."""
    return f"{count / 1e9:.1f} GB" if count < 100 * 10**9 else f"{count / 1e9:.0f} GB"


def unsuitable(disk: Disk, disks: Iterable[Disk], request: Request) -> str | None:
    """Say why a disk can't be installed to whatever it holds (rule 1); None where it can."""
    needed = layouts.smallest_mib(root_mib=request.root_mib) * layouts.MIB
    paths = [one.path for one in disks if disk.wwid and one.wwid == disk.wwid]
    if disk.is_medium:
        return "it is the medium that this system was started from"
    if disk.is_array:
        return "it is made of other disks (RAID, multipath or LVM), which Berth can't boot from"
    if disk.member:
        return f"it is a member of {disk.member}"
    if len(paths) > 1:
        return f"it is reached by several paths (multipath): {', '.join(paths)}"
    if disk.sector != layouts.SECTOR:
        return f"its sectors are {disk.sector} bytes; Berth needs drives with sectors of {layouts.SECTOR}"
    if disk.read_only:
        return "it is read-only"
    if not disk.is_readable:
        return "it can't be read"
    if disk.used:
        return f"it is in use: {', '.join(disk.used)}"
    if disk.size < needed:
        return f"it is too small: {sized(disk.size)}, and {needed // layouts.MIB} MiB ({sized(needed)}) are needed"
    return None


def holds_data(disk: Disk) -> bool:
    """Tell whether something would be lost."""
    return not (disk.is_blank or disk.is_interrupted)


def _guarded(disk: Disk, request: Request) -> str | None:
    """Say why what a disk holds forbids to write to it (rule 2); None where nothing does."""
    if not holds_data(disk) or (disk.serial and disk.serial == request.wipe):
        return None
    return "a Berth machine is installed on it" if disk.is_berth else "it holds data"


def _way_out(disk: Disk) -> str:
    if disk.serial:
        return f"to destroy what is on it, name it: `wipe: {disk.serial}`"
    return "it has no serial number by which `wipe` could name it; empty its first and last MiB by hand"


def _take(disk: Disk, disks: tuple[Disk, ...], request: Request, reason: str) -> Plan | Refusal:
    """Apply rules 1 and 2 to the disk that was meant."""
    wrong = unsuitable(disk, disks, request)
    if wrong is not None:
        return Refusal(reason=f"{describe(disk)}: {wrong}", hint="name another disk", disk=disk)
    guarded = _guarded(disk, request)
    if guarded is not None:
        return Refusal(reason=f"{describe(disk)}: {guarded}", hint=_way_out(disk), disk=disk)
    if disk.is_interrupted:
        reason += "; an interrupted installation begins anew"
    layout = layouts.lay_out(disk.size // layouts.SECTOR, root_mib=request.root_mib)
    return Plan(disk=disk, layout=layout, reason=reason, destroys=holds_data(disk))


def _only_empty(disks: tuple[Disk, ...], request: Request) -> Plan | Refusal:
    fixed = [one for one in disks if not one.removable]
    good = [one for one in fixed if unsuitable(one, disks, request) is None and not holds_data(one)]
    if len(good) == 1:
        return _take(good[0], disks, request, "the only empty disk")
    if good:
        names = " and ".join(describe(one) for one in good)
        hint = "name the one to use: `disk: serial:…` or `disk: /dev/…`"
        return Refusal(reason=f"{len(good)} disks are empty: {names}", hint=hint)
    found = "; ".join(f"{describe(one)}: {_why_not(one, disks, request)}" for one in disks)
    hint = "attach an empty disk, or name one with `disk: serial:…` and `wipe: …`"
    return Refusal(reason=f"no disk is empty: {found}" if found else "there is no disk", hint=hint)


def _why_not(disk: Disk, disks: tuple[Disk, ...], request: Request) -> str:
    """Say why a disk is not one of the empty ones."""
    wrong = unsuitable(disk, disks, request)
    if wrong is None and disk.removable:
        wrong = "it is removable, so it has to be named"
    return wrong or ("a Berth machine is installed on it" if disk.is_berth else "it holds data")


def _by_size(disks: tuple[Disk, ...], request: Request) -> Plan | Refusal:
    needed = layouts.smallest_mib(root_mib=request.root_mib) * layouts.MIB
    meant = [one for one in disks if not one.removable and not one.is_medium and one.size >= needed]
    if not meant:
        reason = f"there is no disk of {needed // layouts.MIB} MiB ({sized(needed)}) or more beside the boot medium"
        return Refusal(reason=reason, hint="attach a disk")
    size = (min if request.disk == SMALLEST else max)(one.size for one in meant)
    chosen = [one for one in meant if one.size == size]
    if len(chosen) > 1:
        names = " and ".join(describe(one) for one in chosen)
        return Refusal(reason=f"{len(chosen)} disks are the {request.disk}: {names}", hint="name the one to use")
    return _take(chosen[0], disks, request, f"the {request.disk} disk")


def _named(disks: tuple[Disk, ...], found: tuple[Disk, ...], request: Request) -> Plan | Refusal:
    if not found:
        there = "; ".join(describe(one) for one in disks) or "none at all"
        return Refusal(reason=f"there is no disk {request.disk}", hint=f"the disks of this machine are: {there}")
    if len(found) > 1:
        names = ", ".join(one.path for one in found)
        reason = f"several disks are {request.disk}: {names}; several paths to one disk (multipath) can't be used"
        return Refusal(reason=reason, hint="name one by its path: `disk: /dev/…`")
    return _take(found[0], disks, request, f"asked for by {request.disk}")
