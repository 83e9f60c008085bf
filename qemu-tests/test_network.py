"""Network configuration of both versions on machines with five cards: by MAC, renamed, bond, VLAN, bridge, addresses.

The way in is the first card. Two more hang on one wire (a hub) with a router, the fourth on a wire of its own, the
fifth on one with a DHCPv6 server.
The first machine reads version 2 from an ISO 9660 disk labelled `cidata`, the second version 1 below `berth:`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import dhcp6
import pytest
from dhcp6 import Dhcp6
from machine import Machine
from remote import Client, Login

from builder.emulate.command import Drive, Guest
from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]

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
RESOLVER = """manage_resolv_conf: true
resolv_conf: {nameservers: [192.0.2.54], searchdomains: [more.example]}
"""
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


@pytest.fixture(scope="module")
def server() -> Iterator[Dhcp6]:
    made = Dhcp6()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def image(built: Built) -> Path:
    return built("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")["iso"]


@pytest.fixture(scope="module")
def second(
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


@pytest.fixture(scope="module")
def first(
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


def test_version_2_gives_names_and_addresses(second: Login) -> None:
    has = addresses(second)
    assert "10.0.2.15/24" in has["uplink"]
    assert has["bond0"] >= {"10.0.3.15/24", "2001:db8:3::15/64"}
    assert has["storage"] >= {"203.0.113.7/24"}
    assert has["br0"] == {"10.0.4.15/24"}, "DHCP on a bridge, over its port"
    assert read(second, "left/address", "right/address", "bond0/address") != [LEFT, RIGHT, LEFT]
    assert read(second, "bond0/address", "bond0/mtu", "storage/mtu") == ["52:54:00:00:03:07", "1400", "1300"]


def test_version_2_bonds_bridges_and_vlans(second: Login) -> None:
    bonding = ("mode", "miimon", "primary", "updelay", "slaves")
    mode, miimon, primary, delay, members = read(second, *(f"bond0/bonding/{name}" for name in bonding))
    assert (mode.split()[0], miimon, primary.split()[0], delay) == ("active-backup", "100", "right", "200")
    assert sorted(members.split()) == ["left", "right"]
    assert "VID: 7" in second.out("cat /proc/net/vlan/storage")
    bridge = ("bridge/stp_state", "bridge/forward_delay", "bridge/priority")
    assert read(second, *(f"br0/{name}" for name in bridge)) == ["0", "400", "4096"]
    [port] = second.out("ls /sys/class/net/br0/brif").split()
    assert read(second, f"{port}/address", f"{port}/brport/path_cost") == [PORT, "7"]


def test_version_2_routes_and_name_servers(second: Login) -> None:
    routes = second.out("ip route; ip -6 route")
    assert "198.51.100.0/24 via 10.0.3.2 dev bond0 metric 50" in " ".join(routes.split())
    assert "default via 10.0.2.2 dev uplink" in routes
    assert "2001:db8:77::/48 via 2001:db8:3::2 dev bond0" in routes
    resolver = second.out("cat /etc/resolv.conf")
    assert {"nameserver 192.0.2.53", "nameserver 10.0.2.3"} <= set(resolver.splitlines()), resolver
    assert "search example.org" in resolver


@pytest.mark.parametrize("router", ["10.0.3.2", "10.0.4.2"])
def test_version_2_carries_packets(router: str, second: Login) -> None:
    second.out(f"ping -c 1 -w 30 {router}")


def test_the_seed_may_be_a_cd_and_user_data_names_the_machine(second: Login) -> None:
    status = second.json("berthctl status --json")
    assert (status["hostname"], status["config"]["source"]) == ("wires", "cidata")
    assert second.json("berthctl config show --json")["machine"]["instance_id"] == "i-2"


@pytest.mark.parametrize("version", ["first", "second"])
def test_a_lease_by_dhcpv6(version: str, server: Dhcp6, request: pytest.FixtureRequest) -> None:
    login = request.getfixturevalue(version)
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
    more = {
        "first": ("default via 10.0.6.1 dev six metric 77",),
        "second": ("default via 10.0.6.1 dev six", "198.18.0.0/15 via 10.0.7.1 dev six onlink"),
    }
    for wanted in more[version]:
        assert any(line.startswith(wanted) for line in routes), routes


@pytest.mark.parametrize(("version", "own"), [("first", True), ("second", False)])
def test_the_machines_own_line_in_hosts(version: str, own: bool, request: pytest.FixtureRequest) -> None:
    hosts = request.getfixturevalue(version).out("cat /etc/hosts").splitlines()
    assert ("127.0.1.1 wires" in hosts) is own
    assert "127.0.0.1 localhost" in hosts


def test_version_1_gives_names_and_addresses(first: Login) -> None:
    has = addresses(first)
    assert "10.0.2.15/24" in has["uplink"]
    assert "10.0.3.15/24" in has["bond0"]
    assert "2001:db8:7::7/64" in has["bond0.7"]
    assert has["br0"] == {"10.0.4.15/24"}
    assert read(first, "uplink/address", "uplink/mtu", "port/address") == [FIRST, "1450", PORT]
    said = first.out("ip -o -6 addr show dev uplink")
    assert "fec0:" in said, said


def test_version_1_bonds_bridges_and_vlans(first: Login) -> None:
    mode, miimon, members = read(first, *(f"bond0/bonding/{name}" for name in ("mode", "miimon", "slaves")))
    assert (mode.split()[0], miimon, sorted(members.split())) == ("balance-rr", "100", ["left", "right"])
    assert "VID: 7" in first.out("cat /proc/net/vlan/bond0.7")
    assert read(first, "br0/bridge/stp_state", "br0/bridge/forward_delay", "port/brport/path_cost") == ["0", "0", "7"]


def test_version_1_routes_and_name_servers(first: Login) -> None:
    routes = " ".join(first.out("ip route").split())
    assert "default via 10.0.2.2 dev uplink" in routes
    assert "198.51.100.0/24 via 10.0.3.2 dev bond0" in routes
    assert "192.0.2.128/25 via 10.0.3.2 dev bond0 metric 9" in routes, "not through the first: its gateway is elsewhere"
    resolver = first.out("cat /etc/resolv.conf")
    servers = {f"nameserver {each}" for each in ("192.0.2.53", "192.0.2.54", "10.0.2.3")}
    assert servers <= set(resolver.splitlines()), resolver
    [search] = [line.split() for line in resolver.splitlines() if line.startswith("search ")]
    assert {"example.org", "more.example"} <= set(search)


@pytest.mark.parametrize("router", ["10.0.3.2", "10.0.4.2"])
def test_version_1_carries_packets(router: str, first: Login) -> None:
    first.out(f"ping -c 1 -w 30 {router}")
