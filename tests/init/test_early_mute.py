"""Drives that take a command and never answer: PID 1 waits for none of them, and goes on with what the others have."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fakes import machine
from fakes.disk import SparseDisk
from fakes.processes import Stuck
from fakes.system import FakeSystem

from init.formats.disk import PHASE_SECTOR, SECTOR
from init.pid1 import early, rescue, watchdog
from init.pid1.earlyresult import EarlyResult

FSCK = ("run", str(("/usr/sbin/e2fsck", "-p", "/dev/vda9")))


class Events:
    def emit(self, event: str, **fields: object) -> None:
        pass


def boot(system: FakeSystem) -> EarlyResult:
    result = early.run(system, Events())
    assert system.stuck == [], "PID 1 itself waits for ever"
    return result


def with_mute(system: FakeSystem, name: str = "nvme0n1") -> FakeSystem:
    """Add a disk that never answers; by its name it comes before the others."""
    machine.show_disk(system, name, SparseDisk(machine.DISK_SECTORS * SECTOR), None, at="before the boot")
    system.hangs.add(("read_blocks", f"/dev/{name}"))
    return system


@pytest.mark.parametrize("make", [machine.installed, machine.from_iso])
def test_the_root_is_found_beside_a_mute_disk(make: Callable[[], FakeSystem]) -> None:
    """Also when it comes later, on a stick that somebody puts into a machine whose own disk is dying."""
    result = boot(with_mute(make()))
    assert (result.outcome, result.degraded) == ("root", ())


def test_a_disk_that_never_answers_its_driver_costs_two_minutes() -> None:
    """The kernel itself waits for its partition table, and whoever loads a module in the plain way waits, too."""
    system = machine.installed(formatted=True)
    act = system.load_module

    def load_module(path: str, parameters: str = "") -> None:
        if "async_probe" not in parameters:
            if not system.in_child:
                system.stuck.append(path)
            raise Stuck
        act(path, parameters)

    system.load_module = load_module  # type: ignore[method-assign]
    system.filesystems["sysfs"]["/class/watchdog/watchdog0/identity"] = b"i6300ESB timer\n"
    result = boot(system)
    assert (result.outcome, result.state.kind) == ("root", "ext4")
    assert result.degraded == ("a driver waits for a device that does not answer it: going on after 120 s",)
    assert sum(call.name == "feed_watchdog" for call in system.calls) > 100


def test_a_disk_that_answers_late_is_waited_for_longer_and_it_is_said() -> None:
    system = with_mute(machine.without_root(machine.slot_command_line()))
    result = boot(system)
    assert (result.outcome, result.reason) == ("reboot", "no root was found within 90 s")
    said = system.said.decode()
    assert "no root yet, and a disk that does not answer: 90 s for it" in said
    assert "/dev/nvme0n1: does not answer" in said
    assert 90 < system.seconds < 120


def test_why_a_slot_gave_up_is_left_beside_a_mute_disk() -> None:
    system = with_mute(machine.installed())
    system.blocks["/dev/vda7"].write(machine.OFFSET, bytes(4096))
    assert boot(system).outcome == "reboot"
    assert b"verity" in system.blocks["/dev/vda3"].read(PHASE_SECTOR * SECTOR, SECTOR)


def test_rescue_finds_the_slots_beside_a_mute_disk() -> None:
    system = with_mute(machine.installed())
    system.filesystems["proc"]["/cmdline"] = machine.slot_command_line().strip().encode() + b" berth.rescue\n"
    system.typed = [b"retry\n", b"reboot\n"]
    rescue.serve(system, Events(), boot(system))
    assert system.stuck == []
    assert "the boot record can't be read: which slot is good isn't known" in system.said.decode(), "the disk was found"


def test_a_check_of_state_may_take_long_as_long_as_the_disk_moves() -> None:
    """Half an hour on a large disk; the watchdog is fed, and people are told what is waited for."""
    system = machine.installed()
    system.blocks["/dev/vda9"].write(0, b"a file system with errors".ljust(512))
    moving = iter(range(1800))
    act = system.read

    def read(path: str, limit: int = 16 << 20) -> bytes:
        if path == "/proc/diskstats":
            return f" 254 0 vda 1 0 8 0 {next(moving, 'done')} 0 8 0\n".encode()
        return act(path, limit)

    system.read = read  # type: ignore[method-assign]
    system.hangs.add(FSCK)
    result = boot(system)
    assert result.state.kind == "memory", "it ended neither, once nothing moved any more"
    assert "e2fsck did not end" in (result.state.problem or "")
    assert 1800 < system.seconds < 2000
    assert "is checked and mended" in system.said.decode()


def test_a_watchdog_in_hardware_is_open_before_the_root_is_looked_for() -> None:
    system = machine.installed()
    system.filesystems["sysfs"]["/class/watchdog/watchdog0/identity"] = b"i6300ESB timer\n"
    result = boot(system)
    names = [call.name for call in system.calls]
    assert names.index("open_watchdog") < names.index("map_device")
    (opened,) = [call for call in system.calls if call.name == "open_watchdog"]
    assert opened.arguments == ("/dev/watchdog0", watchdog.EARLY_SECONDS), "longer than a bad disk's probe"
    assert result.watchdog is not None
    assert result.watchdog.seconds == watchdog.SECONDS
