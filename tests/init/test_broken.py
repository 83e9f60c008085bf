"""PID 1 whose own code can't be imported: said, left for the next boot, rebooted, whatever else fails."""

from __future__ import annotations

from fakes import machine
from fakes.system import FakeSystem

from init.formats import bootphase, disk
from init.pid1 import broken

TEXT = "ImportError: no such name (main.py:3, <module>)"


def left_behind(system: FakeSystem) -> bootphase.BootPhase | None:
    at = disk.PHASE_SECTOR * disk.SECTOR
    return bootphase.decode(system.blocks["/dev/vda3"].read(at, bootphase.BYTES))


def test_the_reason_is_left_beside_the_record() -> None:
    system = machine.installed()
    broken.give_up(system, TEXT)
    left = left_behind(system)
    assert left is not None
    assert (left.slot, left.phase, left.reason, left.detail) == ("a", "initramfs", "init-exception", TEXT)
    assert TEXT in system.said.decode()
    assert system.powered == "reboot"


def test_without_a_disk_it_reboots_all_the_same() -> None:
    system = machine.base(f"berth.root={'0' * 64},0 berth.slot=a berth.record={machine.RECORD}")
    broken.give_up(system, TEXT)
    assert "did not appear within 15 s" in system.said.decode()
    assert system.powered == "reboot"


def test_no_single_failure_keeps_it_from_rebooting() -> None:
    whole = machine.installed()
    broken.give_up(whole, TEXT)
    for number in range(1, len(whole.calls) + 1):
        system = machine.installed()
        system.fail_at = number
        try:
            broken.give_up(system, TEXT)
        except OSError:
            assert system.failed, "an exception that leaves here ends PID 1, and the kernel's panic reboots"
        assert system.powered == "reboot" or "power" in str(system.failed), system.failed
