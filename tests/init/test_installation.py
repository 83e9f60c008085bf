"""The installer as PID 1's child, on the fake kernel: its words become events, its end decides what comes next."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from fakes import machine
from fakes.processes import Connection, Program
from fakes.running import running

from init.formats import events
from init.formats import machine as formats
from init.formats.machine import Container, Health, Install, Machine
from init.formats.release import DEFAULT_MACHINE_PATH
from init.pid1 import halves
from init.pid1.control import PATH
from init.pid1.events import Announcer

CONFIGURED = Machine(
    containers=(Container(name="web", image="archive:/demo.tar", required=True),),
    health=Health(settle=5.0, within=60.0),
)
PLANNED = {"state": "planned", "disk": "/dev/vda", "serial": "S1", "reason": "the only empty disk", "size": 1}
WRITING = {"state": "writing", "step": "copying root.img"}
DONE = {"state": "done", "disk": "/dev/vda", "serial": "S1", "reason": "1.0 in 9.9 s"}
REFUSED = {"state": "refused", "disk": None, "serial": None, "reason": "no disk is empty", "hint": "attach one"}


class Life:
    """A boot of the ISO (or of an installed disk) whose installer says `said`; it is powered off after `off` seconds.

    A `stuck` installer never ends, whatever signal it gets; a disk does something each minute up to `moves_until`.
    """

    def __init__(
        self, *said: dict[str, object], install: Install | None = None, status: int = 0, iso: bool = True,
        asks: Sequence[dict[str, object]] = (), stuck: bool = False, moves_until: float = 0.0, off: float = 100.0,
    ) -> None:  # fmt: skip
        output = "".join(json.dumps(one) + "\n" for one in said).encode()
        self.system = system = running(
            machine.from_iso() if iso else machine.installed(), self._programs(output, status, stuck=stuck)
        )
        root = system.filesystems["/dev/loop0" if iso else "/dev/vda7"]
        root[DEFAULT_MACHINE_PATH] = json.dumps(
            formats.encode(Machine(**{**self._fields(), "install": install}))
        ).encode()
        root["/usr/lib/berth/images/overlay-images/images.json"] = b"[]"
        root["/usr/lib/berth/images/overlay-layers/layers.json"] = b"[]"
        system.filesystems["proc"]["/sys/kernel/random/boot_id"] = b"0-1-2\n"
        system.filesystems["cgroup2"] = {"/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b""}
        system.filesystems["devtmpfs"]["/kmsg"] = b""
        self.events: list[dict] = []
        self.clients: list[Connection | None] = []
        announcer = Announcer(system)
        announcer.listen(lambda _name, line: self.events.append(json.loads(line)))
        for number, request in enumerate(asks):
            system.at(40.0 + number, lambda request=request: self._ask(request))  # type: ignore[misc]
        system.filesystems["proc"]["/diskstats"] = self._diskstats(0)
        for number in range(int(moves_until // 60)):
            line = self._diskstats(number + 1)
            system.at(60.0 * (number + 1), lambda line=line: system.tree.put("/proc/diskstats", line))  # type: ignore[misc]
        system.at(off, lambda: system.raise_signal(12))  # SIGUSR2
        halves.run(system, announcer)

    def _fields(self) -> dict[str, object]:
        return {"containers": CONFIGURED.containers, "health": CONFIGURED.health}

    @staticmethod
    def _diskstats(count: int) -> bytes:
        return b"254 0 vda 1 0 8 1 %d 0 %d 9 1 9 9 0 0 0 0 0 0\n" % (count, 8 * count)

    def _programs(self, output: bytes, status: int, *, stuck: bool):
        def of(argv: Sequence[str]) -> Program:
            if "install" in argv and stuck:
                return Program(output=output, ignores=(2, 9, 15))
            if "install" in argv:
                return Program(seconds=9.9, output=output, status=status)
            if {"container", "run"} <= set(argv):
                return Program(output=b"hello\n")
            lasts = "chronyd" in argv[0] or "dhcpcd" in argv[0]
            return Program() if lasts else Program(seconds=0.02)

        return of

    def _ask(self, request: dict[str, object]) -> None:
        self.clients.append(self.system.connect(PATH, json.dumps(request).encode() + b"\n"))

    def answers(self, number: int = 0) -> list[dict]:
        client = self.clients[number]
        assert client is not None
        return [json.loads(line) for line in client.answer.splitlines()]

    def named(self, *names: str) -> list[dict]:
        return [event for event in self.events if event["event"] in names]

    def names(self) -> list[str]:
        return [event["event"] for event in self.events]

    @property
    def installers(self) -> list[tuple[str, ...]]:
        return [argv for argv in self.system.started if "install" in argv]

    @property
    def why(self) -> str:
        return self.named(events.SHUTDOWN_BEGUN)[0]["why"]


@pytest.mark.parametrize("then", ["poweroff", "reboot"])
def test_an_unattended_installation_ends_the_live_system(then: str) -> None:
    life = Life(PLANNED, WRITING, DONE, install=Install(disk="only-empty", then=then, wipe="S1"))
    [argv] = life.installers
    assert argv[-4:] == ("--disk", "only-empty", "--wipe", "S1")
    told = life.named(events.INSTALL_PLANNED, events.INSTALL_DONE, events.INSTALL_REFUSED)
    assert [one["event"] for one in told] == [events.INSTALL_PLANNED, events.INSTALL_DONE]
    assert (told[1]["disk"], told[1]["serial"], told[1]["reason"]) == ("/dev/vda", "S1", "1.0 in 9.9 s")
    assert life.system.powered == then
    assert "the installation is done" in life.why
    assert life.named(events.CONTAINER_STARTED) == [], "what is meant for the installed machine does not run here"


@pytest.mark.parametrize(
    ("said", "status", "reason"),
    [
        ((REFUSED,), 1, "no disk is empty"),
        ((PLANNED, REFUSED), 1, "no disk is empty"),
        ((PLANNED, WRITING), -9, "the installer ended with -9"),
        ((), 1, "the installer ended with 1"),
        (({"state": ["odd"]}, {"reason": 3}), 0, "the installer ended with 0"),
    ],
)
def test_where_nothing_was_installed_the_live_system_goes_on(said: tuple, status: int, reason: str) -> None:
    life = Life(*said, status=status, install=Install(disk="only-empty"))
    [refused] = life.named(events.INSTALL_REFUSED)
    assert refused["reason"] == reason
    assert life.named(events.HEALTH_DEGRADED) == []
    names = life.names()
    assert (
        names.index(events.INSTALL_REFUSED) < names.index(events.CONTAINER_HEALTHY) < names.index(events.HEALTH_PASSED)
    )
    assert life.named(events.CONTAINER_HEALTHY)
    assert life.system.powered == "poweroff"
    assert "installation" not in life.why


@pytest.mark.parametrize("moves_until", [0.0, 900.0])
def test_an_installer_that_waits_for_a_dead_drive_is_given_up(moves_until: float) -> None:
    life = Life(PLANNED, install=Install(disk="only-empty"), stuck=True, moves_until=moves_until, off=2000.0)
    [refused] = life.named(events.INSTALL_REFUSED)
    assert refused["reason"] == "the drive does not answer: for 5 minutes no disk has done anything"
    assert moves_until + 300 <= refused["t"] < moves_until + 400
    assert life.named(events.CONTAINER_HEALTHY)
    assert life.named(events.HEALTH_PASSED)


def test_by_hand_it_is_given_up_too_and_the_next_may_try() -> None:
    request = {"verb": "install", "disk": "only-empty"}
    life = Life(PLANNED, asks=[request], stuck=True, off=1000.0)
    assert life.answers()[-1]["state"] == "refused"


def test_stay_goes_on_too() -> None:
    life = Life(PLANNED, DONE, install=Install(disk="only-empty", then="stay"))
    assert life.named(events.INSTALL_DONE)
    assert life.named(events.CONTAINER_HEALTHY)
    assert "installation" not in life.why


def test_on_an_installed_machine_the_words_mean_nothing() -> None:
    life = Life(PLANNED, DONE, install=Install(disk="largest", wipe="S1"), iso=False)
    assert life.installers == []
    assert life.named(events.CONTAINER_HEALTHY)


def test_by_hand_the_plan_is_no_event_and_the_rest_is() -> None:
    dry = {"verb": "install", "disk": "only-empty", "wipe": None, "dry_run": True}
    wet = {"verb": "install", "disk": "serial:S1", "then": "poweroff"}
    life = Life(PLANNED, asks=[dry])
    assert life.answers() == [{"format": "berth.install/1"}, PLANNED]
    assert life.named(events.INSTALL_PLANNED, events.INSTALL_REFUSED) == []
    life = Life(PLANNED, WRITING, DONE, asks=[wet])
    assert life.answers() == [{"format": "berth.install/1"}, PLANNED, WRITING, DONE]
    assert len(life.named(events.INSTALL_PLANNED, events.INSTALL_DONE)) == 2
    assert "the installation is done" in life.why


def test_one_at_a_time() -> None:
    request = {"verb": "install", "disk": "only-empty"}
    life = Life(PLANNED, DONE, asks=[request, request])
    assert life.answers(1)[0]["code"] == "busy"
    assert len(life.installers) == 1
    life = Life(PLANNED, DONE, install=Install(disk="only-empty", then="stay"), asks=[request])
    assert life.answers()[-1] == DONE


def test_a_renewed_loader_is_no_installation() -> None:
    life = Life(PLANNED, DONE, asks=[{"verb": "install", "loader": True, "then": "stay"}], iso=False)
    assert life.answers()[-1] == DONE
    assert life.installers[0][-1] == "--loader"
    assert life.named(events.INSTALL_PLANNED, events.INSTALL_DONE) == []


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"disk": 3},
        {"disk": ""},
        {"disk": "/dev/vda", "wipe": 5},
        {"disk": "x", "then": "explode"},
        {"loader": True, "then": "x"},
    ],
)
def test_a_request_that_is_none_is_refused(request_: dict[str, object]) -> None:
    life = Life(asks=[{"verb": "install", **request_}])
    assert life.answers()[0]["code"] == "request"
    assert life.installers == []
