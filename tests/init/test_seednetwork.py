"""A configuration at an address: the network comes first, bounded, and goes again before the configuration's own."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Sequence

import pytest
from fakes import machine
from fakes.processes import Program
from fakes.running import RunningSystem, running

from init.formats import events
from init.formats import machine as formats
from init.formats.machine import Machine
from init.formats.release import DEFAULT_MACHINE_PATH
from init.pid1 import halves, seednetwork
from init.pid1.events import Announcer
from init.pid1.system import Spawn

LINE = b" ds=nocloud;s=http://10.0.2.2:8000/\n"
REPORT = {"format": "berth.config/1", "machine": formats.encode(Machine(hostname="seeded")), "source": "cmdline"}


class Life:
    """A machine whose kernel command line names an address. `lease`: seconds until DHCP answers, None: never."""

    def __init__(
        self, *, lease: float | None = 1.0, serial: bytes = b"", fail_at: int | None = None, deaf: bool = False
    ) -> None:
        self.lease, self.deaf = lease, deaf
        self.system = system = running(machine.installed(fail_at=fail_at), self.program)
        system.fail_with = errno.EIO
        system.filesystems["/dev/vda7"][DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(Machine())).encode()
        proc = system.filesystems["proc"]
        assert isinstance(proc["/cmdline"], bytes)
        if serial:
            system.filesystems["sysfs"]["/class/dmi/id/product_serial"] = serial
        else:
            proc["/cmdline"] = proc["/cmdline"].strip() + LINE
        system.filesystems["cgroup2"] = {"/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b""}
        system.filesystems["devtmpfs"]["/kmsg"] = b""
        self.when: list[tuple[float, tuple[str, ...]]] = []
        self.events: list[dict] = []
        announcer = Announcer(system)
        announcer.listen(lambda _name, line: self.events.append(json.loads(line)))
        for at in (150.0, 260.0):
            system.at(at, lambda: system.raise_signal(signal.SIGUSR2))
        halves.run(system, announcer)

    def program(self, argv: Sequence[str]) -> Program:
        self.when.append((self.system.seconds, tuple(argv)))
        match list(argv):
            case ["/usr/bin/python3", _, _, _, "config", *_]:
                return Program(seconds=0.5, output=json.dumps(REPORT).encode())
            case [name, *_] if "dhcpcd" in name:
                return Program(begins=self._lease, ignores=(signal.SIGTERM,) if self.deaf else ())
            case _:
                return Program(seconds=0.02)

    def _lease(self, system: RunningSystem, spawn: Spawn) -> None:
        def act() -> None:
            system.addressed.append(("eth0", "10.0.2.15/24"))
            system.readable.update(number for number, what in system._descriptors.items() if what == "network")

        if self.lease is not None:
            system.later(self.lease, act)

    def started(self, word: str) -> list[tuple[float, tuple[str, ...]]]:
        return [(at, argv) for at, argv in self.when if word in argv]

    def in_force(self) -> list[str]:
        return [event["source"] for event in self.events if event["event"] == events.CONFIG_APPLIED]


@pytest.mark.parametrize("serial", [b"", b"ds=nocloud;s=https://seed.example/\n"])
def test_the_network_comes_first_and_goes_before_the_configuration_s_own(serial: bytes) -> None:
    life = Life(serial=serial)
    first = life.started(seednetwork.CONFIGURATION)
    child = life.started("config")
    own = life.started("/run/berth/network/dhcpcd.conf")
    assert [len(each) for each in (first, child, own)] == [1, 1, 1]
    assert first[0][0] + 1.0 <= child[0][0] < own[0][0]
    assert child[0][1][-2:] == ("--network", "15")
    calls = [str(call) for call in life.system.calls]
    text = next(call for call in calls if call.startswith(f"replace('{seednetwork.CONFIGURATION}'"))
    assert "persistent" not in text
    assert "allowinterfaces eth*" in text
    assert life.in_force() == ["cmdline"]
    assert life.system.hostname == "seeded"


def test_without_a_lease_the_boot_goes_on_and_says_so() -> None:
    life = Life(lease=None)
    (began, _), (asked, argv) = life.started(seednetwork.CONFIGURATION)[0], life.started("config")[0]
    assert began + 90 <= asked < began + 91
    assert "--network" not in argv
    assert b"no card has an address after 90 s" in life.system.said
    assert life.in_force() == ["cmdline"]
    assert len(life.started("/run/berth/network/dhcpcd.conf")) == 1


def test_a_client_that_does_not_end_is_killed() -> None:
    life = Life(deaf=True)
    (asked, _), (own, _) = life.started("config")[0], life.started("/run/berth/network/dhcpcd.conf")[0]
    assert asked + seednetwork.END_BOUND <= own < asked + seednetwork.END_BOUND + 2
    assert life.system.powered == "poweroff"


def test_no_other_source_waits_for_a_network() -> None:
    life = Life(serial=b"ds=nocloud;s=/usr/share/seed/\n")
    assert life.started(seednetwork.CONFIGURATION) == []
    assert "--network" not in life.started("config")[0][1]


@pytest.mark.long
def test_any_one_call_may_fail() -> None:
    calls = Life().system.calls
    first = next(number for number, call in enumerate(calls, start=1) if seednetwork.CONFIGURATION in str(call)) - 25
    last = next(number for number, call in enumerate(calls, start=1) if "dhcpcd.conf" in str(call)) + 5
    for number in range(first, last):
        life = Life(fail_at=number)
        assert life.system.powered == "poweroff", str(life.system.failed)
        said = [event["event"] for event in life.events]
        assert events.CONFIG_APPLIED in said or events.CONFIG_REFUSED in said, str(life.system.failed)
        assert life.started("/run/berth/network/dhcpcd.conf"), str(life.system.failed)
