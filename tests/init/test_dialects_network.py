"""Network configuration: both versions give the same links for the same network."""

from __future__ import annotations

import pytest
import yaml

from init.dialects.addresses import network, prefix_of
from init.dialects.compile import Compiled, compile_document
from init.dialects.diagnostic import Severity
from init.formats.machine import Link, Network, Route

V1 = """version: 1
config:
  - type: physical
    name: eth0
    mac_address: "52:54:00:AA:bb:01"
    mtu: 1400
    subnets:
      - type: static
        address: 192.0.2.10
        netmask: 255.255.255.0
        gateway: 192.0.2.1
        dns_nameservers: [192.0.2.53]
        dns_search: [example.org]
        routes: [{network: 198.51.100.0, netmask: 255.255.255.0, gateway: 192.0.2.2, metric: 3}]
      - {type: dhcp6}
  - {type: physical, name: eth1, subnets: [{type: dhcp}]}
  - type: bond
    name: bond0
    bond_interfaces: [eth2, eth3]
    params: {bond-mode: 802.3ad, bond-miimon: 100, bond_lacp_rate: fast}
  - {type: bridge, name: br0, bridge_interfaces: [bond0], params: {bridge_stp: 'off', bridge_fd: 0}}
  - {type: vlan, name: br0.7, vlan_link: br0, vlan_id: 7, subnets: [{type: static, address: 2001:db8::7/64}]}
"""
V2 = """version: 2
ethernets:
  eth0:
    match: {macaddress: "52:54:00:aa:bb:01"}
    set-name: eth0
    mtu: 1400
    dhcp6: true
    addresses: [192.0.2.10/24]
    nameservers: {addresses: [192.0.2.53], search: [example.org]}
    routes: [{to: default, via: 192.0.2.1}, {to: 198.51.100.0/24, via: 192.0.2.2, metric: 3}]
  eth1: {dhcp4: yes}
bonds:
  bond0: {interfaces: [eth2, eth3], parameters: {mode: 802.3ad, mii-monitor-interval: 100, lacp-rate: fast}}
bridges:
  br0: {interfaces: [bond0], parameters: {stp: false, forward-delay: 0}}
vlans:
  br0.7: {id: 7, link: br0, addresses: ["2001:db8::7/64"]}
"""


def compiled(text: str) -> Compiled:
    return compile_document(text.encode(), file="network-config", dialect="network-config-v2")


def links(text: str) -> Network:
    got = compiled(text)
    assert got.machine is not None, [str(each) for each in got.diagnostics]
    return got.machine.network


def test_both_versions_say_the_same() -> None:
    one, two = links(V1), links(V2)
    assert one.links[0] == Link(
        name="eth0",
        match_mac="52:54:00:aa:bb:01",
        rename=True,
        mtu=1400,
        dhcp6=True,
        addresses=("192.0.2.10/24",),
        routes=(Route(to="0.0.0.0/0", via="192.0.2.1"), Route(to="198.51.100.0/24", via="192.0.2.2", metric=3)),
        nameservers=("192.0.2.53",),
        search=("example.org",),
    )
    assert not one.default_dhcp
    stp = {"off": "0"}
    for left, right in zip(one.links, two.links, strict=True):
        parameters = tuple((name, stp.get(value, value)) for name, value in left.parameters)
        assert Link(**{**_fields(left), "parameters": parameters}) == right


def _fields(link: Link) -> dict[str, object]:
    return {name: getattr(link, name) for name in Link.__dataclass_fields__}


def test_below_network_and_in_a_document_of_berth_it_is_the_same() -> None:
    inner = yaml.safe_load(V2)
    assert links(yaml.safe_dump({"network": inner}, sort_keys=False)) == links(V2)
    document = "#berth\n" + yaml.safe_dump({"network": inner}, sort_keys=False)
    got = compile_document(document.encode(), file="f").machine
    assert got is not None
    assert got.network == links(V2)


def test_it_can_be_switched_off() -> None:
    assert links("{network: {config: disabled}}") == Network(default_dhcp=False)
    assert links("{version: 1, config: disabled}") == Network(default_dhcp=False)


def test_names_servers_and_routes_of_no_interface_in_version_1() -> None:
    text = """version: 1
config:
  - {type: physical, name: eth0, subnets: [{type: ipv6_slaac}]}
  - {type: nameserver, address: 192.0.2.53, search: [a.b]}
  - {type: nameserver, address: [192.0.2.54], interface: eth0}
  - {type: route, destination: 198.51.100.0/24, gateway: 192.0.2.1}
"""
    got = links(text)
    assert got.nameservers == ("192.0.2.53",)
    assert got.links[0].nameservers == ("192.0.2.54",)
    assert got.links[0].routes == (Route(to="198.51.100.0/24", via="192.0.2.1"),)
    assert got.links[0].accept_ra is True


ROUTED = """version: 1
config:
  - {type: loopback, name: lo}
  - {type: physical, name: eth0, subnets: [{type: static, address: 192.0.2.10/24}]}
  - {type: physical, name: eth1, subnets: [{type: static, address: 198.51.100.10, netmask: 255.255.255.0}]}
  - {type: physical, name: eth2, subnets: [{type: static6, address: "2001:db8::2/64"}]}
  - {type: route, destination: DESTINATION, gateway: "GATEWAY"}
"""


@pytest.mark.parametrize(
    ("destination", "gateway", "through"),
    [
        ("203.0.113.0/24", "192.0.2.1", "eth0"),
        ("203.0.113.0/24", "198.51.100.1", "eth1"),
        ("default", "198.51.100.1", "eth1"),
        ("default", "2001:db8::1", "eth2"),
        ('"2001:db8:7::/48"', "2001:db8::1", "eth2"),
    ],
)
def test_a_route_of_no_interface_goes_where_its_gateway_is(destination: str, gateway: str, through: str) -> None:
    text = ROUTED.replace("DESTINATION", destination).replace("GATEWAY", gateway)
    assert compiled(text).diagnostics == ()
    assert [link.name for link in links(text).links if link.routes] == [through]


def test_a_route_whose_gateway_nobody_holds_waits_for_a_lease_or_is_told() -> None:
    text = ROUTED.replace("DESTINATION", "203.0.113.0/24").replace("GATEWAY", "203.0.113.1")
    [told] = compiled(text).diagnostics
    assert (told.severity, told.path, told.place.line) == (Severity.WARNING, "config[4]", 7)
    [taken] = [link.name for link in links(text).links if link.routes]
    assert taken == "eth0", "the first that is more than a loopback"
    leased = text.replace('type: static6, address: "2001:db8::2/64"', "type: dhcp4")
    assert compiled(leased).diagnostics == ()
    assert [link.name for link in links(leased).links if link.routes] == ["eth2"]


def test_a_route_of_no_interface_goes_through_the_bond_and_not_its_members() -> None:
    text = """version: 1
config:
  - {type: physical, name: eth0}
  - {type: bond, name: bond0, bond_interfaces: [eth0], subnets: [{type: static, address: 192.0.2.10/24}]}
  - {type: route, destination: 198.51.100.0/24, gateway: 203.0.113.1}
"""
    assert [link.name for link in links(text).links if link.routes] == ["bond0"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "version: 3",
        "ethernets: {}",
        "{version: 2, ethernets: []}",
        "{version: 2, ethernts: {}}",
        "{version: 2, ethernets: {eth0: {adresses: []}}}",
        "{version: 2, ethernets: {eth0: {addresses: [192.0.2.1]}}}",
        "{version: 2, ethernets: {eth0: {addresses: [192.0.2.256/24]}}}",
        "{version: 2, ethernets: {eth0: {set-name: x}}}",
        "{version: 2, ethernets: {eth0: {mtu: 3}}}",
        "{version: 2, ethernets: {eth0: {macaddress: '1'}}}",
        "{version: 2, ethernets: {a-name-that-is-too-long: {}}}",
        "{version: 2, ethernets: {eth0: {routes: [{via: 192.0.2.1}]}}}",
        "{version: 2, ethernets: {eth0: {routes: [{to: x, via: 192.0.2.1}]}}}",
        "{version: 2, ethernets: {eth0: {routes: [{to: 192.0.2.0/24, via: 'fe80::1'}]}}}",
        "{version: 2, ethernets: {eth0: {gateway4: 'fe80::1'}}}",
        "{version: 2, ethernets: {eth0: {gateway6: 192.0.2.1}}}",
        "{version: 1, config: [{type: physical, name: a}, {type: route, destination: '::/0', gateway: 192.0.2.1}]}",
        "{version: 2, vlans: {v: {link: eth0}}}",
        "{version: 2, vlans: {v: {id: 4095, link: eth0}}}",
        "{version: 2, vlans: {v: {id: 5, link: nowhere}}}",
        "{version: 2, bonds: {b: {interfaces: [a], parameters: {modus: x}}}}",
        "{version: 1, config: {}}",
        "{version: 1, config: [{type: token-ring, name: a}]}",
        "{version: 1, config: [{type: physical}]}",
        "{version: 1, config: [{type: physical, name: a, subnets: [{type: static}]}]}",
        "{version: 1, config: [{type: physical, name: a, subnets: [{type: static, address: x}]}]}",
        "{version: 1, config: [{type: nameserver, address: 192.0.2.1, interface: a}]}",
        "{version: 1, config: [{type: route, destination: 0.0.0.0/0}]}",
        "{version: 1, konfig: []}",
    ],
)
def test_wrong_ones_are_refused(text: str) -> None:
    got = compiled(text)
    assert got.machine is None
    assert all(each.place.line for each in got.diagnostics)


@pytest.mark.parametrize("name", ["wifis", "tunnels", "vrfs", "dummy-devices", "modems"])
def test_what_netplan_has_more_is_a_warning(name: str) -> None:
    got = compiled(f"{{version: 2, {name}: {{a: {{}}}}}}")
    assert [each.severity for each in got.diagnostics] == [Severity.WARNING]


def test_masks() -> None:
    assert prefix_of("255.255.240.0") == 20
    assert prefix_of("ffff:ffff::") == 32
    assert prefix_of("24") == 24
    assert prefix_of("0.0.0.0") == 0
    assert prefix_of("255.0.255.0") is None
    assert network("default") == "0.0.0.0/0"
    assert network("10.1.2.3/8") == "10.0.0.0/8"
    assert network("x") is None


def test_an_id_stands_for_the_name_that_is_set() -> None:
    got = links(
        """version: 2
ethernets:
  id0: {match: {macaddress: "52:54:00:aa:bb:01"}, set-name: left}
  id1: {match: {macaddress: "52:54:00:aa:bb:02"}}
bonds: {bond0: {interfaces: [id0, id1], parameters: {mode: active-backup, primary: id0}}}
bridges: {br0: {interfaces: [bond0], parameters: {path-cost: {bond0: 4}}}}
vlans: {lan: {id: 7, link: id0}}
"""
    )
    named = {link.name: link for link in got.links}
    assert list(named) == ["left", "id1", "bond0", "br0", "lan"]
    assert named["bond0"].members == ("left", "id1")
    assert ("primary", "left") in named["bond0"].parameters
    assert named["br0"].parameters == (("path_cost", "bond0 4"),)
    assert named["lan"].vlan_link == "left"


@pytest.mark.parametrize(("kind", "key"), [("bond", "bond-mod"), ("bridge", "bridge_sttp"), ("bond", "colour")])
def test_a_misspelt_parameter_of_version_1_is_an_error(kind: str, key: str) -> None:
    got = compiled(f"{{version: 1, config: [{{type: {kind}, name: x, {kind}_interfaces: [], params: {{{key}: 1}}}}]}}")
    assert [each.path for each in got.diagnostics if each.severity.value == "error"] == [f"config[0].params.{key}"]


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ("{gateway: 192.0.2.1, metric: 3}", "config[0].type"),
        ("{type: wire, name: x}", "config[0].type"),
        ("7", "config[0]"),
    ],
)
def test_of_an_item_without_its_type_nothing_else_is_said(item: str, path: str) -> None:
    got = compiled(f"{{version: 1, config: [{item}]}}")
    assert [each.path for each in got.diagnostics if each.severity.value == "error"] == [path]


WRONG_PARAMETERS = {  # by version 2 and 1; what the message or the hint says
    "mode: balanc-rr|bond-mode: balanc-rr": "did you mean `balance-rr`?",
    "mii-monitor-interval: abc|bond-miimon: abc": "expected a whole number",
    "up-delay: -1|bond-updelay: -1": "from 0 to 2147483647",
    "lacp-rate: foo|bond_lacp_rate: 2": "`slow`, `fast`",
    "ad-select: true|bond-ad_select: true": "`stable`, `bandwidth`, `count`",
    "all-slaves-active: maybe|bond-all_slaves_active: maybe": "true or false",
    "transmit-hash-policy: layer4|bond-xmit-hash-policy: layer4": "did you mean `layer3+4`?",
    "gratuitous-arp: 256|bond-num_grat_arp: 256": "from 0 to 255",
    "arp-ip-targets: [192.0.2.300]|bond-arp-ip-target: 192.0.2.300": "1 to 16 IPv4 addresses",
    "primary: eth2|bond-primary: eth2": "did you mean `eth1`?",
    "learn-packet-interval: 1500ms|bond-lp_interval: 1500ms": "whole number of s",
    "stp: maybe|bridge_stp: maybe": "true or false",
    "priority: x|bridge_bridgeprio: x": "expected a whole number",
    "priority: 65536|bridge_bridgeprio: 65536": "from 0 to 65535",
    "forward-delay: 31|bridge_fd: 31": "from 0 to 30",
    "hello-time: 0|bridge_hello: 0": "from 1 to 10",
    "path-cost: {eth0: 0}|bridge_pathcost: eth0 0": "from 1 to 65535",
    "path-cost: {eth7: 4}|bridge_pathcost: eth7 4": "not a member",
    "port-priority: 3|bridge_portprio: 3": "PORT NUMBER",
}


@pytest.mark.parametrize("text", WRONG_PARAMETERS)
def test_a_wrong_parameter_is_an_error_with_its_place(text: str) -> None:
    second, first = text.split("|")
    kind = "bridge" if first.startswith("bridge") else "bond"
    documents = {
        f"""version: 2
ethernets: {{eth0: {{}}, eth1: {{}}}}
{kind}s: {{x: {{interfaces: [eth0, eth1], parameters: {{
  {second}}}}}}}
""": f"{kind}s.x.parameters.{second.partition(':')[0]}",
        f"""version: 1
config: [{{type: physical, name: eth0}}, {{type: physical, name: eth1}},
  {{type: {kind}, name: x, {kind}_interfaces: [eth0, eth1], params: {{
  {first}}}}}]
""": f"config[2].params.{first.partition(':')[0]}",
    }
    for document, path in documents.items():
        [found] = compiled(document).diagnostics
        assert (found.severity, found.place.line) == (Severity.ERROR, 4)
        assert found.path.startswith(path)
        assert WRONG_PARAMETERS[text] in f"{found.message} {found.hint}"


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("mode: 802.3ad, mii-monitor-interval: 1s, lacp-rate: fast", {"mode": "802.3ad", "miimon": "1000"}),
        ("up-delay: 200ms, learn-packet-interval: 2000ms", {"updelay": "200", "lp_interval": "2"}),
        ("arp-ip-targets: [192.0.2.1, 192.0.2.2], arp-interval: '50'", {"arp_ip_target": "192.0.2.1,192.0.2.2"}),
        ("all-slaves-active: true, primary: eth0", {"all_slaves_active": "1", "primary": "eth0"}),
    ],
)
def test_parameters_are_given_as_the_kernel_has_them(text: str, given: dict[str, str]) -> None:
    head = "version: 2\nethernets: {eth0: {}}\n"
    [_, bond] = links(f"{head}bonds: {{b: {{interfaces: [eth0], parameters: {{{text}}}}}}}\n").links
    assert given.items() <= dict(bond.parameters).items()


def test_numbers_of_version_1_are_words_of_the_kernel() -> None:
    text = """version: 1
config:
  - {type: physical, name: eth0}
  - {type: bond, name: b, bond_interfaces: [eth0], params: {bond-mode: 4, bond_lacp_rate: 1, bond-use_carrier: off}}
  - {type: bridge, name: r, bridge_interfaces: [b], params: {bridge_stp: on, bridge_pathcost: [b 7], bridge_gcint: 2}}
"""
    assert [each.path for each in compiled(text).diagnostics] == ["config[2].params.bridge_gcint"]
    _, bond, bridge = links(text).links
    assert dict(bond.parameters) == {"mode": "802.3ad", "lacp_rate": "fast", "use_carrier": "0"}
    assert dict(bridge.parameters) == {"stp_state": "1", "path_cost": "b 7"}


@pytest.mark.parametrize(
    ("text", "severity", "path"),
    [
        ("{version: 1, config: [{type: physical, name: eth0}, V]}", Severity.ERROR, "config[1].vlan_link"),
        ("{version: 1, config: [{type: physical, name: eth0}, B]}", Severity.WARNING, "config[1].bond_interfaces[0]"),
        (
            "{version: 2, ethernets: {eth0: {}}, vlans: {v: {id: 5, link: eth1}}}",
            Severity.ERROR, "vlans.v.link",
        ),
        (
            "{version: 2, ethernets: {eth0: {}}, bridges: {b: {interfaces: [eth1]}}}",
            Severity.WARNING, "bridges.b.interfaces[0]",
        ),
    ],
)  # fmt: skip
def test_an_interface_that_nobody_describes_is_told(text: str, severity: Severity, path: str) -> None:
    text = text.replace("V]", "{type: vlan, name: v, vlan_id: 5, vlan_link: eth1}]")
    [found] = compiled(text.replace("B]", "{type: bond, name: b, bond_interfaces: [eth1]}]")).diagnostics
    assert (found.severity, found.path, found.hint) == (severity, path, "did you mean `eth0`?")
