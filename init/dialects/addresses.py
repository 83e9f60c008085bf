"""Addresses, prefixes, MACs and routes, as both versions of network configuration write them."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.position import Node
from init.dialects.shape import INVALID, Custom, Integer, Text, wrong

_ABSOLUTE = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")


def _mac(node: Node, path: str, report: Report) -> Any:
    text = Text(what="a MAC address").read(node, path, report)
    if text is INVALID:
        return INVALID
    plain = text.replace("-", ":")
    if not _ABSOLUTE.fullmatch(plain):
        return wrong("expected a MAC address such as 52:54:00:12:34:56", node, path, report)
    return plain.lower()


def _address(node: Node, path: str, report: Report) -> Any:
    text = Text(what="an address").read(node, path, report)
    if text is INVALID:
        return INVALID
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return wrong("not an IP address", node, path, report)


def _cidr(node: Node, path: str, report: Report) -> Any:
    text = Text(what="an address with its prefix").read(node, path, report)
    if text is INVALID:
        return INVALID
    if "/" not in text:
        return wrong("the prefix is missing", node, path, report, hint="write 192.0.2.10/24")
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError:
        return wrong("not an address with its prefix, such as 192.0.2.10/24", node, path, report)


OTHER_FAMILY = "this address is of the other family: IPv4 goes through IPv4, IPv6 through IPv6"


def _of_family(version: int) -> Custom:
    def read(node: Node, path: str, report: Report) -> Any:
        text = _address(node, path, report)
        if text is INVALID or ipaddress.ip_address(text).version == version:
            return text
        return wrong(f"expected an address of IPv{version}", node, path, report)

    return Custom(read, {"type": "string"})


MAC = Custom(_mac, {"type": "string"})
ADDRESS = Custom(_address, {"type": "string"})
ADDRESS4, ADDRESS6 = _of_family(4), _of_family(6)
CIDR = Custom(_cidr, {"type": "string"})
MTU = Integer(least=68, most=65536, what="an MTU")
METRIC = Integer(most=2**32 - 1, what="a metric")
LINK_NAME = Text(what="the name of an interface, at most 15 letters", pattern=r"[^\s/:]{1,15}")
DOMAIN = Text(what="a domain", pattern=r"[A-Za-z0-9_.-]+")


def network(text: str, netmask: str | None = None) -> str | None:
    """Return a destination as CIDR; `default`, a missing prefix and a netmask beside it are understood."""
    if text in ("default", "default4"):
        return "0.0.0.0/0"
    if text == "default6":
        return "::/0"
    try:
        if "/" in text or netmask is None:
            return str(ipaddress.ip_network(text, strict=False))
        prefix = prefix_of(netmask)
        return None if prefix is None else str(ipaddress.ip_network(f"{text}/{prefix}", strict=False))
    except ValueError:
        return None


def interface(text: str, netmask: str | None) -> str | None:
    """Return an address with its prefix; without any, the whole length is meant."""
    try:
        if "/" in text or netmask is None:
            return str(ipaddress.ip_interface(text))
        prefix = prefix_of(netmask)
        return None if prefix is None else str(ipaddress.ip_interface(f"{text}/{prefix}"))
    except ValueError:
        return None


def prefix_of(netmask: str) -> int | None:
    """Return the length of a netmask such as 255.255.255.0, `ffff::` or 24."""
    if netmask.isdecimal():
        return int(netmask) if int(netmask) <= 128 else None
    try:
        address = ipaddress.ip_address(netmask)
    except ValueError:
        return None
    bits = bin(int(address))[2:].zfill(address.max_prefixlen)
    ones = len(bits.rstrip("0"))
    return ones if "0" not in bits[:ones] else None


def holds(address: str, gateway: str) -> bool:
    """Tell whether the network of an address with its prefix holds a gateway, of the same family."""
    return ipaddress.ip_address(gateway) in ipaddress.ip_interface(address).network


def default_route(gateway: str) -> str:
    """Return the default destination of a gateway's family."""
    return "::/0" if ":" in gateway else "0.0.0.0/0"
