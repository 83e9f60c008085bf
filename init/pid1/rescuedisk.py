"""The disk that booted, as rescue sees it: its slots, its boot record, its state. It is looked at, and given new tries.

Nothing of it is needed for rescue to run; whatever can't be read is said and left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats import bootimage, bootrecord, cmdline, disk, envblock
from init.formats.bootrecord import SLOTS
from init.pid1 import answering, disks
from init.pid1.record import BootRecord

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.formats.bootrecord import Slot
    from init.pid1.system import Early

_MEMBERS_MOST = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class RescueDisk:
    """The disk's node, and its partitions' nodes by their GPT names."""

    path: str
    nodes: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RootPlace:
    """Where a slot's root lies: its partition, and what its boot image's command line says of its verity tree."""

    slot: str
    device: str
    root_hash: str
    offset: int  # bytes


def find(system: Early, record: str | None) -> RescueDisk | None:
    """Return the disk whose `record-0` has this GUID; None where it isn't there (yet). Raise OSError.

    Another disk that can't be read, or does not answer, is no hindrance.
    """
    devices = answering.present(system)
    for device in devices:
        if record is None or device.number is not None:
            continue
        try:
            table = disks.read_table(system, device.path)
        except OSError:
            continue
        if table is None or not disks.is_booted(table, record):
            continue
        nodes = {}
        for number, entry in table.entries.items():
            part = disks.partition(devices, device.name, number)
            if part is None:
                return None  # the kernel has not told of all its partitions yet
            nodes[entry.name] = part.path
        return RescueDisk(path=device.path, nodes=nodes)
    return None


def boot_record(system: Early, found: RescueDisk, slot: str | None) -> BootRecord:
    """Return the disk's boot record; `slot` is the one whose kernel runs."""
    names = (disk.record_name(0), disk.record_name(1))
    return BootRecord(system, tuple(found.nodes[name] for name in names if name in found.nodes), slot, "")


def reset_tries(system: Early, found: RescueDisk, slot: str | None) -> None:
    """Give every slot that could boot all its tries; raise OSError where the record can't be written."""
    record = boot_record(system, found, slot)
    if not record.present:
        raise OSError(5, "it has no boot record that belongs to a slot", found.path)
    holds: frozenset[Slot] = frozenset(each for each in SLOTS if _holds_image(system, found, each))
    record.change(lambda was, own: bootrecord.retried(was, own, holds))


def _holds_image(system: Early, found: RescueDisk, slot: str) -> bool:
    try:
        return bool(_members(system, found.nodes[disk.boot_name(slot)]))
    except (OSError, KeyError):
        return False


def root_place(system: Early, found: RescueDisk, slot: str) -> RootPlace | None:
    """Return where a slot's root lies, None where its boot image doesn't say; raise OSError."""
    boot, root = found.nodes.get(disk.boot_name(slot)), found.nodes.get(disk.root_name(slot))
    if boot is None or root is None:
        return None
    at, size = _members(system, boot).get(bootimage.CMDLINE, (0, 0))
    block = system.read_blocks(boot, at, size) if 0 < size <= 1 << 16 else b""
    values = envblock.read(block, (bootimage.CMDLINE_VARIABLE,)) or {}
    line = cmdline.parse(values.get(bootimage.CMDLINE_VARIABLE, b"").decode("utf-8", "replace"))
    if line.root_hash is None or line.root_offset is None:
        return None
    return RootPlace(slot=slot, device=root, root_hash=line.root_hash, offset=line.root_offset)


def _members(system: Early, node: str) -> dict[str, tuple[int, int]]:
    """Return offset and size of each file in a boot image, as far as its headers can be read; raise OSError."""
    files: dict[str, tuple[int, int]] = {}
    at = 0
    for _ in range(_MEMBERS_MOST):
        header = system.read_blocks(node, at, disk.SECTOR)
        digits = header[124:136].rstrip(b" \0")
        if header[257:262] != b"ustar" or not digits.isdigit():
            break
        size = int(digits, 8) if not set(digits) - set(b"01234567") else 0
        files[header[:100].split(b"\0")[0].decode("ascii", "replace")] = (at + disk.SECTOR, size)
        at += disk.SECTOR + -(-size // disk.SECTOR) * disk.SECTOR
    return files


def slots(system: Early, found: RescueDisk, slot: str | None) -> dict[str, dict[str, object]]:
    """Return what the boot record says of each slot, `{}` where neither copy can be read."""
    try:
        record = boot_record(system, found, slot).read()
    except OSError:
        record = None
    if record is None:
        return {}
    return {each: {"tries": record.slot(each).tries, "good": record.slot(each).good} for each in SLOTS}


def last_boot(system: Early, found: RescueDisk, slot: str | None) -> dict[str, str] | None:
    """Return how far the last boot came that left its phase, and why it gave up; None where that isn't known."""
    phase = boot_record(system, found, slot).last_phase()
    if phase is None:
        return None
    return {"slot": phase.slot, "phase": phase.phase, "reason": phase.reason, "detail": phase.detail}


def lines(system: Early, found: RescueDisk, slot: str | None) -> list[str]:
    """Say slots and last boot for people."""
    known = slots(system, found, slot)
    said = [
        f"slot {name}: {'confirmed' if one['good'] else 'not confirmed'}, {one['tries']} tries left"
        for name, one in known.items()
    ] or ["the boot record can't be read: which slot is good isn't known"]
    last = last_boot(system, found, slot)
    if last is not None:
        why = f", {last['reason']}: {last['detail']}" if last["reason"] else ""
        said.append(f"the last boot was slot {last['slot']}'s and came as far as `{last['phase']}`{why}")
    return said
