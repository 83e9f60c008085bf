"""Version 2 of network configuration, from an ISO 9660 disk labelled `cidata`: names, bond, VLAN, bridge, addresses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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

from builder.emulate.command import Drive, Guest
from builder.tools.call import Tools

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

V2 = f"""version: 2
ethernets:
  way-in: {{match: {{macaddress: "{FIRST}"}}, set-name: uplink, dhcp4: true, dhcp6: true}}
  one: {{match: {{macaddress: "{LEFT}"}}, set-name: left}}
  two: {{match: {{macaddress: "{RIGHT}"}}, set-name: right}}
  port: {{match: {{name: "enx52540000020*"}}}}
  leased: {{match: {{macaddress: "{SIXTH}"}}, set-name: six, dhcp6: true, accept-ra: true, gateway4: 10.0.6.1,
    addresses: [10.0.6.15/24], routes: [{{to: 198.18.0.0/15, via: 10.0.7.1, on-link: true}}], optional: true}}
bonds:
  bond0:
    interfaces: [one, two]
    parameters: {{mode: active-backup, mii-monitor-interval: 100, primary: two, up-delay: 200}}
    addresses: [10.0.3.15/24, "2001:db8:3::15/64"]
    mtu: 1400
    macaddress: "52:54:00:00:03:07"
    routes: [{{to: 198.51.100.0/24, via: 10.0.3.2, metric: 50}}, {{to: "2001:db8:77::/48", via: "2001:db8:3::2"}}]
    nameservers: {{addresses: [192.0.2.53], search: [example.org]}}
vlans:
  storage: {{id: 7, link: bond0, addresses: [203.0.113.7/24], mtu: 1300}}
bridges:
  br0:
    interfaces: [port]
    parameters: {{stp: false, forward-delay: 4, priority: 4096, path-cost: {{port: 7}}}}
    dhcp4: true
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
    """Return root on the machine with version 2, whose seed is a CD."""
    folder = tmp_path_factory.mktemp("network2")
    key = client.key("root-of-network2")
    seed = folder / "seed"
    seed.mkdir()
    (seed / "user-data").write_text(USER.format(key=key.public, hosts="false", more=""))
    (seed / "meta-data").write_text("instance-id: i-2\nlocal-hostname: not-asked\n")
    (seed / "network-config").write_text(V2)
    tools.run(
        "xorriso", "-as", "mkisofs", "-quiet", "-V", "cidata", "-J", "-r", "-o", str(folder / "seed.iso"), str(seed)
    )

    def changed(guest: Guest) -> Guest:
        return replace(with_wires(guest, server), drives=(*guest.drives, Drive(path=folder / "seed.iso", bus="cd")))

    options = {"direct": True, "forwards": (SSH,), "changed": changed}
    with Machine(image, tools=tools, folder=folder, **options) as machine:
        yield Login(
            client=client, machine=up(machine, "uplink", "bond0", "storage", "br0", "six"), user="root", key=key
        )


def test_version_2_gives_names_and_addresses(login: Login) -> None:
    has = addresses(login)
    assert "10.0.2.15/24" in has["uplink"]
    assert has["bond0"] >= {"10.0.3.15/24", "2001:db8:3::15/64"}
    assert has["storage"] >= {"203.0.113.7/24"}
    assert has["br0"] == {"10.0.4.15/24"}, "DHCP on a bridge, over its port"
    assert read(login, "left/address", "right/address", "bond0/address") != [LEFT, RIGHT, LEFT]
    assert read(login, "bond0/address", "bond0/mtu", "storage/mtu") == ["52:54:00:00:03:07", "1400", "1300"]


def test_version_2_bonds_bridges_and_vlans(login: Login) -> None:
    bonding = ("mode", "miimon", "primary", "updelay", "slaves")
    mode, miimon, primary, delay, members = read(login, *(f"bond0/bonding/{name}" for name in bonding))
    assert (mode.split()[0], miimon, primary.split()[0], delay) == ("active-backup", "100", "right", "200")
    assert sorted(members.split()) == ["left", "right"]
    assert "VID: 7" in login.out("cat /proc/net/vlan/storage")
    bridge = ("bridge/stp_state", "bridge/forward_delay", "bridge/priority")
    assert read(login, *(f"br0/{name}" for name in bridge)) == ["0", "400", "4096"]
    [port] = login.out("ls /sys/class/net/br0/brif").split()
    assert read(login, f"{port}/address", f"{port}/brport/path_cost") == [PORT, "7"]


def test_version_2_routes_and_name_servers(login: Login) -> None:
    routes = login.out("ip route; ip -6 route")
    assert "198.51.100.0/24 via 10.0.3.2 dev bond0 metric 50" in " ".join(routes.split())
    assert "default via 10.0.2.2 dev uplink" in routes
    assert "2001:db8:77::/48 via 2001:db8:3::2 dev bond0" in routes
    resolver = login.out("cat /etc/resolv.conf")
    assert {"nameserver 192.0.2.53", "nameserver 10.0.2.3"} <= set(resolver.splitlines()), resolver
    assert "search example.org" in resolver


@pytest.mark.parametrize("router", ["10.0.3.2", "10.0.4.2"])
def test_version_2_carries_packets(router: str, login: Login) -> None:
    login.out(f"ping -c 1 -w 30 {router}")


def test_the_seed_may_be_a_cd_and_user_data_names_the_machine(login: Login) -> None:
    status = login.json("berthctl status --json")
    assert (status["hostname"], status["config"]["source"]) == ("wires", "cidata")
    assert login.json("berthctl config show --json")["machine"]["instance_id"] == "i-2"


def test_version_2_takes_a_lease_by_dhcpv6(login: Login, server: Dhcp6) -> None:
    assert_a_lease_by_dhcpv6(login, server, "default via 10.0.6.1 dev six", "198.18.0.0/15 via 10.0.7.1 dev six onlink")


def test_the_machine_has_no_line_of_its_own_in_hosts(login: Login) -> None:
    hosts = login.out("cat /etc/hosts").splitlines()
    assert "127.0.1.1 wires" not in hosts
    assert "127.0.0.1 localhost" in hosts
