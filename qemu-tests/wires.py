"""A machine with five cards, for both versions of network configuration.

The way in is the first card. Two more hang on one wire (a hub) with a router, the fourth on a wire of its own, the
fifth on one with a DHCPv6 server.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dhcp6
from dhcp6 import Dhcp6
from machine import Machine
from remote import Login

from builder.emulate.command import Guest
from init.formats import events

SSH = 22
FIRST, LEFT, RIGHT, PORT, SIXTH = (
    "52:54:00:12:34:56", "52:54:00:00:01:01", "52:54:00:00:01:02", "52:54:00:00:02:01", "52:54:00:00:06:01",
)  # fmt: skip
USER = """#cloud-config
hostname: wires
manage_etc_hosts: {hosts}
{more}
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{key}"]}}]
berth:
  health: {{settle: 3s}}
  containers: {{web: null}}
"""


@contextmanager
def dhcp6_server() -> Iterator[Dhcp6]:
    """Yield a server for the fifth card's wire."""
    made = Dhcp6()
    try:
        yield made
    finally:
        made.stop()


def with_wires(guest: Guest, server: Dhcp6) -> Guest:
    """Add the other four cards, and their wires."""
    wires = (
        "-netdev", "user,id=router,net=10.0.3.0/24", "-netdev", "hubport,id=hub0,hubid=1,netdev=router",
        "-netdev", "hubport,id=hub1,hubid=1", "-device", f"virtio-net-pci,netdev=hub1,mac={LEFT},romfile=",
        "-netdev", "hubport,id=hub2,hubid=1", "-device", f"virtio-net-pci,netdev=hub2,mac={RIGHT},romfile=",
        "-netdev", "user,id=own,net=10.0.4.0/24", "-device", f"virtio-net-pci,netdev=own,mac={PORT},romfile=",
        "-netdev", server.netdev("six"), "-device", f"virtio-net-pci,netdev=six,mac={SIXTH},romfile=",
    )  # fmt: skip
    return replace(guest, extra=(*guest.extra, *wires))


def up(machine: Machine, *names: str) -> Machine:
    for name in names:
        machine.wait(events.NETWORK_UP, interface=name)
    machine.wait(events.HEALTH_PASSED)
    return machine


def addresses(login: Login) -> dict[str, set[str]]:
    """Return the addresses of each link as the kernel has them, without those of links alone."""
    found: dict[str, set[str]] = {}
    for line in login.out("ip -o addr show scope global").splitlines():
        words = line.split()
        found.setdefault(words[1].partition("@")[0], set()).add(words[3])
    return found


def read(login: Login, *files: str) -> list[str]:
    """Return the one line of each file below `/sys/class/net`."""
    return login.out("cat " + " ".join(f"/sys/class/net/{file}" for file in files)).splitlines()


def assert_a_lease_by_dhcpv6(login: Login, server: Dhcp6, *more: str) -> None:
    """Assert that address, name server, domain and router came, and that the routes begin with `more`, too."""
    login.machine.wait_for(
        lambda one: one["event"] == events.NETWORK_UP and f"{dhcp6.ADDRESS}/128" in one["addresses"],
        what="an address by DHCPv6",
    )
    assert bytes.fromhex(SIXTH.replace(":", "")) in server.given
    assert addresses(login)["six"] == {f"{dhcp6.ADDRESS}/128", "10.0.6.15/24"}
    resolver = login.out("cat /etc/resolv.conf").splitlines()
    assert f"nameserver {dhcp6.NAME_SERVER}" in resolver
    assert any(line.startswith("search ") and dhcp6.DOMAIN in line.split() for line in resolver), resolver
    routes = [" ".join(line.split()) for line in login.out("ip -6 route; ip route").splitlines()]
    assert any(line.startswith("default via fe80::6:6 dev six") for line in routes), routes
    for wanted in more:
        assert any(line.startswith(wanted) for line in routes), routes
