"""A whole life of PID 1 on the fake kernel: boot, a container, `berthctl`, power-off; and then with call n failing.

Whatever call of the running half fails, once, the machine goes on: it is asked for its status and answers, it starts
its container, and at the end it is off with its state unmounted, or read-only where the unmount was what failed.
"""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from fakes import machine
from fakes.processes import Connection, Program
from fakes.running import RunningSystem, running
from fakes.tree import Link

from init.formats import bootrecord, events
from init.formats import machine as formats
from init.formats.machine import Command, Container, Health, Machine, User
from init.formats.release import DEFAULT_MACHINE_PATH
from init.pid1 import halves, identity, sources
from init.pid1.control import PATH
from init.pid1.events import Announcer
from init.pid1.sshd import fingerprint
from init.pid1.state import PLACE
from init.pid1.system import Spawn

CONFIGURED = Machine(
    hostname="box1",
    users=(User(name="berth", uid=1000, home="/home/berth", ssh_authorized_keys=("ssh-ed25519 AAAA me",)),),
    bootcmd=(Command(argv=("true",)),),
    runcmd=(Command(argv=("true",)),),
    containers=(Container(name="web", image="archive:/demo.tar", required=True),),
    sysctls=(("vm.swappiness", "10"),),
    health=Health(settle=5.0, within=60.0),
)
MEMORY = b"user berth 1000\ngroup berth 1000\n"
KEYGEN = "/usr/bin/ssh-keygen"
MAPS = b"""\
00400000-00401000 r--p 00000000 00:02 17    /usr/bin/python3 (deleted)
00401000-00403000 r-xp 00001000 00:02 17    /usr/bin/python3 (deleted)
00600000-00601000 rw-p 00003000 00:02 17    /usr/bin/python3 (deleted)
"""


def gets_an_address(system: RunningSystem, spawn: Spawn) -> None:
    def act() -> None:
        system.addressed.append(("eth0", "10.0.2.15/24"))
        system.readable.update(number for number, what in system._descriptors.items() if what == "network")

    system.later(0.5, act)


def makes_a_key(system: RunningSystem) -> None:
    system.tree.put("/var/lib/berth/ssh/ssh_host_ed25519_key.pub", b"ssh-ed25519 AAAAC3Nz x\n")


def programs(argv: Sequence[str]) -> Program:
    match list(argv):
        case ["/usr/bin/python3", _, _, "container", "run", _]:
            return Program(output=b"hello\n")
        case ["/usr/bin/python3", *_]:
            return Program(seconds=0.05)
        case [name, *_] if "dhcpcd" in name:
            return Program(begins=gets_an_address)
        case [name, *_] if name == KEYGEN:
            return Program(seconds=0.1, then=makes_a_key)
        case [name, *_] if "chronyd" in name:
            return Program()
        case _:
            return Program(seconds=0.02)


def without_the_image(argv: Sequence[str]) -> Program:
    match list(argv):
        case ["/usr/bin/python3", _, _, "container", "fetch", _]:
            return Program(seconds=0.05, status=125, output=b"berth: web can't be started: no /demo.tar\n")
        case _:
            return programs(argv)


def make(
    *,
    fail_at: int | None = None,
    fail_with: int = errno.EIO,
    does: Callable[[Sequence[str]], Program] = programs,
    configured: Machine = CONFIGURED,
) -> RunningSystem:
    system = running(machine.installed(fail_at=fail_at), does)
    system.fail_with = fail_with
    root = system.filesystems["/dev/vda7"]
    root[DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(configured)).encode()
    root["/usr/lib/berth/images/overlay-images/images.json"] = b"[]"
    root["/usr/bin/python3"] = b"x"
    root["/usr/lib/berth/images/overlay-layers/layers.json"] = b"[]"
    system.filesystems["proc"]["/sys/vm/swappiness"] = b"60"
    system.filesystems["proc"]["/sys/kernel/random/boot_id"] = b"0-1-2\n"
    system.filesystems["proc"]["/self/maps"] = MAPS
    system.filesystems["proc"]["/self/exe"] = Link("/usr/lib64/ld-linux-x86-64.so.2 (deleted)")
    system.filesystems["cgroup2"] = {"/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b""}
    system.filesystems["devtmpfs"]["/kmsg"] = b""
    return system


class Life:
    """One life, and what was seen of it."""

    def __init__(
        self,
        *,
        fail_at: int | None = None,
        fail_with: int = errno.EIO,
        does: Callable[[Sequence[str]], Program] = programs,
        configured: Machine = CONFIGURED,
        system: RunningSystem | None = None,
        asks: Sequence[float] = (30.0, 40.0),  # twice: one that fails may be the one whose call failed
        off: float = 60.0,
    ) -> None:
        system = system or make(fail_at=fail_at, fail_with=fail_with, does=does, configured=configured)
        self.system = system
        self.events: list[dict] = []
        self.clients: list[Connection | None] = []
        for at in asks:
            system.at(at, self.ask)
        for at in (off, off + 140.0):
            system.at(at, lambda: system.raise_signal(signal.SIGUSR2))
        announcer = Announcer(system)
        announcer.listen(lambda _name, line: self.events.append(json.loads(line)))
        halves.run(system, announcer)

    def ask(self) -> None:
        self.clients.append(self.system.connect(PATH, b'{"verb": "status"}\n'))

    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def answers(self) -> list[dict]:
        return [json.loads(client.answer) for client in self.clients if client is not None and client.answer]


def test_a_life_as_it_should_be():
    life = Life()
    assert life.system.powered == "poweroff"
    assert PLACE not in life.system.mounted
    names = life.names()
    assert [name for name in names if name in (events.INIT_FAULT, events.HEALTH_DEGRADED, events.SERVICE_FAILED)] == []
    for name in (events.CONFIG_APPLIED, events.NETWORK_UP, events.CONTAINER_HEALTHY, events.HEALTH_PASSED):
        assert name in names
    assert (
        names.index(events.SHUTDOWN_BEGUN) < names.index(events.CONTAINER_EXITED) < names.index(events.SHUTDOWN_CLEAN)
    )
    assert events.BOOT_GOOD in names, "the first boot of a fresh disk confirms its slot"
    assert life.events[-1]["state_unmounted"] is True
    status = life.answers[0]
    assert [call.arguments[1] for call in life.system.calls if call.name == "replace"].count(MEMORY) == 1
    assert status["hostname"] == "box1"
    assert status["media"] == "disk"
    assert status["state"]["kind"] == "ext4"
    assert status["slots"]["a"] == {"version": "1", "tries": 3, "good": True, "booted": True}
    assert status["containers"][0]["health"] == "healthy"


ALL_SOURCES, LAST_GOOD_ALONE = "all sources", "the last good one alone"


def run_of_the_config_child(argv: Sequence[str]) -> str | None:
    if "config" not in argv[:5] or "--default" not in argv:
        return None
    return ALL_SOURCES if "--cmdline" in argv else LAST_GOOD_ALONE


def life_of_a_new_release(lost: tuple[str, ...], machine_of_the_last_good: Machine) -> Life:
    """Slot a is new, slot b confirmed; the runs in `lost` of the config child end with a traceback."""

    def does(argv: Sequence[str]) -> Program:
        asked = run_of_the_config_child(argv)
        if asked is None:
            return programs(argv)
        if asked in lost:
            return Program(seconds=0.1, status=1)
        report = {"machine": formats.encode(machine_of_the_last_good), "source": "last-good", "diagnostics": []}
        return Program(seconds=0.1, output=json.dumps(report).encode())

    system = make(does=does)
    record = bootrecord.prefer(bootrecord.fresh("b", good=True), "a", good=False)
    for part in ("vda3", "vda4"):
        system.blocks[f"/dev/{part}"].write(0, bootrecord.encode(record))
    kept = {f"{sources.LAST_GOOD}/user-data": b"#cloud-config\n", sources.LAST_GOOD_SHA256: b"ab\n"}
    system.filesystems["/dev/vda9"] = dict(kept)
    return Life(system=system)


def test_a_new_release_whose_config_program_dies_is_given_back():
    life = life_of_a_new_release((ALL_SOURCES, LAST_GOOD_ALONE), CONFIGURED)
    assert events.BOOT_GOOD not in life.names()
    assert life.system.powered == "reboot"
    begun = next(event for event in life.events if event["event"] == events.SHUTDOWN_BEGUN)
    assert begun["why"].startswith("release gate: the new release refuses the config: the config child ended")


def test_a_lost_config_child_leaves_the_last_good_one_in_force():
    life = life_of_a_new_release((ALL_SOURCES,), replace(CONFIGURED, hostname="kept"))
    refused = next(event for event in life.events if event["event"] == events.CONFIG_REFUSED)
    assert refused["in_force"] == "last-good"
    assert refused["errors"] == ["the config child ended with status 1"]
    assert events.BOOT_GOOD in life.names()
    assert life.answers[0]["hostname"] == "kept"
    assert life.answers[0]["config"]["source"] == "last-good"
    said = life.system.said.decode()
    assert "config: the config child ended with status 1; the last good configuration is read alone" in said


def test_what_keeps_a_container_from_starting_is_read_on_the_console():
    said = Life(does=without_the_image).system.said.decode()
    line = "berth: web ends again and again (status 125): berth: web can't be started: no /demo.tar"
    assert said.count(line) == 2, "once on each of two consoles, and long before the release gate gives up"


def test_the_host_key_is_told_once_it_is_made():
    said = Life().system.said.decode()
    assert said.count(f"ssh host key: {fingerprint('ssh-ed25519 AAAAC3Nz x')} (ed25519)") == 2, "on each console, once"


def test_once_all_is_up_pid1_runs_from_the_roots_files():
    life = Life()
    assert life.system.mapped_over == [(0x400000, "/usr/bin/python3", False), (0x401000, "/usr/bin/python3", True)]
    assert life.system.freed == {0x600000: ((0, 0x4000),)}, "what was moved, and what has a copy of its own"


def test_who_wants_a_shell_that_the_image_does_not_have_gets_its_own():
    """sshd lets nobody in whose shell is not there, and half of all configurations ask for bash."""
    asked = replace(CONFIGURED, users=(replace(CONFIGURED.users[0], shell="/bin/bash"),))
    life = Life(configured=asked)
    passwd = life.system.tree.get("/etc/passwd").decode()
    assert "berth:x:1000:1000::/home/berth:/bin/sh\n" in passwd
    assert "/bin/bash, the shell of berth, is not in this image: it is /bin/sh" in life.system.said.decode()


def whole() -> tuple[int, int]:
    """How many calls a life has, and which is the first after the early half, whose own test is `test_early`."""
    calls = Life().system.calls
    return next(number for number, call in enumerate(calls, start=1) if call.name == "open_signals"), len(calls)


FIRST, LAST = whole()


@pytest.mark.long
@pytest.mark.parametrize(
    ("fail_with", "part", "parts"),
    [
        *((errno.EIO, part, 4) for part in range(4)),  # every call
        (errno.EAGAIN, 1, 5),  # a sample: these two are taken apart from EIO in few places
        (errno.ENOMEM, 3, 5),
    ],
)
def test_any_one_call_may_fail(fail_with, part, parts):
    for number in range(FIRST + part, LAST + 1, parts):
        life = Life(fail_at=number, fail_with=fail_with)
        failed = str(life.system.failed)
        assert life.system.powered == "poweroff", failed
        assert PLACE not in life.system.mounted or PLACE in life.system.frozen, failed
        assert life.answers, failed
        names = life.names()
        for name in (
            events.CONTAINER_STARTED,
            events.CONTAINER_HEALTHY,
            events.BOOT_GOOD,
            events.SHUTDOWN_BEGUN,
            events.SHUTDOWN_CLEAN,
        ):
            assert name in names, (failed, names)


KERNEL_LINES = 200


def with_kernel_lines(system: RunningSystem) -> RunningSystem:
    system.records = [b"6,%d,%d,-;line %d of the kernel\n" % (n, n * 1000, n) for n in range(KERNEL_LINES)]
    return system


def kept_of_the_kernel(life: Life) -> list[bytes]:
    return [
        call.arguments[1]
        for call in life.system.calls
        if call.name == "append" and str(call.arguments[0]).endswith("/kernel.log")
    ]


def test_the_kernels_log_is_kept_in_batches_and_begun_when_the_container_has():
    life = Life(system=with_kernel_lines(make()))
    kept = kept_of_the_kernel(life)
    lines = b"".join(kept).decode().splitlines()
    assert [line.split(" ", 2)[1:] for line in lines] == [
        [f"{n / 1000:.6f}", f"line {n} of the kernel"] for n in range(KERNEL_LINES)
    ]
    assert len(kept) <= KERNEL_LINES // 50, "one write for many"
    calls = [str(call) for call in life.system.calls]
    begun = next(n for n, call in enumerate(calls) if call.startswith("spawn") and "'run', 'web'" in call)
    assert begun < next(n for n, call in enumerate(calls) if call.startswith("append") and "kernel.log" in call)


def test_of_a_machine_that_goes_down_at_once_the_kernels_log_is_kept_too():
    system = with_kernel_lines(make())
    for at in (1.5, 1.6):
        system.at(at, lambda: system.raise_signal(signal.SIGTERM))
    life = Life(system=system)
    assert life.system.powered == "reboot"
    assert b"".join(kept_of_the_kernel(life)).count(b"\n") == KERNEL_LINES


def talking(system: RunningSystem, seconds: float) -> RunningSystem:
    """Let links and addresses change every hundredth of a second from the first lease on, for so long."""

    def again(until: float) -> None:
        system.readable.update(number for number, what in system._descriptors.items() if what == "network")
        if system.seconds < until:
            system.later(0.01, lambda: again(until))

    system.at(10.0, lambda: again(10.0 + seconds))
    return system


def looks(life: Life) -> int:
    return [call.name for call in life.system.calls].count("links")


def test_links_that_change_all_the_time_are_looked_at_now_and_then():
    quiet, talks = Life(system=make()), Life(system=talking(make(), 2.0))
    assert 15 <= looks(talks) - looks(quiet) <= 25, "two hundred changes in two seconds"


def refusing(call: str, until: float) -> RunningSystem:
    """A machine whose links or addresses can't be read, from its first lease on."""
    system = make()
    original = getattr(system, call)

    def refused():
        if 2.3 < system.seconds < until:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return original()

    setattr(system, call, refused)
    return system


@pytest.mark.parametrize("call", ["links", "addresses"])
def test_links_that_can_not_be_read_are_read_again(call):
    life = Life(system=refusing(call, until=5.0))
    assert events.INIT_FAULT not in life.names()
    assert events.NETWORK_UP in life.names(), "the address came while nothing could be read"
    assert life.answers[-1]["health"]["state"] == "healthy"


@pytest.mark.parametrize("call", ["links", "addresses"])
def test_that_links_can_not_be_read_is_told_ever_more_slowly(call):
    said = Life(system=refusing(call, until=1000.0)).system.said
    assert 1 <= said.count(b"berth: links and addresses: No buffer space available") <= 20


def test_dhcp_begins_when_the_containers_of_the_same_turn_have():
    spawned = [str(call) for call in Life().system.calls if call.name == "spawn"]
    container = next(n for n, call in enumerate(spawned) if "'web'" in call)
    assert container < next(n for n, call in enumerate(spawned) if "dhcpcd" in call)


def of_ssh(argv: Sequence[str]) -> bool:
    return argv[0] == "/usr/sbin/sshd"


def dialling(error: Exception, times: int, asks: Sequence[float]) -> tuple[Life, list[Connection | None]]:
    """A life in which each start of sshd raises so many times, and somebody dials once each second from 10 s on."""
    system = make(does=lambda argv: Program(seconds=0.5) if of_ssh(argv) else programs(argv))
    spawn, refused, dialled = system.spawn, [], []

    def may_refuse(wanted: Spawn) -> int:
        if of_ssh(wanted.argv) and len(refused) < times:
            refused.append(wanted)
            raise error
        return spawn(wanted)

    system.spawn = may_refuse  # type: ignore[method-assign]
    for at in asks:
        system.at(at, lambda: dialled.append(system.connect("tcp:22", b"")))
    return Life(system=system), dialled


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_where_there_is_no_room_for_a_log_in_the_next_one_comes_through(number):
    life, dialled = dialling(OSError(number, "no room"), 5, [10.0 + n for n in range(6)])
    assert [argv for argv in life.system.started if of_ssh(argv)], "it was started in the end"
    assert all(connection is not None and connection.closed for connection in dialled), "nobody is left waiting"
    assert life.system.said.count(b"ssh: a connection can't be taken now: no room") == 2, "once on each console"
    assert events.INIT_FAULT not in life.names()
    assert events.HEALTH_DEGRADED not in life.names()


def test_a_door_that_fails_again_and_again_is_opened_again_and_health_tells_it_meanwhile():
    life, dialled = dialling(RuntimeError("a fault"), 5, [25.0 + n / 10 for n in range(6)])
    assert [argv for argv in life.system.started if of_ssh(argv)], "it was started in the end"
    assert all(connection is not None and connection.closed for connection in dialled)
    reasons = ["ssh: failed 5 times in a row, again in 10 s; see berthctl logs init"]
    meanwhile, after = life.answers
    assert (meanwhile["health"]["state"], meanwhile["health"]["reasons"]) == ("degraded", reasons)
    assert after["health"]["state"] == "healthy"


RECORD = (("read_blocks", "/dev/vda3"), ("read_blocks", "/dev/vda4"))


def stalling(*calls: tuple[str, str], at: float, until: float) -> RunningSystem:
    """A machine whose disk takes these calls from `at` on, and answers none of those before `until`."""
    system = make()
    system.at(at, lambda: system.hangs.update(calls))
    system.at(until, system.hangs.clear)
    return system


def test_a_disk_that_stalls_holds_up_no_answer_of_pid1():
    life = Life(system=stalling(*RECORD, at=25.0, until=1000.0))
    assert life.system.stuck == []
    first, second = life.answers
    assert first["slots"] == second["slots"] == {
        "a": {"version": "1", "tries": 3, "good": True, "booted": True},
        "b": {"version": None, "tries": 0, "good": False, "booted": False},
    }  # fmt: skip
    assert first["health"]["reasons"] == second["health"]["reasons"] == [
        "reading the boot record: its disk does not answer, so what is told of the slots is what was last known"
    ]  # fmt: skip


def test_what_status_tells_of_the_slots_is_what_stands_on_the_disk():
    system = make()

    def written() -> None:
        record = bootrecord.prefer(bootrecord.fresh("a", good=True), "b", good=False)
        for part in ("vda3", "vda4"):
            system.blocks[f"/dev/{part}"].write(0, bootrecord.encode(record))

    system.at(35.0, written)
    before, after = Life(system=system).answers
    assert (before["order"], after["order"]) == ("ab", "ba")
    assert after["slots"]["b"] == {"version": None, "tries": 3, "good": False, "booted": False}


def test_many_who_ask_at_once_are_all_answered_and_one_child_reads_at_a_time():
    life = Life(asks=[30.0] * 20)
    assert len(life.answers) == 20
    works = [call.arguments[0] for call in life.system.calls if call.name == "apart"]
    assert [work.__qualname__ for work in works].count("RecordLook._work") == 2  # type: ignore[attr-defined]


def test_a_disk_that_stalls_over_the_hourly_stamp_holds_up_nothing_and_health_tells_it():
    stuck = ("replace", identity.CLOCK)
    life = Life(system=stalling(stuck, at=25.0, until=9000.0), asks=[290.0, 400.0, 8000.0], off=9100.0)
    assert life.system.stuck == []
    before, meanwhile, later = (answer["health"]["reasons"] for answer in life.answers)
    assert before == []
    assert meanwhile == later == ["the time on state: its disk does not answer"]
    begun = [call for call in life.system.calls if (call.name, call.arguments[:1]) == ("replace", (identity.CLOCK,))]
    assert len(begun) == 2, "one child, and the way down: the hour's next one waits for it"


def test_the_time_is_kept_on_state_each_hour():
    life = Life(off=8000.0)
    kept = [call for call in life.system.calls if (call.name, call.arguments[:1]) == ("replace", (identity.CLOCK,))]
    assert len(kept) == 4, "after five minutes, twice an hour later, and at the end"
    assert life.answers[-1]["health"]["state"] == "healthy"
