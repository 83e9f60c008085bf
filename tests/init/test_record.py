"""The boot record on a disk that fails: a bad sector in one partition never keeps a slot from being refilled."""

from __future__ import annotations

import errno
import itertools
from dataclasses import replace

import pytest
from fakes.disk import SparseDisk
from fakes.system import FakeSystem

from init.formats import bootrecord
from init.formats.bootrecord import Record, SlotState
from init.pid1.record import BootRecord, RecordError

PATHS = ("/dev/vda3", "/dev/vda4")
SPENT = Record(sequence=1, order=("a", "b"), a=SlotState(tries=2, good=True), b=SlotState(tries=3, good=True))
OLD = replace(SPENT, sequence=0, a=SlotState(tries=3, good=True))


class BadDisk(SparseDisk):
    """One that refuses: `fault` is `write`, `both` (reading, too), or `lies` (takes a write and keeps nothing)."""

    fault = ""

    def read(self, offset: int, length: int) -> bytes:
        if self.fault == "both":
            raise OSError(errno.EIO, "Input/output error")
        return super().read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        if self.fault in ("write", "both"):
            raise OSError(errno.EIO, "Input/output error")
        if self.fault != "lies":
            super().write(offset, data)


def machine(*copies: bytes) -> tuple[BootRecord, list[BadDisk]]:
    system = FakeSystem()
    parts = [BadDisk(1 << 20, {0: copy}) for copy in copies]
    system.blocks.update(zip(PATHS, parts, strict=True))
    return BootRecord(system, PATHS, "a", "boot"), parts


def readable(parts: list[BadDisk]) -> Record | None:
    """What GRUB finds at the next boot."""
    first, second = (b"" if part.fault == "both" else part.read(0, bootrecord.COPY_BYTES) for part in parts)
    return bootrecord.current((first, second))


WHICH = itertools.product((0, 1), ("write", "both", "lies"), (False, True))


@pytest.mark.parametrize(("bad", "fault", "turned"), list(WHICH))
def test_one_bad_partition_does_not_keep_the_slot_from_being_refilled(bad: int, fault: str, turned: bool) -> None:
    copies = (bootrecord.encode(OLD), bootrecord.encode(SPENT))
    record, parts = machine(*(reversed(copies) if turned else copies))
    parts[bad].fault = fault
    for _ in range(3):  # at every boot anew
        record.refill()
        found = readable(parts)
        assert found is not None
        assert found.a == SlotState(tries=3, good=True)


@pytest.mark.parametrize(("bad", "fault"), list(itertools.product((0, 1), ("write", "both", "lies"))))
def test_without_a_valid_record_one_copy_is_enough(bad: int, fault: str) -> None:
    record, parts = machine(bytes(1024), bytes(1024))
    parts[bad].fault = fault
    record.refill()
    found = readable(parts)
    assert found is not None
    assert found.a.tries == bootrecord.MAX_TRIES


@pytest.mark.parametrize("fault", ["write", "both", "lies"])
def test_two_bad_partitions_are_told(fault: str) -> None:
    record, parts = machine(bootrecord.encode(OLD), bootrecord.encode(SPENT))
    for part in parts:
        part.fault = fault
    with pytest.raises((OSError, RecordError)):
        record.refill()


def test_a_sound_disk_is_never_written_in_place() -> None:
    record, parts = machine(bootrecord.encode(OLD), bootrecord.encode(SPENT))
    record.refill()
    assert parts[0].writes
    assert not parts[1].writes
