"""A disk labelled `cidata`: found beside disks that never answer, and mounted with a bound, by children alone."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import machine
from fakes.disk import SparseDisk
from fakes.processes import Connection, Program
from fakes.running import RunningSystem, running

from init.formats import events
from init.formats import machine as formats
from init.formats.machine import Machine
from init.formats.release import DEFAULT_MACHINE_PATH
from init.pid1 import halves, leave, seeddisk
from init.pid1.control import PATH
from init.pid1.events import Announcer
from init.pid1.sources import SEED_FOLDER
from init.pid1.state import PLACE
from init.pid1.system import Spawn

ROOT = Path(__file__).parents[2]
REPORT = {"format": "berth.config/1", "machine": formats.encode(Machine(hostname="seeded")), "source": "cidata"}
LABEL = {43: b"CIDATA     ", 510: b"\x55\xaa"}
APART = """
import os, select, signal, sys, time
from init.pid1.linux.kernel import Kernel
kernel = Kernel()
held = os.open("/dev/null", os.O_RDONLY)
def answers():
    return b"%d %s" % (os.getppid() == parent, os.path.exists(f"/proc/self/fd/{held}") and b"holds" or b"free")
def raises():
    raise SystemExit(3)
def hangs():
    return open(sys.argv[1], "rb").read()
parent = os.getpid()
for work in (answers, raises, hangs):
    pid, reading = kernel.apart(work)
    ready = select.select([reading], [], [], 0 if work is hangs else 60)[0]
    print(work.__name__, kernel.read_from(reading, 4096).decode() if ready else "no answer")
kernel.signal(pid, signal.SIGKILL)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), kernel.read_from(reading, 4096))
"""


class Life:
    """A machine beside whose own disk `vda` others come up: blank ones, labelled ones, some that hang."""

    def __init__(
        self, *, blank: Sequence[str] = (), labelled: Sequence[str] = ("vdc",), hangs: Sequence[tuple[str, str]] = (),
        fail_at: int | None = None,
    ) -> None:  # fmt: skip
        self.system = system = running(machine.installed(fail_at=fail_at), self.program)
        system.fail_with = errno.EIO
        system.filesystems["/dev/vda7"][DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(Machine())).encode()
        system.filesystems["cgroup2"] = {"/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b""}
        system.filesystems["devtmpfs"]["/kmsg"] = b""
        system.hangs = set(hangs)
        for name in labelled:
            system.kinds[f"/dev/{name}"] = "vfat"
            system.filesystems[f"/dev/{name}"] = {"/user-data": b"#cloud-config\n"}
        disks = {name: SparseDisk(1 << 20, LABEL if name in labelled else {}) for name in (*blank, *labelled)}

        def come_up(_: object) -> None:
            for name, disk in disks.items():
                machine.show_disk(system, name, disk, None)

        system.on_module["ext4"] = come_up
        self.when: list[tuple[float, tuple[str, ...]]] = []
        self.events: list[dict] = []
        self.clients: list[Connection | None] = []
        announcer = Announcer(system)
        announcer.listen(lambda _name, line: self.events.append(json.loads(line)))
        system.at(10.0, lambda: self.clients.append(system.connect(PATH, b'{"verb": "status"}\n')))
        for at in (90.0, 200.0):
            system.at(at, lambda: system.raise_signal(signal.SIGUSR2))
        halves.run(system, announcer)

    def program(self, argv: Sequence[str]) -> Program:
        self.when.append((self.system.seconds, tuple(argv)))
        match list(argv):
            case ["/usr/bin/python3", _, _, _, "config", *_]:
                return Program(seconds=0.5, output=json.dumps(REPORT).encode())
            case [name, *_] if "dhcpcd" in name:
                return Program(begins=_lease)
            case _:
                return Program(seconds=0.02)

    @property
    def seeds(self) -> list[str]:
        """What was mounted for the config child."""
        return [str(call.arguments[0]) for call in self.system.calls if call.arguments[1:2] == (SEED_FOLDER,)]

    def asked(self) -> tuple[float, tuple[str, ...]] | None:
        """When the config child was started, and how."""
        return next(((at, argv) for at, argv in self.when if "config" in argv), None)

    def in_force(self) -> list[str]:
        return [event["source"] for event in self.events if event["event"] == events.CONFIG_APPLIED]


def _lease(system: RunningSystem, spawn: Spawn) -> None:
    system.later(0.5, lambda: system.addressed.append(("eth0", "10.0.2.15/24")))


def test_the_labelled_disk_is_mounted_for_the_config_child() -> None:
    life = Life(blank=["vdb"])
    assert life.seeds == ["/dev/vdc"]
    asked = life.asked()
    assert asked is not None
    assert asked[1][asked[1].index("--seed") + 1] == SEED_FOLDER
    assert life.in_force() == ["cidata"]
    assert life.system.hostname == "seeded"


def test_of_two_the_first_by_name_counts() -> None:
    assert Life(labelled=["vdd", "vdc"]).seeds == ["/dev/vdc"]


def test_a_machine_with_no_other_disk_starts_no_child_for_it() -> None:
    life = Life(labelled=[])
    assert [str(call) for call in life.system.calls if call.name == "apart" and "SeedDisk" in str(call)] == []
    assert (life.asked(), life.in_force()) == (None, ["recipe"])


def test_a_disk_that_never_answers_keeps_neither_the_boot_nor_another_disk() -> None:
    life = Life(blank=["vdb", "vdd"], hangs=[("read_blocks", "/dev/vdb")])
    assert life.system.stuck == []
    asked = life.asked()
    assert asked is not None
    assert seeddisk.BOUND <= asked[0] < seeddisk.BOUND + 5
    assert life.in_force() == ["cidata"]
    assert b"vdb does not answer, so no configuration was looked for there" in life.system.said
    assert b"vdd does not answer" not in life.system.said
    assert life.clients[0] is not None
    assert json.loads(life.clients[0].answer)["health"]["state"] == "pending", "asked before, and answered"
    assert life.system.powered == "poweroff"


def test_a_sync_that_never_ends_does_not_keep_state_from_being_unmounted() -> None:
    """A drive that stopped answering holds sync(2), too."""
    life = Life(hangs=[("sync", "")])
    assert life.system.stuck == []
    assert b"a disk has not taken all that is for it within 10 s" in life.system.said
    assert [event["state_unmounted"] for event in life.events if event["event"] == events.SHUTDOWN_CLEAN] == [True]
    assert life.system.powered == "poweroff"


@pytest.mark.parametrize("place", ["/var", "/home", PLACE])
def test_an_unmount_that_never_ends_keeps_no_other_file_system_mounted(place: str) -> None:
    life = Life(hangs=[("unmount", place)])
    assert life.system.stuck == []
    assert not {"/var", "/home", "/root", PLACE} & life.system.mounted.keys()
    assert life.system.powered == "poweroff"
    assert f"{place} can't be unmounted: its disk does not answer".encode() in life.system.said
    assert b"read-only" not in life.system.said
    assert [event["state_unmounted"] for event in life.events if event["event"] == events.SHUTDOWN_CLEAN] == [False]


@pytest.mark.parametrize(("writes", "clean"), [(True, True), (False, False)], ids=["it writes", "it does nothing"])
def test_an_unmount_is_waited_for_as_long_as_a_disk_writes(writes: bool, clean: bool) -> None:
    """A slow stick with much to write; the watchdog is fed meanwhile."""
    system = running(machine.installed(), lambda argv: Program())
    system.mounted["/var"] = ("/dev/vda7", "ext4")
    system.tree.fill({"/diskstats": b""}, at="/proc")
    system.work_apart = 21.0
    for second in range(45):
        done = second if writes else 0  # what is under way, and for how long, counts for nothing
        line = f" 253 0 vda 10 0 80 5 {done} 0 {done * 8} 5 1 {second} {second} 0 0 0 0 0 0\n"
        system.later(second, lambda line=line: system.tree.put("/proc/diskstats", line.encode()))
    fed: list[float] = []
    begun = system.seconds
    said: list[str] = []
    assert leave.leave(system, ("/var",), said.append, on_disk=True, alive=lambda: fed.append(system.seconds)) is clean
    assert ("/var" in system.mounted) is not clean
    assert len(fed) >= (40 if writes else 10)
    assert system.seconds - begun < (45 if writes else 12), "its patience twice, and no more"
    assert any("does not answer" in text for text in said) is not writes, "a slow disk answers, for the seed too"


def test_what_is_held_is_made_read_only_and_what_that_wrote_is_synced() -> None:
    system = running(machine.installed(), lambda argv: Program())
    system.mounted["/var"] = ("/dev/vda7", "ext4")

    def busy(place: str, flags: int = 0) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", place)

    system.unmount = busy  # type: ignore[method-assign]
    said: list[str] = []
    assert leave.leave(system, ("/var",), said.append, on_disk=False), "state was in memory"
    assert said == ["/var is held by something: remounted read-only"]
    assert [call.name for call in system.calls].count("sync") == 2
    assert not leave.leave(system, ("/var",), said.append, on_disk=True)


def test_where_there_can_be_no_child_all_is_unmounted_all_the_same() -> None:
    number = next(n for n, call in enumerate(Life(labelled=[]).system.calls, 1) if call.name == "apart")
    life = Life(labelled=[], fail_at=number)
    assert life.system.failed is not None
    assert life.system.failed.name == "apart"
    assert PLACE not in life.system.mounted
    assert life.system.powered == "poweroff"


def test_a_mount_that_never_ends_is_done_without() -> None:
    life = Life(hangs=[("mount", "/dev/vdc")])
    assert life.system.stuck == []
    assert b"the disk labelled cidata, /dev/vdc, can't be read: it does not answer" in life.system.said
    assert (life.asked(), life.in_force()) == (None, ["recipe"])
    assert life.system.powered == "poweroff"


def test_a_mount_that_fails_is_told_with_its_reason() -> None:
    life = Life(labelled=["vdc"], fail_at=None)
    number = next(
        n for n, call in enumerate(life.system.calls, start=1) if call.arguments[:2] == ("/dev/vdc", SEED_FOLDER)
    )
    life = Life(fail_at=number)
    assert f"/dev/vdc, can't be read: {os.strerror(errno.EIO)}".encode() in life.system.said
    assert life.in_force() == ["recipe"]


@pytest.mark.long
def test_any_one_call_may_fail() -> None:
    """From the first child to the config child. A child that can't be started, or watched, is started again."""
    calls = Life(blank=["vdb"]).system.calls
    begun = next(number for number, call in enumerate(calls, start=1) if call.name == "open_signals")
    first = next(number for number, call in enumerate(calls, start=1) if call.name == "apart" and number > begun) - 5
    last = next(number for number, call in enumerate(calls, start=1) if call.name == "spawn") + 1
    without = []
    for number in range(first, last):
        life = Life(blank=["vdb"], fail_at=number)
        failed = life.system.failed
        assert life.system.powered == "poweroff", str(failed)
        said = [event["event"] for event in life.events]
        assert said.count(events.CONFIG_APPLIED) + said.count(events.CONFIG_REFUSED) == 1, str(failed)
        if life.in_force() != ["cidata"] and failed is not None:
            without.append(failed.name)
    assert not {"apart", "read_from", "unwatch", "close"} & set(without), without
    assert without.count("watch") <= 1, "the config child's own"


def test_work_apart_answers_holds_nothing_and_can_be_killed(tmp_path: Path) -> None:
    """The real fork; what never answers is a FIFO that nobody writes."""
    os.mkfifo(tmp_path / "drive")
    done = subprocess.run(
        [sys.executable, "-c", APART, str(tmp_path / "drive")], cwd=ROOT, capture_output=True, text=True, timeout=90,
        check=False,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["answers 1 free", "raises ", "hangs no answer", "-9 b''"], done.stderr


SYNC = """
import os, pathlib, signal
from init.pid1.linux.kernel import Kernel
kernel = Kernel()
print(kernel.sync(60.0))
os.sync = signal.pause
print(kernel.sync(0.05))
def refused():
    raise OSError(5, "Input/output error")
os.sync = refused
print(kernel.sync(60.0))
for pid in pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
    kernel.signal(int(pid), signal.SIGKILL)
    os.waitpid(int(pid), 0)
"""


def test_a_real_sync_is_waited_for_no_longer_than_its_bound() -> None:
    done = subprocess.run([sys.executable, "-c", SYNC], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False", "False"]
