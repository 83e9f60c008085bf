"""The boot record on the disk that booted: read, change by the pure rules of `init.formats.bootrecord`, read back.

A change writes only the sectors that differ, past the page cache, each synced and read back before the next. Where one
partition can't be read or written (a bad sector), the change goes over the other copy in place, as GRUB's does. The
phase of the boot is advice in a sector of its own: no failure to write it is told more than once.
"""

from __future__ import annotations

from init.formats import bootphase, bootrecord, disk
from init.formats.bootrecord import Record
from init.pid1.gate import Standing

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.formats.bootrecord import Slot
    from init.pid1.system import Blocks

_PHASE_OFFSET = disk.PHASE_SECTOR * disk.SECTOR


class RecordError(OSError):
    """The boot record could not be changed; the one that was in force still is, or its change is incomplete."""


class BootRecord:
    """The record's two copies, and the slot that runs. `partitions`: record-0, record-1."""

    def __init__(self, system: Blocks, partitions: tuple[str, ...], slot: str | None, boot_id: str) -> None:
        self._system = system
        self._partitions = partitions
        self.slot: Slot | None = "a" if slot == "a" else "b" if slot == "b" else None
        self._boot_id = boot_id
        self.present = len(partitions) == 2 and self.slot is not None
        self.known: Record | None = None  # as it was last seen or put in force

    def read(self) -> Record | None:
        """Return the record in force; None where there is none or none is valid. Raise OSError."""
        self.known = bootrecord.current(self._copies()) if self.present else None
        return self.known

    def standing(self) -> Standing:
        """Say what the record says of the slot that runs; raise OSError where it can't be read."""
        if not self.present or self.slot is None:
            return Standing.NONE
        record = self.read()
        if record is None:
            return Standing.ALONE
        if record.slot(self.slot).good:
            return Standing.GOOD
        return Standing.NEW if record.slot(bootrecord.other(self.slot)).good else Standing.ALONE

    def change(self, rule: Callable[[Record, Slot], Record]) -> None:
        """Put `rule(record, slot)` in force; raise OSError, RecordError where neither copy takes it."""
        if not self.present or self.slot is None:
            return
        copies = self._copies()
        record = bootrecord.current(copies) or bootrecord.fresh(self.slot)
        wanted = rule(record, self.slot)
        writes = bootrecord.plan(copies, wanted)
        try:
            self._carry_out(writes, copies)
        except OSError:
            copies = self._copies()
            self._carry_out(bootrecord.plan_in_place(copies, wanted) or writes[1:], copies)
        self.known = wanted

    def refill(self) -> None:
        """Boot gate passed."""
        self.change(bootrecord.arm)

    def confirm(self) -> None:
        """Release gate passed."""
        self.change(bootrecord.confirm)

    def hold(self) -> None:
        """Release gate failed: the other slot boots next."""
        self.change(bootrecord.hold)

    def enter(self, phase: str, *, reason: str = "", detail: str = "") -> None:
        """Write how far the boot has come; raise OSError."""
        if not self.present or self.slot is None:
            return
        value = bootphase.BootPhase(slot=self.slot, phase=phase, reason=reason, boot=self._boot_id, detail=detail)
        self._system.write_blocks(self._partitions[0], _PHASE_OFFSET, bootphase.encode(value))

    def last_phase(self) -> bootphase.BootPhase | None:
        """Return what the boot before came to, if this one has not written yet; None where that isn't known."""
        if not self.present:
            return None
        try:
            sector = self._system.read_blocks(self._partitions[0], _PHASE_OFFSET, bootphase.BYTES)
        except OSError:
            return None
        found = bootphase.decode(sector)
        return found if found is not None and found.boot != self._boot_id[:40] else None

    def _copies(self) -> tuple[bytes, bytes]:
        """Return both copies; one that can't be read is empty, which is not valid. Raise OSError when neither can."""
        copies: list[bytes] = []
        failures: list[OSError] = []
        for path in self._partitions:
            try:
                copies.append(self._system.read_blocks(path, 0, bootrecord.COPY_BYTES))
            except OSError as error:
                copies.append(b"")
                failures.append(error)
        if len(failures) == len(copies):
            raise failures[0]
        return copies[0], copies[1]

    def _carry_out(self, writes: tuple[bootrecord.Write, ...], before: tuple[bytes, bytes]) -> None:
        """Do one write after the other. None is done after one that failed: it would count on that one's bytes."""
        for write in writes:
            self._write(write, before[write.copy])

    def _write(self, write: bootrecord.Write, before: bytes) -> None:
        path = self._partitions[write.copy]
        for at in range(0, len(write.data), disk.SECTOR):
            sector = write.data[at : at + disk.SECTOR]
            if before[at : at + disk.SECTOR] != sector:
                self._system.write_blocks(path, at, sector)
        if self._system.read_blocks(path, 0, len(write.data)) != write.data:
            raise RecordError(5, "what was written does not read back", path)


def gave_up(phase: bootphase.BootPhase | None, slot: Slot) -> bool:
    """Tell whether the boot before this one, of the other slot, ended it of its own accord and said why."""
    return phase is not None and phase.slot != slot and bool(phase.reason)


NEVER_BEGAN = "nothing of it came as far as PID 1"


def last_phase_of(phase: bootphase.BootPhase | None, returned: Slot) -> str | None:
    """Return how far a slot's last boot came; None where it left nothing behind (`good` is an older boot's)."""
    if phase is None or phase.slot != returned or (phase.phase == "good" and not phase.reason):
        return None
    return phase.phase


def why_back(phase: bootphase.BootPhase | None, returned: Slot, *, watchdog: bool = False) -> tuple[str, str]:
    """Return the reason and the detail for a slot that came back, from the phase that its last boot left behind.

    Each boot writes its phase as soon as it has found its disk, and `good` when its gate is passed. So a phase of
    another slot, or `good`, means that no init of that slot has run since. What ended a boot later without a word is
    the watchdog where the hardware says so (`watchdog`), else unknown: a panic leaves nothing. What lies on the disk
    may tell more (`with_evidence`).
    """
    if phase is None:
        return "unknown", ""
    if last_phase_of(phase, returned) is None:
        return "no-init", NEVER_BEGAN
    if phase.reason:
        return phase.reason, phase.detail or phase.phase
    return ("watchdog" if watchdog else "unknown"), phase.phase


def with_evidence(reason: str, detail: str, boot_fault: str, root_fault: str) -> tuple[str, str]:
    """Return reason and detail once the slot was read: what is wrong with its two images, "" for nothing.

    A boot that ended without a word over a root that does not match its tree met verity, which panics.
    """
    if reason == "no-init" and boot_fault:
        return reason, boot_fault
    if reason == "unknown" and root_fault:
        return "verity", f"{detail}: {root_fault}" if detail else root_fault
    return reason, detail
