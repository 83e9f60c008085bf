"""Network configuration, version 2 (netplan's language, as cloud-init's schema and netplan's reference have it)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from init.dialects.addresses import (
    ADDRESS,
    ADDRESS4,
    ADDRESS6,
    CIDR,
    DOMAIN,
    LINK_NAME,
    MAC,
    METRIC,
    MTU,
    OTHER_FAMILY,
    default_route,
    network,
)
from init.dialects.diagnostic import Report, nearest
from init.dialects.linkparameters import SHAPES, check_members, pairs
from init.dialects.position import Mapping, Node, Sequence, shown
from init.dialects.record import Fields, Key, Named, Record
from init.dialects.shape import INVALID, Boolean, Choice, Custom, Integer, Listing, Text, expected
from init.formats.machine import Link, Network, Route

_OVERRIDES = Record(
    keys={
        name: Key(ignored="DHCP's answer is taken whole")
        for name in (
            "hostname",
            "route-metric",
            "send-hostname",
            "use-dns",
            "use-domains",
            "use-hostname",
            "use-mtu",
            "use-ntp",
            "use-routes",
        )
    }
)


def _addresses(node: Node, path: str, report: Report) -> Any:
    """A list of CIDR, or of maps from CIDR to label and lifetime."""
    if not isinstance(node, Sequence):
        return expected("a list of addresses with their prefixes", node, path, report)
    result = []
    for index, item in enumerate(node.items):
        where = f"{path}[{index}]"
        if isinstance(item, Mapping) and len(item.entries) == 1:
            report.warn(item.place, where, "label and lifetime of an address are not acted on")
            item = item.entries[0][0]  # noqa: PLW2901 - the key is the address
        value = CIDR.read(item, where, report)
        if value is not INVALID:
            result.append(value)
    return tuple(result)


_ROUTE = Record(
    keys={
        "to": Key(shape=Text(empty=False), required=True),
        "via": Key(shape=ADDRESS),
        "metric": Key(shape=METRIC),
        "on-link": Key(shape=Boolean()),
        **{name: Key(ignored="routes are of the main table") for name in ("from", "type", "scope", "table", "mtu")},
    }
)
_NAMESERVERS = Record(keys={"addresses": Key(shape=Listing(ADDRESS)), "search": Key(shape=Listing(DOMAIN))})
_COMMON = {
    "dhcp4": Key(shape=Boolean(words=True), doc="an IPv4 address by DHCP"),
    "dhcp6": Key(shape=Boolean(words=True), doc="an IPv6 address by DHCP"),
    "dhcp4-overrides": Key(shape=_OVERRIDES),
    "dhcp6-overrides": Key(shape=_OVERRIDES),
    "addresses": Key(shape=Custom(_addresses)),
    "gateway4": Key(shape=ADDRESS4, deprecated="write a route `to: default`"),
    "gateway6": Key(shape=ADDRESS6, deprecated="write a route `to: default`"),
    "routes": Key(shape=Listing(_ROUTE)),
    "nameservers": Key(shape=_NAMESERVERS),
    "mtu": Key(shape=MTU),
    "macaddress": Key(shape=MAC),
    "accept-ra": Key(shape=Boolean(words=True)),
    "optional": Key(shape=Boolean()),
    "renderer": Key(shape=Choice(("networkd", "NetworkManager"))),
    "critical": Key(ignored="no interface is taken down while the machine runs"),
    "dhcp-identifier": Key(ignored="the MAC address identifies it"),
    "ipv6-privacy": Key(ignored="a server keeps its address"),
    "link-local": Key(ignored="IPv6 has link-local addresses, IPv4 none"),
    "ignore-carrier": Key(
        ignored="an interface is set up with or without a cable; what waits for the network waits for a link"
    ),
    "activation-mode": Key(ignored="all interfaces come up"),
    "routing-policy": Key(ignored="routes are of the main table"),
    "optional-addresses": Key(ignored="write `optional`"),
}
_MATCH = Record(
    keys={
        "name": Key(shape=Text(empty=False), doc="a pattern of names"),
        "macaddress": Key(shape=MAC),
        "driver": Key(ignored="match by `macaddress` or `name`"),
    }
)
_BOND_NAMES = {
    "mode": "mode",
    "lacp-rate": "lacp_rate",
    "mii-monitor-interval": "miimon",
    "min-links": "min_links",
    "transmit-hash-policy": "xmit_hash_policy",
    "ad-select": "ad_select",
    "all-slaves-active": "all_slaves_active",
    "arp-interval": "arp_interval",
    "arp-ip-targets": "arp_ip_target",
    "arp-validate": "arp_validate",
    "arp-all-targets": "arp_all_targets",
    "up-delay": "updelay",
    "down-delay": "downdelay",
    "fail-over-mac-policy": "fail_over_mac",
    "gratuitous-arp": "num_grat_arp",
    "gratuitious-arp": "num_grat_arp",
    "packets-per-slave": "packets_per_slave",
    "primary": "primary",
    "primary-reselect-policy": "primary_reselect",
    "learn-packet-interval": "lp_interval",
    "resend-igmp": "resend_igmp",
}
_BRIDGE_NAMES = {
    "ageing-time": "ageing_time",
    "priority": "priority",
    "forward-delay": "forward_delay",
    "hello-time": "hello_time",
    "max-age": "max_age",
    "stp": "stp_state",
    "path-cost": "path_cost",
    "port-priority": "port_priority",
}


def _of_members(names: dict[str, str]) -> Record:
    parameters = Record(keys={name: Key(shape=SHAPES[kernels]) for name, kernels in names.items()})
    members = Key(shape=Listing(LINK_NAME), doc="its members")
    return Record(keys={**_COMMON, "interfaces": members, "parameters": Key(shape=parameters)})


_KINDS: dict[str, Record] = {
    "ethernets": Record(
        keys={
            **_COMMON,
            "match": Key(shape=_MATCH),
            "set-name": Key(shape=LINK_NAME),
            "wakeonlan": Key(ignored="the card's own setting stays"),
        }
    ),
    "bonds": _of_members(_BOND_NAMES),
    "bridges": _of_members(_BRIDGE_NAMES),
    "vlans": Record(
        keys={
            **_COMMON,
            "id": Key(shape=Integer(most=4094), required=True),
            "link": Key(shape=LINK_NAME, required=True),
        }
    ),
}
_OTHERS = ("wifis", "tunnels", "vrfs", "dummy-devices", "modems", "nm-devices", "openvswitch")
NETWORK2 = Record(
    what="a map with `version: 2`",
    keys={
        "version": Key(shape=Integer(least=2, most=2), required=True),
        "renderer": Key(shape=Choice(("networkd", "NetworkManager"))),
        **{kind: Key(shape=Named(value=record, name=LINK_NAME)) for kind, record in _KINDS.items()},
        **{name: Key(ignored="Berth sets up Ethernet, bonds, bridges and VLANs") for name in _OTHERS},
    },
)


def compile_v2(node: Mapping, path: str, report: Report) -> Network:
    """Return the links of `{version: 2, ethernets: …}`."""
    fields = NETWORK2.read(node, path, report)
    if fields is INVALID:
        return Network()
    described = [(kind, name, each) for kind in _KINDS for name, each in fields.get(kind, {}).items()]
    links = tuple(_link(kind, name, each, report) for kind, name, each in described)
    # What others name is the ID; what the kernel calls a link may be another name, by `set-name`.
    called = {name: link.name for (_, name, _), link in zip(described, links, strict=True)}
    links = tuple(_with_names(link, called) for link in links)
    _check(described, report)
    return Network(default_dhcp=False, links=links)


def _link(kind: str, name: str, fields: Fields, report: Report) -> Link:
    match = fields.get("match")
    found = (match.get("macaddress"), match.get("name")) if match is not None else (None, None)
    set_name = fields.get("set-name")
    if set_name is not None and match is None:
        report.error(fields.place("set-name"), fields.below("set-name"), "`set-name` needs a `match`", code="value")
    nameservers = fields.get("nameservers")
    return Link(
        name=set_name or name,
        kind={"ethernets": "physical", "bonds": "bond", "bridges": "bridge", "vlans": "vlan"}[kind],
        match_mac=found[0],
        match_name=found[1],
        rename=set_name is not None,
        mac=fields.get("macaddress"),
        mtu=fields.get("mtu"),
        dhcp4=fields.get("dhcp4", False),
        dhcp6=fields.get("dhcp6", False),
        accept_ra=fields.get("accept-ra"),
        addresses=fields.get("addresses", ()),
        routes=_routes(fields, report),
        nameservers=nameservers.get("addresses", ()) if nameservers is not None else (),
        search=nameservers.get("search", ()) if nameservers is not None else (),
        optional=fields.get("optional", False),
        members=fields.get("interfaces", ()),
        parameters=_parameters(kind, fields, report),
        vlan_id=fields.get("id"),
        vlan_link=fields.get("link"),
    )


def _with_names(link: Link, called: dict[str, str]) -> Link:
    parameters = tuple((name, _port_name(text, called)) for name, text in link.parameters)
    return replace(
        link,
        members=tuple(called.get(member, member) for member in link.members),
        vlan_link=called.get(link.vlan_link, link.vlan_link) if link.vlan_link is not None else None,
        parameters=parameters,
    )


def _port_name(text: str, called: dict[str, str]) -> str:
    """Change the name in `PORT VALUE`, or in a value that is a port alone (a bond's `primary`)."""
    port, blank, rest = text.partition(" ")
    return f"{called.get(port, port)}{blank}{rest}"


def _routes(fields: Fields, report: Report) -> tuple[Route, ...]:
    routes = []
    for key in ("gateway4", "gateway6"):
        gateway = fields.get(key)
        if gateway is not None:
            routes.append(Route(to=default_route(gateway), via=gateway))
    for each in fields.get("routes", ()):
        if "to" not in each:
            continue
        via = each.get("via")
        word = each.get("to")
        to = default_route(via or "") if word == "default" else network(word)
        if to is None:
            report.error(each.place("to"), each.below("to"), "not a network, nor `default`", code="value")
        elif via is None and not each.get("on-link"):
            report.error(each.node.place, each.path, "the key `via` is missing", code="missing")
        elif via is not None and default_route(via) != default_route(to):
            report.error(each.place("via"), each.below("via"), OTHER_FAMILY, code="value")
        else:
            routes.append(Route(to=to, via=via, metric=each.get("metric"), on_link=each.get("on-link", False)))
    return tuple(routes)


def _parameters(kind: str, fields: Fields, report: Report) -> tuple[tuple[str, str], ...]:
    """Return parameters by the kernel's names; a map by port becomes `path_cost` = `PORT VALUE`."""
    values = fields.get("parameters")
    if values is None:
        return ()
    names = _BOND_NAMES if kind == "bonds" else _BRIDGE_NAMES
    members = fields.get("interfaces", ())
    return tuple(
        pair
        for name in values
        for pair in pairs(names[name], values.get(name), members, (values.node.get(name), values.below(name), report))
    )


def _check(described: list[tuple[str, str, Fields]], report: Report) -> None:
    """Report members and links that nobody describes; a member that is only named is a physical interface."""
    known = {name for _, name, _ in described} | {each.get("set-name") for _, _, each in described} - {None}
    for kind, name, each in described:
        others = known - {name}
        check_members(each, "interfaces", others, report)
        if kind == "vlans" and "link" in each and each.get("link") not in others:
            close = nearest(each.get("link"), others)
            hint = f"did you mean {shown(close)}?" if close else None
            message = "there is no interface of this name"
            report.error(each.place("link"), each.below("link"), message, hint=hint, code="value")
