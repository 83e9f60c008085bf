"""From the configuration's network to what is done, and what the fake kernel looks like afterwards."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

from fakes.network import fake_link
from fakes.system import FakeSystem
from fakes.tree import Link as Symlink
from hypothesis import given
from hypothesis import strategies as st

from init.formats import netlinkattributes as attributes
from init.formats.machine import Link, Network, Route
from init.pid1 import dhcp, linknames, network, uplink
from init.pid1.linkparameters import texts
from init.pid1.links import AddressState

LO = fake_link(1, "lo")
CARDS = (LO, fake_link(2, "eth0"), fake_link(3, "eth1"), fake_link(4, "eth2"))
LATE = fake_link(9, "eth9")
NAMES = {"eth0": ("enp0s3",), "eth1": ("enp1s0", "ens5"), "eth2": ()}


def carried_out(wanted: Network, cards: tuple = CARDS, names: dict = NAMES) -> tuple[FakeSystem, network.Plan]:
    system = FakeSystem()
    system.interfaces = list(cards)
    system.tree.fill({"/etc": None, "/run": None, "/proc/sys/net/ipv6/conf": None})
    for name in ("bond0", "br0"):
        for file in ("mode", "miimon", "lacp_rate", "primary"):
            system.tree.fill({f"/sys/class/net/{name}/bonding/{file}": b""})
        for file in ("stp_state", "forward_delay"):
            system.tree.fill({f"/sys/class/net/{name}/bridge/{file}": b""})
    system.tree.fill({"/sys/class/net/vlan7/brport/path_cost": b""})
    made = network.plan(wanted, cards, names)
    assert network.apply(system, made.actions) == ()
    return system, made


def text(system: FakeSystem, path: str) -> str:
    return system.tree.get(path).decode()


def by_name(system: FakeSystem) -> dict:
    return {link.name: link for link in system.interfaces}


def test_without_a_word_about_it_every_card_asks_by_dhcp() -> None:
    system, made = carried_out(Network())
    assert all(link.up for link in system.interfaces)
    assert [service.name for service in made.services] == ["dhcpcd"]
    assert "allowinterfaces eth* en* usb* wwan*\n" in text(system, dhcp.CONFIGURATION)
    assert made.missing == ()


def test_doing_it_again_for_a_card_that_came_late_leaves_the_leases_servers_alone() -> None:
    system, _ = carried_out(Network(nameservers=("192.0.2.53",)))
    assert text(system, "/etc/resolv.conf") == "nameserver 192.0.2.53\n"
    system.tree.put("/etc/resolv.conf", b"nameserver 10.0.2.3\n")
    again = network.plan(Network(nameservers=("192.0.2.53",)), tuple(system.interfaces), NAMES)
    assert network.apply(system, again.actions) == ()
    assert text(system, "/etc/resolv.conf") == "nameserver 10.0.2.3\n"


def test_static_addresses_keep_dhcp_away() -> None:
    link = Link(
        name="enp1s0",
        addresses=("192.0.2.2/24",),
        routes=(Route(to="0.0.0.0/0", via="192.0.2.1"),),
        nameservers=("192.0.2.53",),
        search=("example.org",),
    )
    system, made = carried_out(Network(default_dhcp=False, links=(link,)))
    assert system.addressed == [("eth1", "192.0.2.2/24")]
    assert system.routes == [("eth1", "0.0.0.0/0", "192.0.2.1")]
    assert made.services == ()
    assert text(system, "/etc/resolv.conf") == "nameserver 192.0.2.53\nsearch example.org\n"
    assert not by_name(system)["eth0"].up


def test_a_static_link_among_cards_with_dhcp_is_denied_to_dhcpcd() -> None:
    system, _ = carried_out(Network(links=(Link(name="eth2", addresses=("192.0.2.2/24",)),)))
    assert "denyinterfaces eth2\n" in text(system, dhcp.CONFIGURATION)


def test_a_card_is_found_by_mac_pattern_or_path_name_the_surest_first() -> None:
    links = (
        Link(name="any", match_name="e*", dhcp4=True),
        Link(name="byname", match_name="ens5", dhcp4=True),
        Link(name="bymac", match_mac="52:54:00:00:00:02", dhcp4=True, rename=True),
    )
    system, made = carried_out(Network(links=links, default_dhcp=False))
    assert made.missing == ()
    assert by_name(system)["bymac"].mac == "52:54:00:00:00:02"


def test_a_card_that_was_renamed_is_found_again() -> None:
    """The network is planned anew when a card comes late; by then the first one has another name."""
    wanted = Network(default_dhcp=False, links=(Link(name="uplink", match_name="eth0", rename=True, dhcp4=True),))
    system, made = carried_out(wanted)
    assert made.missing == ()
    assert "interface uplink" in text(system, dhcp.CONFIGURATION)
    again = network.plan(wanted, (*system.interfaces, LATE), {})
    assert again.missing == ()
    assert network.apply(system, again.actions) == ()
    assert "interface uplink" in text(system, dhcp.CONFIGURATION)


def test_what_is_missing_is_named_with_what_is_there() -> None:
    wanted = Network(links=(Link(name="ens9", dhcp4=True), Link(name="ens10", dhcp4=True, optional=True)))
    (sentence,) = network.plan(wanted, CARDS, NAMES).missing
    assert sentence == "network: there is no interface ens9; there are: eth0/enp0s3, eth1/enp1s0/ens5, eth2"


def test_a_bond_with_a_vlan_in_a_bridge() -> None:
    links = (
        Link(
            name="br0", kind="bridge", members=("vlan7",), parameters=(("stp_state", "false"), ("path_cost", "vlan7 4"))
        ),
        Link(name="vlan7", kind="vlan", vlan_id=7, vlan_link="bond0"),
        Link(
            name="bond0",
            kind="bond",
            members=("enp0s3", "enp1s0"),
            parameters=(("lacp_rate", "fast"), ("mode", "802.3ad"), ("miimon", "100"), ("primary", "enp1s0")),
        ),
        Link(name="enp0s3"),
        Link(name="enp1s0"),
    )
    system, made = carried_out(Network(default_dhcp=False, links=links))
    assert made.missing == ()
    found = by_name(system)
    assert found["eth0"].master == found["eth1"].master == found["bond0"].index
    assert found["vlan7"].master == found["br0"].index
    assert all(found[name].up for name in ("eth0", "eth1", "bond0", "vlan7", "br0"))
    assert text(system, "/sys/class/net/bond0/bonding/mode") == "802.3ad"
    assert text(system, "/sys/class/net/bond0/bonding/primary") == "eth1"
    assert text(system, "/sys/class/net/vlan7/brport/path_cost") == "4"
    written = [call.arguments[0] for call in system.calls if call.name == "write"]
    assert written.index("/sys/class/net/bond0/bonding/mode") < written.index("/sys/class/net/bond0/bonding/lacp_rate")


def test_a_card_that_comes_late_leaves_a_bond_as_it_is() -> None:
    """The kernel has given its members one MAC by then, and takes no mode any more."""
    links = (
        Link(name="bond0", kind="bond", members=("left", "right"), parameters=(("mode", "802.3ad"),)),
        Link(name="left", match_mac=CARDS[1].mac, rename=True),
        Link(name="right", match_mac=CARDS[2].mac, rename=True),
    )
    wanted = Network(default_dhcp=False, links=links)
    system, _ = carried_out(wanted)
    own = {"left": CARDS[1].mac, "right": CARDS[2].mac}
    now = tuple(
        replace(link, mac=CARDS[1].mac, permanent=own.get(link.name, link.mac)) for link in (*system.interfaces, LATE)
    )
    again = network.plan(wanted, now, {})
    assert again.missing == ()
    assert not [action for action in again.actions if isinstance(action, network.MakeLink | network.Rename)]
    assert not [action for action in again.actions if getattr(action, "path", "").startswith("/sys/class/net")]
    assert not [action for action in again.actions if getattr(action, "up", None) is False]
    before, after = uplink.hardware(tuple(system.interfaces)), uplink.hardware(now)
    assert len(after - before) == 1, "and only the new one is new"


def test_dhcp_on_a_bridge_is_not_asked_for_on_its_members() -> None:
    links = (Link(name="br0", kind="bridge", members=("eth0",), dhcp4=True), Link(name="eth0", dhcp4=True))
    system, _ = carried_out(Network(default_dhcp=False, links=links))
    configuration = text(system, dhcp.CONFIGURATION)
    assert "allowinterfaces br0\n" in configuration
    assert "denyinterfaces eth0\n" in configuration
    assert "interface br0\nnodhcp6\nnoipv6rs\n" in configuration


@given(st.permutations(["eth0", "eth1", "eth2"]), st.sets(st.integers(0, 2)))
def test_any_names_can_be_swapped(wanted: list[str], asked: set[int]) -> None:
    links = tuple(Link(name=wanted[n], match_mac=CARDS[n + 1].mac, rename=True, dhcp4=True) for n in sorted(asked))
    system, made = carried_out(Network(links=links))
    assert made.missing == ()
    found = {link.mac: link.name for link in system.interfaces}
    for link in links:
        assert found[link.match_mac or ""] == link.name
    assert len(set(found.values())) == len(system.interfaces)


def test_one_failure_leaves_the_rest_done_and_is_said() -> None:
    system = FakeSystem(fail_at=2)
    system.interfaces = list(CARDS)
    system.tree.fill({"/etc": None, "/run": None})
    made = network.plan(Network(), CARDS, {})
    problems = network.apply(system, made.actions)
    assert len(problems) == 1
    assert problems[0].startswith("network: ")
    assert len(system.calls) == len(made.actions)


def test_the_network_is_up_with_an_address_for_the_world() -> None:
    links = (*CARDS, fake_link(9, "podman0", kind="bridge"), fake_link(10, "veth0", kind="veth", master=9))

    def address(index: int, text: str, **more: object) -> AddressState:
        return AddressState(index=index, address=text, **{"scope": "global", "tentative": False, **more})  # type: ignore[arg-type]

    assert network.up((fake_link(2, "eth0", carrier=False),), (address(2, "10.0.2.15/24"),)) == {}, "no cable yet"
    found = network.up(
        links,
        (
            address(1, "127.0.0.1/8", scope="host"),
            address(2, "fe80::1/64", scope="link"),
            address(2, "10.0.2.15/24"),
            address(3, "2001:db8::1/64", tentative=True),
            address(9, "10.88.0.1/16"),
        ),
    )
    assert found == {"eth0": ("10.0.2.15/24",)}


def test_parameters_that_the_kernel_lacks_are_said() -> None:
    bond = (("mode", "1"), ("colour", "red"), ("arp_ip_target", "192.0.2.1,192.0.2.2"))
    found, problems = texts(Link(name="bond0", kind="bond", parameters=bond), {})
    folder = "/sys/class/net/bond0/bonding"
    targets = [(f"{folder}/arp_ip_target", f"+192.0.2.{number}") for number in (1, 2)]
    assert found == [(f"{folder}/mode", "1"), *targets]
    assert problems == ["network: bond0: bond parameter colour can't be acted on"]
    bridge = (("forward_delay", "4"), ("stp_state", "true"), ("max_age", "long"))
    found, problems = texts(Link(name="br0", kind="bridge", parameters=bridge), {})
    assert found == [
        ("/sys/class/net/br0/bridge/forward_delay", "400"),
        ("/sys/class/net/br0/bridge/stp_state", "1"),
    ]
    assert len(problems) == 1


def test_path_names() -> None:
    assert linknames.by_place("0000:00:03.0", several=False) == "enp0s3"
    assert linknames.by_place("0000:1a:00.1", several=True) == "enp26s0f1"
    assert linknames.by_place("0001:01:00.0", several=True) == "enP1p1s0f0"
    assert linknames.by_place("virtio0", several=False) is None
    assert linknames.by_slot("0000:00:05.0", [("5", "0000:00:05")], several=False) == "ens5"
    assert linknames.by_mac("52:54:00:12:34:56") == "enx525400123456"
    assert linknames.pci_address("../../devices/pci0000:00/0000:00:03.0/virtio1/net/eth0") == "0000:00:03.0"
    assert linknames.pci_address("../../devices/virtual/net/lo") is None


def test_path_names_are_read_from_sysfs() -> None:
    system = FakeSystem()
    system.tree.fill(
        {
            "/sys/class/net/eth0": Symlink("../../devices/pci0000:00/0000:00:03.0/virtio1/net/eth0"),
            "/sys/bus/pci/devices/0000:00:03.0/config": bytes(14) + b"\x00" + bytes(49),
            "/sys/bus/pci/slots/3/address": b"0000:00:03\n",
        }
    )
    links = (LO, fake_link(2, "eth0"))
    assert linknames.read(system, links) == {"eth0": ("enx525400000002", "enp0s3", "ens3")}


def test_the_hook_puts_resolv_conf_together_and_takes_away_what_is_gone(tmp_path: Path) -> None:
    """The hook itself, run by this machine's shell; `busybox TOOL` is this machine's TOOL."""
    servers, etc = tmp_path / "resolv", tmp_path / "etc"
    servers.mkdir()
    etc.mkdir()
    (servers / "00-static").write_text("nameserver 192.0.2.53\nsearch example.org\n")
    busybox = tmp_path / "busybox"
    busybox.write_text('#!/bin/sh\nexec "$@"\n')
    busybox.chmod(0o755)
    hook = dhcp.HOOK_TEXT.replace("/run/berth/network/resolv", str(servers)).replace("/etc/", f"{etc}/")

    def call(**environment: str) -> str:
        path = f"{tmp_path}:/usr/bin:/bin"
        subprocess.run(["/bin/sh", "-c", hook], env={"PATH": path, **environment}, check=True, timeout=30)
        return mounted.read_text()

    (etc / "resolv.conf").write_text("")
    mounted = tmp_path / "container"
    mounted.hardlink_to(etc / "resolv.conf")  # as a container that started before the lease has it
    lease = {"new_domain_name_servers": "10.0.2.3 192.0.2.53", "new_domain_name": "lan"}
    assert call(reason="BOUND", interface="eth0", **lease) == (
        "nameserver 192.0.2.53\nnameserver 10.0.2.3\nsearch example.org lan\n"
    )
    assert "nameserver 2001:db8::53\n" in call(reason="BOUND6", interface="eth0", new_dhcp6_name_servers="2001:db8::53")
    router = {"nd1_acquired": "100", "nd1_now": "130", "nd1_rdnss1_lifetime": "600", "nd1_rdnss1_servers": "fd00::1"}
    router |= {"nd1_rdnss2_lifetime": "20", "nd1_rdnss2_servers": "fd00::2", "nd2_acquired": "130", "nd2_now": "130"}
    router |= {"nd2_rdnss1_lifetime": "0", "nd2_rdnss1_servers": "fd00::3", "nd2_rdnss2_lifetime": "4294967295"}
    router |= {"nd2_rdnss2_servers": "fd00::4", "nd1_dnssl1_lifetime": "600", "nd1_dnssl1_search": "six.example"}
    assert call(reason="ROUTERADVERT", interface="eth0", **router) == (
        "nameserver 192.0.2.53\nnameserver 10.0.2.3\nnameserver 2001:db8::53\nnameserver fd00::1\nnameserver fd00::4\n"
        "search example.org lan six.example\n"
    ), "what has outlived its time is none"
    assert call(reason="STOPPED", interface="eth0") == "nameserver 192.0.2.53\nsearch example.org\n"
    assert call(reason="PREINIT", interface="eth0") == "nameserver 192.0.2.53\nsearch example.org\n"


@given(st.lists(st.tuples(st.integers(0, 0x3FFF), st.binary(max_size=20)), max_size=6))
def test_netlink_attributes_come_back_as_they_went(pairs: list[tuple[int, bytes]]) -> None:
    data = b"".join(attributes.attribute(kind, value) for kind, value in pairs)
    assert len(data) % 4 == 0
    assert attributes.parse_all(data) == pairs


@given(st.binary(max_size=60))
def test_any_bytes_are_attributes_as_far_as_they_make_sense(data: bytes) -> None:
    attributes.parse_all(data)
