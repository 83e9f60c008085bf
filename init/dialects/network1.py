"""Network configuration, version 1 (cloud-init, `doc/rtd/reference/network-config-format-v1.rst` and its schema)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from init.dialects.addresses import (
    ADDRESS,
    DOMAIN,
    LINK_NAME,
    MAC,
    METRIC,
    MTU,
    OTHER_FAMILY,
    default_route,
    holds,
    interface,
    network,
)
from init.dialects.diagnostic import Report, nearest
from init.dialects.linkparameters import SHAPES, check_members, pairs
from init.dialects.position import Mapping, Node, Scalar, Sequence, is_null, shown
from init.dialects.record import Fields, Key, Record, below
from init.dialects.shape import INVALID, Anything, Boolean, Choice, Custom, Integer, Listing, Text, expected
from init.formats.linkparameters import BOND
from init.formats.machine import Link, Network, Route

_TYPES = ("physical", "bond", "bridge", "vlan", "loopback", "infiniband", "nameserver", "route")
_DHCP = {
    "dhcp": (True, False),
    "dhcp4": (True, False),
    "dhcp6": (False, True),
    "ipv6_dhcpv6-stateful": (False, True),
    "ipv6_dhcpv6-stateless": (False, True),
}
_SUBNET_TYPES = (*_DHCP, "static", "static6", "manual", "ipv6_slaac")
_SERVERS = Listing(ADDRESS, single=True)
_ROUTE_KEYS = {
    "network": Key(shape=Text(empty=False), doc="the destination"),
    "destination": Key(shape=Text(empty=False), doc="the destination"),
    "netmask": Key(shape=Text(empty=False)),
    "prefix": Key(shape=Text(empty=False)),
    "gateway": Key(shape=ADDRESS),
    "metric": Key(shape=METRIC),
}
_SUBNET = Record(
    keys={
        "type": Key(shape=Choice(_SUBNET_TYPES), required=True),
        "control": Key(shape=Choice(("auto", "manual", "hotplug"))),
        "address": Key(shape=Text(empty=False)),
        "netmask": Key(shape=Text(empty=False)),
        "broadcast": Key(shape=Anything()),
        "gateway": Key(shape=ADDRESS),
        "metric": Key(shape=METRIC),
        "dns_nameservers": Key(shape=_SERVERS),
        "dns_search": Key(shape=Listing(DOMAIN, single=True)),
        "routes": Key(shape=Listing(Record(keys=_ROUTE_KEYS))),
        "ipv4": Key(shape=Anything()),
        "ipv6": Key(shape=Anything()),
        "mtu": Key(shape=MTU),
    }
)
_COMMON = {
    "type": Key(shape=Choice(_TYPES), required=True),
    "name": Key(shape=LINK_NAME, required=True),
    "mac_address": Key(shape=MAC),
    "mtu": Key(shape=MTU),
    "subnets": Key(shape=Listing(_SUBNET)),
    "accept-ra": Key(shape=Boolean(words=True)),
    "keep_configuration": Key(ignored="the interface keeps what this configuration says"),
}
BOND_NAMES = {name: name for name in sorted(BOND)}
BRIDGE_NAMES = {
    "ageing": "ageing_time",
    "bridgeprio": "priority",
    "fd": "forward_delay",
    "hello": "hello_time",
    "maxage": "max_age",
    "stp": "stp_state",
    "pathcost": "path_cost",
    "portprio": "port_priority",
}
_BRIDGE_IGNORED = ("gcint", "hw", "maxwait", "ports", "waitport")
_BOND_IGNORED = ("slaves", "active_slave", "queue_id")


def _params(names: dict[str, str], prefix: str) -> Custom:
    """A map of parameters, which `_parameters` reads: hyphens and underscores are one, and so is a missing prefix."""
    properties = {f"{prefix}{name}": SHAPES[kernels].schema() for name, kernels in names.items()}
    return Custom(Anything().read, {"type": "object", "properties": properties})


_RECORDS = {
    "physical": Record(keys=_COMMON),
    "infiniband": Record(keys=_COMMON),
    "loopback": Record(keys=_COMMON),
    "bond": Record(
        keys={
            **_COMMON,
            "params": Key(shape=_params(BOND_NAMES, "bond-")),
            "bond_interfaces": Key(shape=Listing(LINK_NAME), required=True),
        }
    ),
    "bridge": Record(
        keys={
            **_COMMON,
            "params": Key(shape=_params(BRIDGE_NAMES, "bridge_")),
            "bridge_interfaces": Key(shape=Listing(LINK_NAME), required=True),
        }
    ),
    "vlan": Record(
        keys={
            **_COMMON,
            "vlan_link": Key(shape=LINK_NAME, required=True),
            "vlan_id": Key(shape=Integer(most=4094), required=True),
        }
    ),
    "nameserver": Record(
        keys={
            "type": _COMMON["type"],
            "address": Key(shape=_SERVERS, required=True),
            "search": Key(shape=Listing(DOMAIN, single=True)),
            "interface": Key(shape=LINK_NAME),
        }
    ),
    "route": Record(keys={"type": _COMMON["type"], **_ROUTE_KEYS}),
}


def schema_v1() -> dict[str, Any]:
    """Return the JSON schema of version 1: each item of the list has the keys of its `type`."""
    items = []
    for kind, record in _RECORDS.items():
        item = record.schema()
        items.append({**item, "properties": {**item["properties"], "type": {"const": kind}}})
    return {
        "type": "object",
        "properties": {"version": {"const": 1}, "config": {"type": "array", "items": {"anyOf": items}}},
        "required": ["version", "config"],
        "additionalProperties": False,
    }


def compile_v1(node: Mapping, path: str, report: Report) -> Network:
    """Return the links of `{version: 1, config: […]}`."""
    config = node.get("config")
    here = below(path, "config")
    if isinstance(config, Scalar) and config.text == "disabled":
        return Network(default_dhcp=False)
    if not isinstance(config, Sequence):
        expected("a list", config or node, here, report)
        return Network()
    links: list[Link] = []
    servers: list[tuple[Fields, str]] = []
    routes: list[tuple[Fields, str]] = []
    described: list[Fields] = []
    for index, item in enumerate(config.items):
        where = f"{here}[{index}]"
        record = _record_of(item, where, report)
        fields = INVALID if record is None else record.read(item, where, report)
        if fields is INVALID:
            continue
        name = fields.get("type")
        if name == "nameserver":
            servers.append((fields, where))
        elif name == "route":
            routes.append((fields, where))
        elif "name" in fields:
            described.append(fields)
            links.append(_link(fields, where, report))
    _check(described, report)
    return _with_globals(links, servers, routes, report)


def _check(described: list[Fields], report: Report) -> None:
    """Report what names an interface that no item describes; to cloud-init a member that is only named is a card."""
    known = {each.get("name") for each in described}
    for each in described:
        others = known - {each.get("name")}
        for key in ("bond_interfaces", "bridge_interfaces"):
            check_members(each, key, others, report)
        if "vlan_link" in each and each.get("vlan_link") not in others:
            close = nearest(each.get("vlan_link"), others)
            hint = f"did you mean {shown(close)}?" if close else None
            message = "there is no interface of this name"
            report.error(each.place("vlan_link"), each.below("vlan_link"), message, hint=hint, code="value")


def _record_of(item: Node, path: str, report: Report) -> Record | None:
    """Return the keys that an item may have; without its type nothing can be said of them."""
    if not isinstance(item, Mapping):
        expected("a map", item, path, report)
        return None
    kind, here = item.get("type"), below(path, "type")
    if kind is None:
        report.error(item.place, here, "the key `type` is missing", code="missing")
        return None
    name = _COMMON["type"].shape.read(kind, here, report)
    return None if name is INVALID else _RECORDS[name]


def _link(fields: Fields, path: str, report: Report) -> Link:
    kind = {"infiniband": "physical", "loopback": "physical"}.get(fields.get("type"), fields.get("type"))
    mac = fields.get("mac_address")
    physical = kind == "physical"
    link = Link(
        name=fields.get("name"),
        kind=kind,
        match_mac=mac if physical else None,
        rename=physical and mac is not None,
        mac=None if physical else mac,
        mtu=fields.get("mtu"),
        accept_ra=fields.get("accept-ra"),
        members=fields.get("bond_interfaces", fields.get("bridge_interfaces", ())),
        parameters=_parameters(fields, path, report),
        vlan_id=fields.get("vlan_id"),
        vlan_link=fields.get("vlan_link"),
    )
    for index, subnet in enumerate(fields.get("subnets", ())):
        link = _with_subnet(link, subnet, f"{path}.subnets[{index}]", report)
    return link


def _with_subnet(link: Link, subnet: Fields, path: str, report: Report) -> Link:
    kind = subnet.get("type")
    if subnet.get("control") == "manual":
        report.warn(
            subnet.place("control"), below(path, "control"), "`control: manual` is not acted on: all interfaces come up"
        )
    dhcp4, dhcp6 = _DHCP.get(kind, (False, False))
    addresses: tuple[str, ...] = ()
    if "address" in subnet and kind in ("static", "static6"):
        address = interface(subnet.get("address"), subnet.get("netmask"))
        if address is None:
            report.error(
                subnet.place("address"),
                below(path, "address"),
                "not an IP address with a prefix or netmask",
                code="value",
            )
        else:
            addresses = (address,)
    elif kind in ("static", "static6"):
        report.error(subnet.node.place, path, "the key `address` is missing", code="missing")
    routes = tuple(route for each in subnet.get("routes", ()) if (route := _route(each, each.path, report)))
    gateway = subnet.get("gateway")
    if gateway is not None:
        routes = (Route(to=default_route(gateway), via=gateway, metric=subnet.get("metric")), *routes)
    return replace(
        link,
        dhcp4=link.dhcp4 or dhcp4,
        dhcp6=link.dhcp6 or dhcp6,
        accept_ra=True if kind in ("ipv6_slaac", "ipv6_dhcpv6-stateless") else link.accept_ra,
        addresses=link.addresses + addresses,
        routes=link.routes + routes,
        nameservers=link.nameservers + subnet.get("dns_nameservers", ()),
        search=link.search + subnet.get("dns_search", ()),
        mtu=subnet.get("mtu", link.mtu),
    )


def _route(fields: Fields, path: str, report: Report) -> Route | None:
    destination = fields.get("destination") or fields.get("network")
    if destination is None:
        report.error(fields.node.place, path, "the key `destination` is missing", code="missing")
        return None
    gateway = fields.get("gateway")
    to = network(destination, fields.get("netmask") or fields.get("prefix"))
    if destination == "default" and gateway is not None:
        to = default_route(gateway)
    if to is None:
        report.error(fields.node.place, path, "the destination is no network", code="value")
        return None
    if gateway is not None and default_route(gateway) != default_route(to):
        report.error(fields.place("gateway"), below(path, "gateway"), OTHER_FAMILY, code="value")
        return None
    return Route(to=to, via=gateway, metric=fields.get("metric"))


def _parameters(fields: Fields, path: str, report: Report) -> tuple[tuple[str, str], ...]:
    """Return a bond's or a bridge's parameters by the kernel's own names (below `/sys/class/net/NAME`)."""
    node = fields.get("params")
    if node is None:
        return ()
    here = below(path, "params")
    if not isinstance(node, Mapping):
        expected("a map", node, here, report)
        return ()
    bond = fields.get("type") == "bond"
    names, prefix = (BOND_NAMES, "bond") if bond else (BRIDGE_NAMES, "bridge")
    members = fields.get(f"{prefix}_interfaces", ())
    result: list[tuple[str, str]] = []
    for key, value in node.entries:
        where = below(here, key.text)
        word = key.text.replace("-", "_").removeprefix(f"{prefix}_")
        if word in names:
            found = INVALID if is_null(value) else SHAPES[names[word]].read(value, where, report)
            result += () if found is INVALID else pairs(names[word], found, members, (value, where, report))
        elif word in (_BOND_IGNORED if bond else _BRIDGE_IGNORED):
            report.warn(key.place, where, "this parameter is not acted on")
        else:
            close = nearest(key.text, [f"{prefix}{'-' if bond else '_'}{each}" for each in names])
            hint = f"did you mean {shown(close)}?" if close else None
            report.error(key.place, where, f"unknown key {shown(key.text)}", hint=hint, code="unknown-key")
    return tuple(result)


def _with_globals(
    links: list[Link], servers: list[tuple[Fields, str]], routes: list[tuple[Fields, str]], report: Report
) -> Network:
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    for fields, path in servers:
        name = fields.get("interface")
        index = next((number for number, link in enumerate(links) if link.name == name), None)
        if name is not None and index is None:
            report.error(fields.place("interface"), path, "there is no interface of this name", code="value")
        elif index is not None:
            link = links[index]
            links[index] = replace(
                link,
                nameservers=link.nameservers + fields.get("address", ()),
                search=link.search + fields.get("search", ()),
            )
        else:
            nameservers += fields.get("address", ())
            search += fields.get("search", ())
    made = [(route, fields, path) for fields, path in routes if (route := _route(fields, path, report))]
    for route, fields, path in made:
        if not links:
            report.error(fields.node.place, path, "a route without an interface", code="value")
        else:
            index = _way_of(route, links, fields, path, report)
            links[index] = replace(links[index], routes=(*links[index].routes, route))
    return Network(default_dhcp=False, links=tuple(links), nameservers=nameservers, search=search)


def _way_of(route: Route, links: list[Link], fields: Fields, path: str, report: Report) -> int:
    """Return which link a route goes through that names none: the one whose own network holds its gateway.

    Else one whose network is not known before its lease, else the first; never one that has its addresses from a bond
    or bridge above it. Where nothing fits, that is said.
    """
    if route.via is not None:
        for index, link in enumerate(links):
            if any(holds(address, route.via) for address in link.addresses):
                return index
    below = {member for link in links for member in link.members}
    free = [index for index, link in enumerate(links) if link.name not in below and link.name != "lo"]
    six = ":" in route.to
    for index in free:
        if (links[index].dhcp6 or links[index].accept_ra) if six else links[index].dhcp4:
            return index
    chosen = free[0] if free else 0
    message = "no interface's own network holds this gateway: the route goes through the first interface"
    hint = "write it under `routes` of the subnet that it belongs to"
    report.warn(fields.place("gateway"), path, message, hint=hint, code="value")
    return chosen
