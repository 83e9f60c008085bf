"""When the network counts as reached, and what a card that comes late changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes import life
from fakes.network import fake_link
from fakes.processes import Program
from fakes.running import RunningSystem

from init.formats.machine import Link, Machine, Network
from init.pid1 import dhcp, uplink
from init.pid1.system import Spawn


class Watched:
    """A life whose DHCP client does as it is told; `when` are the times at which programs started, by name."""

    def __init__(self, *, address: str, lease: float | None, configured: Machine = life.CONFIGURED) -> None:
        self.address, self.lease = address, lease
        self.when: dict[str, list[float]] = {}
        self.system = life.make(does=self._program, configured=configured)

    def run(self) -> life.Life:
        return life.Life(system=self.system, off=90.0)

    def _program(self, argv: Sequence[str]) -> Program:
        name = argv[0].rpartition("/")[2]
        self.when.setdefault(name, []).append(self.system.seconds)
        return Program(begins=self._asks) if name == "dhcpcd" else life.programs(argv)

    def _asks(self, system: RunningSystem, spawn: Spawn) -> None:
        def addressed() -> None:
            system.addressed.append(("eth0", self.address))
            self.news()

        system.later(0.5, addressed)
        if self.lease is not None:
            system.later(self.lease, lambda: system.tree.put(f"{dhcp.SERVERS}/eth0.4", b"nameserver 10.0.2.3\n"))

    def news(self) -> None:
        system = self.system
        system.readable.update(number for number, what in system._descriptors.items() if what == "network")


@pytest.mark.parametrize("lease", [0.6, 4.0, None])
def test_an_address_by_router_advertisement_is_no_network_yet(lease: float | None) -> None:
    """Name servers come with the lease, seconds later; where none comes, the boot goes on without."""
    watched = Watched(address="2001:db8::15/64", lease=lease)
    watched.run()
    (asked,), (reached,) = watched.when["dhcpcd"], watched.when["chronyd"]
    expected = 0.5 + uplink.LEASE_BOUND if lease is None else lease
    assert asked + expected <= reached < asked + expected + 2 * uplink.LEASE_PAUSE


@pytest.mark.parametrize("text", [b"nameserver fd00::53\n", b"search example.org\n"])
def test_name_servers_of_a_router_are_enough(text: bytes) -> None:
    """A network may have no DHCPv4 at all."""
    watched = Watched(address="2001:db8::15/64", lease=None)
    watched.system.at(12.0, lambda: watched.system.tree.put(f"{dhcp.SERVERS}/eth0.ra", text))
    watched.run()
    (asked,), (reached,) = watched.when["dhcpcd"], watched.when["chronyd"]
    assert asked + 0.5 + uplink.LEASE_BOUND > 12.0
    assert (reached < 12.0 + 2 * uplink.LEASE_PAUSE) is (b"nameserver" in text)


def test_a_static_network_waits_for_no_lease() -> None:
    static = Link(name="eth0", addresses=("192.0.2.7/24",))
    configured = replace(life.CONFIGURED, network=Network(default_dhcp=False, links=(static,)))
    watched = Watched(address="", lease=None, configured=configured)
    watched.run()
    assert "dhcpcd" not in watched.when
    assert len(watched.when["chronyd"]) == 1


def test_a_card_that_comes_late_is_served_and_no_longer_missed() -> None:
    links = (Link(name="eth0", dhcp4=True), Link(name="eth1", dhcp4=True))
    configured = replace(life.CONFIGURED, network=Network(default_dhcp=False, links=links))
    watched = Watched(address="10.0.2.15/24", lease=0.6, configured=configured)

    def plugged_in() -> None:
        watched.system.interfaces.append(fake_link(3, "eth1"))
        watched.news()

    watched.system.at(35.0, plugged_in)
    whole = watched.run()
    before, after = whole.answers
    assert any("eth1" in reason for reason in before["health"]["reasons"])
    assert after["health"]["reasons"] == []
    assert len(watched.when["dhcpcd"]) == 2, "it reads its configuration when it starts"
    assert "interface eth1" in watched.system.read(dhcp.CONFIGURATION).decode()
