"""Version 1 of network configuration, below `berth:` of a config: names, bond, VLAN, bridge, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dhcp6 import Dhcp6
from machine import Machine
from remote import Client, Login
from updated import CLOUD, Built
from wires import (
    FIRST,
    LEFT,
    PORT,
    RIGHT,
    SIXTH,
    SSH,
    USER,
    addresses,
    assert_a_lease_by_dhcpv6,
    dhcp6_server,
    read,
    up,
    with_wires,
)

from builder.tools.call import Tools

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

RESOLVER = """manage_resolv_conf: true
resolv_conf: {nameservers: [192.0.2.54], searchdomains: [more.example]}
"""
V1 = f"""  network:
    version: 1
    config:
      - type: physical
        name: uplink
        mac_address: "{FIRST}"
        mtu: 1450
        subnets:
          - {{type: static, address: 10.0.2.15, netmask: 255.255.255.0, gateway: 10.0.2.2, dns_nameservers: [10.0.2.3]}}
          - {{type: ipv6_slaac}}
      - {{type: physical, name: left, mac_address: "{LEFT}"}}
      - {{type: physical, name: right, mac_address: "{RIGHT}"}}
      - type: bond
        name: bond0
        bond_interfaces: [left, right]
        params: {{bond-mode: balance-rr, bond-miimon: 100}}
        subnets:
          - type: static
            address: 10.0.3.15/24
            routes: [{{network: 198.51.100.0, netmask: 255.255.255.0, gateway: 10.0.3.2}}]
      - type: vlan
        name: bond0.7
        vlan_link: bond0
        vlan_id: 7
        subnets: [{{type: static6, address: "2001:db8:7::7/64"}}]
      - type: physical
        name: six
        mac_address: "{SIXTH}"
        subnets:
          - {{type: ipv6_dhcpv6-stateful}}
          - {{type: static, address: 10.0.6.15/24, gateway: 10.0.6.1, metric: 77}}
      - {{type: physical, name: port, mac_address: "{PORT}"}}
      - type: bridge
        name: br0
        bridge_interfaces: [port]
        params: {{bridge_stp: 'off', bridge_fd: 0, bridge_pathcost: port 7}}
        subnets: [{{type: dhcp4}}]
      - {{type: nameserver, address: [192.0.2.53], search: [example.org]}}
      - {{type: route, destination: 192.0.2.128/25, gateway: 10.0.3.2, metric: 9}}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Dhcp6]:
    with dhcp6_server() as made:
        yield made


@pytest.fixture(scope="module")
def image(built: Built) -> Path:
    return built(*CLOUD)["iso"]


@pytest.fixture(scope="module")
def login(
    image: Path, tools: Tools, client: Client, server: Dhcp6, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Login]:
    """Return root on the machine with version 1."""
    key = client.key("root-of-network1")
    config = USER.format(key=key.public, hosts="true", more=RESOLVER) + V1
    changed = lambda guest: with_wires(guest, server)  # noqa: E731 - what differs from `with_wires` is one argument
    options = {"direct": True, "forwards": (SSH,), "changed": changed, "config": config}
    with Machine(image, tools=tools, folder=tmp_path_factory.mktemp("network1"), **options) as machine:
        yield Login(
            client=client, machine=up(machine, "uplink", "bond0", "bond0.7", "br0", "six"), user="root", key=key
        )


def test_version_1_gives_names_and_addresses(login: Login) -> None:
    has = addresses(login)
    assert "10.0.2.15/24" in has["uplink"]
    assert "10.0.3.15/24" in has["bond0"]
    assert "2001:db8:7::7/64" in has["bond0.7"]
    assert has["br0"] == {"10.0.4.15/24"}
    assert read(login, "uplink/address", "uplink/mtu", "port/address") == [FIRST, "1450", PORT]
    said = login.out("ip -o -6 addr show dev uplink")
    assert "fec0:" in said, said


def test_version_1_bonds_bridges_and_vlans(login: Login) -> None:
    mode, miimon, members = read(login, *(f"bond0/bonding/{name}" for name in ("mode", "miimon", "slaves")))
    assert (mode.split()[0], miimon, sorted(members.split())) == ("balance-rr", "100", ["left", "right"])
    assert "VID: 7" in login.out("cat /proc/net/vlan/bond0.7")
    assert read(login, "br0/bridge/stp_state", "br0/bridge/forward_delay", "port/brport/path_cost") == ["0", "0", "7"]


def test_version_1_routes_and_name_servers(login: Login) -> None:
    routes = " ".join(login.out("ip route").split())
    assert "default via 10.0.2.2 dev uplink" in routes
    assert "198.51.100.0/24 via 10.0.3.2 dev bond0" in routes
    assert "192.0.2.128/25 via 10.0.3.2 dev bond0 metric 9" in routes, "not through the first: its gateway is elsewhere"
    resolver = login.out("cat /etc/resolv.conf")
    servers = {f"nameserver {each}" for each in ("192.0.2.53", "192.0.2.54", "10.0.2.3")}
    assert servers <= set(resolver.splitlines()), resolver
    [search] = [line.split() for line in resolver.splitlines() if line.startswith("search ")]
    assert {"example.org", "more.example"} <= set(search)


@pytest.mark.parametrize("router", ["10.0.3.2", "10.0.4.2"])
def test_version_1_carries_packets(router: str, login: Login) -> None:
    login.out(f"ping -c 1 -w 30 {router}")


def test_version_1_takes_a_lease_by_dhcpv6(login: Login, server: Dhcp6) -> None:
    assert_a_lease_by_dhcpv6(login, server, "default via 10.0.6.1 dev six metric 77")


def test_the_machines_own_line_in_hosts(login: Login) -> None:
    hosts = login.out("cat /etc/hosts").splitlines()
    assert "127.0.1.1 wires" in hosts
    assert "127.0.0.1 localhost" in hosts
