"""What the early half lets be made ready beside it: on the fake kernel, and the fork on the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import machine
from fakes.system import FakeSystem

from init.containers import ahead
from init.pid1 import early, forerun
from init.pid1.devices import Devices, read_index
from init.pid1.events import Announcer
from init.pid1.system import ChildResult

ROOT = Path(__file__).parents[2]
ASIDE = """
import os, sys
from init.pid1.linux.early import EarlyKernel
reading, writing = os.pipe()
def work():
    os.write(writing, b"%d" % os.getppid())
    {end}
EarlyKernel().aside(work)
os.close(writing)
said = open(reading, "rb").read()
_, status = os.waitpid(-1, 0)
print(int(said) == os.getpid(), os.waitstatus_to_exitcode(status))
"""


def test_drivers_are_loaded_beside_the_imports_and_then_found_there():
    system = machine.installed()
    forerun.begin(system)
    assert [call.name for call in system.calls if call.name == "load_module"] == []
    system.asides.pop()()
    beside = system.modules[:]
    written = [call.arguments for call in system.calls if call.name == "write" and "panic" in call.arguments[0]]
    assert written == [("/proc/sys/kernel/panic_on_oops", b"1"), ("/proc/sys/kernel/panic_on_oops", b"0\n")]
    assert {"virtio_blk", "dm-verity", "erofs"} <= set(beside)
    assert early.run(system, Announcer(system)).outcome == "root"
    assert system.modules[len(beside) : 2 * len(beside)] == beside, "all of them again, for this one waits for them"


def test_whatever_fails_before_the_imports_is_met_again_and_does_no_harm():
    whole = machine.installed()
    forerun.begin(whole)
    assert len(whole.calls) > 8
    for number in range(1, len(whole.calls) + 1):
        system = machine.installed(fail_at=number)
        forerun.begin(system)
        assert early.run(system, Announcer(system)).outcome == "root", whole.calls[number - 1]
        assert {"/run", "/proc"} <= system.mounted.keys()


def booted() -> FakeSystem:
    system = machine.installed()
    early.run(system, Announcer(system))
    return system


def test_the_byte_code_that_goes_on_is_read_first_and_then_what_the_engine_needs():
    system = booted()
    assert len(system.asides) == 2
    files = [f"{folder}/a.pyc" for folder in forerun.BYTE_CODE]
    system.tree.fill(dict.fromkeys(files, b"x"))
    del system.calls[:]
    system.asides[0]()
    read = [call.arguments[0] for call in system.calls if call.name == "read_ahead"]
    assert read == files


def test_the_engines_modules_are_begun_before_the_roots_drivers_which_wait_for_disks():
    calls = booted().calls
    switched = next(number for number, call in enumerate(calls) if call.name == "switch_root")
    after = [call.name for call in calls[switched:] if call.name in ("fork", "load_module")]
    assert after[:2] == ["fork", "fork"]
    assert "load_module" in after


def test_the_engines_modules_wait_for_no_driver():
    system = booted()
    devices = Devices(read_index(system))
    devices.again(devices.index)
    devices.hurry()
    del system.calls[:]
    devices.load(system, "ext4")
    assert [call.arguments[1] for call in system.calls if call.name == "load_module"] == ["async_probe"]


def test_modules_and_programs_of_the_engine_are_asked_for():
    system = booted()
    ran: list[Sequence[str]] = []

    def program(_: FakeSystem, argv: Sequence[str]) -> ChildResult:
        ran.append(argv)
        return ChildResult(status=0, output=b"")

    system.programs |= {"crun": program, "podman": program, "dockerd": program, "containerd": program}

    loaded: list[str] = []

    class Devices:
        def hurry(self) -> None:
            loaded.append("no driver is waited for")

        def load(self, _: object, name: str) -> bool:
            loaded.append(name)
            return False

    forerun.prepare_containers(system, Devices(), "crun")  # type: ignore[arg-type]
    assert tuple(loaded) == ("no driver is waited for", *ahead.modules("crun"))
    assert tuple(ran) == ahead.programs("crun")


@pytest.mark.parametrize("engine", ["crun", "podman", "docker"])
def test_each_engine_needs_something(engine: str):
    assert {"overlay", "nf_tables"} <= set(ahead.modules(engine))
    assert all(os.path.isabs(argv[0]) for argv in ahead.programs(engine))


def test_no_engine_needs_nothing():
    assert (ahead.modules("none"), ahead.programs("none")) == ((), ())


@pytest.mark.parametrize("end", ["pass", "raise OSError", "raise SystemExit(3)"])
def test_work_aside_never_comes_back_as_a_second_pid_1(end: str):
    done = subprocess.run(
        [sys.executable, "-c", ASIDE.format(end=end)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "True 0\n", done.stderr
