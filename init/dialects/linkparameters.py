"""What the parameters of bonds and bridges may be, by the kernel's own names (`init.formats.linkparameters`).

Each shape gives the text that is written into the kernel's file. Source: the kernel's
`Documentation/networking/bonding.rst`, `drivers/net/bonding/bond_options.c`, `net/bridge/br_private.h` and `br_stp.c`;
netplan's reference for durations with a unit.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Any

from init.dialects.addresses import LINK_NAME, MAC
from init.dialects.diagnostic import Report, nearest
from init.dialects.position import Mapping, Node, Scalar, Sequence, shown
from init.dialects.record import Fields, below
from init.dialects.shape import INVALID, Boolean, Choice, Custom, Integer, Listing, Shape, Text, expected, wrong
from init.formats.linkparameters import BOND, BRIDGE, BRIDGE_PORT

_MOST = 2**31 - 1  # the kernel reads a C int


@dataclass(frozen=True, slots=True)
class _Word:
    """One of a few words, or its number in the kernel's order."""

    words: tuple[str, ...]

    def read(self, node: Node, path: str, report: Report) -> Any:
        """Return the word."""
        if isinstance(node, Scalar) and node.text.isdecimal() and int(node.text[:3]) < len(self.words):
            return self.words[int(node.text)]
        if isinstance(node, Scalar) and isinstance(node.value(), bool) and node.text not in self.words:
            return expected(f"one of {', '.join(f'`{word}`' for word in self.words)}", node, path, report)
        return Choice(self.words).read(node, path, report)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {
            "anyOf": [{"enum": list(self.words)}, {"type": "integer", "minimum": 0, "maximum": len(self.words) - 1}]
        }


@dataclass(frozen=True, slots=True)
class _Truth:
    """True or false, also as the words and numbers that ifupdown takes."""

    def read(self, node: Node, path: str, report: Report) -> Any:
        """Return `1` or `0`."""
        if isinstance(node, Scalar) and node.text.lower() in ("0", "1", "on", "off", "yes", "no", "true", "false"):
            return "1" if node.text.lower() in ("1", "on", "yes", "true") else "0"
        value = Boolean().read(node, path, report)
        return value if value is INVALID else str(int(value))

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {"anyOf": [{"type": "boolean"}, {"enum": ["on", "off", "yes", "no", "true", "false", 0, 1]}]}


@dataclass(frozen=True, slots=True)
class _Whole:
    """A whole number between two bounds; where it is a time, `unit` is how many ms its number stands for."""

    least: int = 0
    most: int = _MOST
    unit: int = 0

    def read(self, node: Node, path: str, report: Report) -> Any:
        """Return the number as text, in the kernel's unit."""
        number = Integer(self.least, self.most)
        timed = re.fullmatch(r"([0-9]{1,10})(ms|s)", node.text) if self.unit and isinstance(node, Scalar) else None
        if timed is None or not isinstance(node, Scalar):
            value = number.read(node, path, report)
            return value if value is INVALID else str(value)
        whole, rest = divmod(int(timed[1]) * (1000 if timed[2] == "s" else 1), self.unit)
        if rest or not self.least <= whole <= self.most:
            unit = "s" if self.unit == 1000 else "ms"
            return wrong(f"expected a whole number of {unit} from {self.least} to {self.most}", node, path, report)
        return str(whole)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        number = Integer(self.least, self.most).schema()
        timed = [{"type": "string", "pattern": "^[0-9]+(ms|s)$"}] if self.unit else []
        return {"anyOf": [number, {"type": "string", "pattern": "^[0-9]+$"}, *timed]}


def _targets(node: Node, path: str, report: Report) -> Any:
    """Up to 16 IPv4 addresses, as a list or as text with commas or blanks."""
    if isinstance(node, Scalar):
        texts: Any = tuple(node.text.replace(",", " ").split())
    else:
        texts = Listing(Text()).read(node, path, report)
    if texts is INVALID:
        return INVALID
    if not 1 <= len(texts) <= 16 or not all(_is_ipv4(each) for each in texts):
        return wrong("expected 1 to 16 IPv4 addresses", node, path, report)
    return ",".join(texts)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _OfPorts:
    """A number for each port: a map by port, or `PORT NUMBER` as text, or a list of such texts."""

    number: _Whole

    def read(self, node: Node, path: str, report: Report) -> Any:
        """Return `PORT NUMBER` texts."""
        if isinstance(node, Mapping):
            pairs = [(key.text, self.number.read(value, below(path, key.text), report)) for key, value in node.entries]
            return tuple(f"{port} {number}" for port, number in pairs if number is not INVALID)
        texts = Listing(Text(), single=True, what="`PORT NUMBER`, or a map from port to number").read(
            node, path, report
        )
        if texts is INVALID:
            return INVALID
        for each in texts:
            found = re.fullmatch(r"\S{1,15}\s+([0-9]{1,10})", each)
            if not found or not self.number.least <= int(found[1]) <= self.number.most:
                what = f"`PORT NUMBER` with a number from {self.number.least} to {self.number.most}"
                return wrong(f"expected {what}", node, path, report)
        return tuple(" ".join(each.split()) for each in texts)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        texts = [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]
        return {"anyOf": [{"type": "object", "additionalProperties": self.number.schema()}, *texts]}


_MS = _Whole(unit=1)
SHAPES: dict[str, Shape] = {
    "mode": _Word(("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")),
    "lacp_rate": _Word(("slow", "fast")),
    "xmit_hash_policy": _Word(("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac")),
    "ad_select": _Word(("stable", "bandwidth", "count")),
    "arp_validate": _Word(("none", "active", "backup", "all", "filter", "filter_active", "filter_backup")),
    "arp_all_targets": _Word(("any", "all")),
    "fail_over_mac": _Word(("none", "active", "follow")),
    "primary_reselect": _Word(("always", "better", "failure")),
    "primary": LINK_NAME,
    "arp_ip_target": Custom(_targets, {"type": ["string", "array"]}),
    "ad_actor_system": MAC,
    "all_slaves_active": _Truth(),
    "tlb_dynamic_lb": _Truth(),
    "use_carrier": _Truth(),
    "miimon": _MS,
    "updelay": _MS,
    "downdelay": _MS,
    "arp_interval": _MS,
    "peer_notif_delay": _Whole(most=300_000, unit=1),
    "lp_interval": _Whole(least=1, unit=1000),
    "min_links": _Whole(),
    "num_grat_arp": _Whole(most=255),
    "num_unsol_na": _Whole(most=255),
    "resend_igmp": _Whole(most=255),
    "packets_per_slave": _Whole(most=65535),
    "ad_actor_sys_prio": _Whole(least=1, most=65535),
    "ad_user_port_key": _Whole(most=1023),
    "stp_state": _Truth(),
    "priority": _Whole(most=65535),
    "ageing_time": _Whole(most=_MOST // 1000, unit=1000),
    "forward_delay": _Whole(most=30, unit=1000),
    "hello_time": _Whole(least=1, most=10, unit=1000),
    "max_age": _Whole(least=6, most=40, unit=1000),
    "path_cost": _OfPorts(_Whole(least=1, most=65535)),
    "port_priority": _OfPorts(_Whole(most=63)),
}
"""By the kernel's name. A forward delay below 2 s is taken where the spanning tree is off, as ifupdown writes it."""
_NAMES_PORTS = ("primary", *BRIDGE_PORT)

assert set(SHAPES) == {*BOND, *BRIDGE, *BRIDGE_PORT}


def pairs(
    name: str, value: str | tuple[str, ...], members: tuple[str, ...], where: tuple[Node, str, Report]
) -> tuple[tuple[str, str], ...]:
    """Return a parameter that was read as pairs of name and text; a port that is no member is an error."""
    texts = (value,) if isinstance(value, str) else value
    for each in texts if name in _NAMES_PORTS else ():
        port = each.partition(" ")[0]
        if port not in members:
            close = nearest(port, members)
            hint = f"did you mean {shown(close)}?" if close else None
            wrong("this names an interface that is not a member", *where, hint=hint)
    return tuple((name, each) for each in texts)


def check_members(fields: Fields, key: str, known: set[str], report: Report) -> None:
    """Warn of a member that no other entry describes: it may be a card that needs no word, or a slip."""
    members, node = fields.get(key, ()), fields.node.get(key)
    items = node.items if isinstance(node, Sequence) and len(node.items) == len(members) else ()
    for index, member in enumerate(members):
        if member not in known:
            close = nearest(member, known)
            hint = f"did you mean {shown(close)}?" if close else None
            place = items[index].place if items else fields.place(key)
            message = "no entry describes this interface: the card that the kernel calls so is meant"
            report.warn(place, f"{fields.below(key)}[{index}]", message, hint=hint, code="value")
