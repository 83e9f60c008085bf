"""A whole life of PID 1 on the fake kernel: boot, a container, `berthctl`, power-off."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable, Sequence

from fakes import machine
from fakes.processes import Connection, Program
from fakes.running import RunningSystem, running
from fakes.tree import Link

from init.formats import machine as formats
from init.formats.machine import Command, Container, Health, Machine, User
from init.formats.release import DEFAULT_MACHINE_PATH
from init.pid1 import dhcp, halves
from init.pid1.control import PATH
from init.pid1.events import Announcer
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
        system.later(0.1, lambda: system.tree.put(f"{dhcp.SERVERS}/eth0.4", b"nameserver 10.0.2.3\n"))  # by its hook

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


PLACES = {"disk": (machine.installed, "/dev/vda7"), "iso": (machine.from_iso, "/dev/loop0")}


def make(
    *,
    kind: str = "disk",
    fail_at: int | None = None,
    fail_with: int = errno.EIO,
    does: Callable[[Sequence[str]], Program] = programs,
    configured: Machine = CONFIGURED,
) -> RunningSystem:
    """Return a machine of a kind of `PLACES`: an installed one, or one that runs from an ISO and keeps nothing."""
    boots, root_device = PLACES[kind]
    system = running(boots(fail_at=fail_at), does)
    system.fail_with = fail_with
    root = system.filesystems[root_device]
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
