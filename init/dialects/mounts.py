"""Ports and volumes of a container, in Compose's short and long forms."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.position import Mapping, Node
from init.dialects.record import Key, Record
from init.dialects.shape import INVALID, Anything, Boolean, Choice, Custom, Integer, Text, wrong
from init.formats.machine import Port, Volume

_MOST_PORTS = 1000  # of one range
_SHORT_PORT = re.compile(
    r"(?:(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):)?([0-9]{1,5}(?:-[0-9]{1,5})?):([0-9]{1,5}(?:-[0-9]{1,5})?)(?:/(tcp|udp))?"
)
_LONG_PORT = Record(
    extensions=True,
    keys={
        "target": Key(shape=Integer(least=1, most=65535), required=True, doc="the port in the container"),
        "published": Key(shape=Integer(least=1, most=65535), required=True, doc="the port of the machine"),
        "host_ip": Key(
            shape=Text(pattern=r"[0-9a-fA-F:.]+", what="an address"), doc="the machine's address; all by default"
        ),
        "protocol": Key(shape=Choice(("tcp", "udp")), doc="`tcp` by default"),
        "mode": Key(ignored="it belongs to a cluster"),
        "name": Key(shape=Anything()),
        "app_protocol": Key(shape=Anything()),
    },
)
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")
_OPTIONS = {
    "rw",
    "ro",
    "z",
    "Z",
    "nocopy",
    "cached",
    "delegated",
    "consistent",
    "rprivate",
    "private",
    "rshared",
    "shared",
    "rslave",
    "slave",
}
_LONG_VOLUME = Record(
    extensions=True,
    keys={
        "type": Key(shape=Choice(("bind", "volume", "tmpfs")), required=True, doc="what is mounted"),
        "source": Key(shape=Text(empty=False), doc="a path of the machine, or a volume's name"),
        "target": Key(shape=Text(pattern=r"/.*", what="an absolute path"), required=True, doc="where in the container"),
        "read_only": Key(shape=Boolean(), doc="it cannot be written"),
        "consistency": Key(shape=Anything()),
        "bind": Key(ignored="a path is mounted as it is, and made where it is missing"),
        "volume": Key(ignored="a volume is mounted whole"),
        "tmpfs": Key(ignored="a tmpfs may take half of the memory"),
        "image": Key(ignored="no image is mounted into a container"),
    },
)


def _port(node: Node, path: str, report: Report) -> Any:
    """Return the ports of one entry: a range is several."""
    if isinstance(node, Mapping):
        fields = _LONG_PORT.read(node, path, report)
        if fields is INVALID or "target" not in fields or "published" not in fields:
            return INVALID
        address = fields.get("host_ip", "")
        if address and not _is_address(address):
            return wrong("expected an address as `host_ip`, of IPv4 or IPv6 itself", node, path, report)
        return (
            Port(
                host=fields.get("published"),
                container=fields.get("target"),
                protocol=fields.get("protocol", "tcp"),
                address=_all(address),
            ),
        )
    text = Text(what="`HOST:CONTAINER`").read(node, path, report)
    if text is INVALID:
        return INVALID
    found = _SHORT_PORT.fullmatch(text)
    if not found:
        hint = 'write both ports, in quotes: "8080:80"'
        return wrong(
            "expected `HOST:CONTAINER`, with an address before and `/tcp` or `/udp` behind",
            node,
            path,
            report,
            hint=hint,
        )
    address = found[1] or found[2] or ""
    host, inside = _range(found[3]), _range(found[4])
    if host is None or inside is None or (address and not _is_address(address)):
        return wrong("expected ports from 1 to 65535 and a valid address", node, path, report)
    if len(host) != len(inside):
        return wrong("the two ranges of ports differ in length", node, path, report)
    protocol = found[5] or "tcp"
    return tuple(
        Port(host=outer, container=inner, protocol=protocol, address=_all(address))
        for outer, inner in zip(host, inside, strict=True)
    )


def _is_address(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (address.version == 6 and address.ipv4_mapped)  # no packet has one


def _all(text: str) -> str:
    """Return an address as it is written shortest, and all of them as nothing."""
    address = str(ipaddress.ip_address(text)) if text else ""
    return "" if address in ("0.0.0.0", "::") else address  # noqa: S104 - a text to compare with


def _range(text: str) -> range | None:
    first, _, last = text.partition("-")
    start, end = int(first), int(last or first)
    return range(start, end + 1) if 1 <= start <= end <= 65535 and end - start < _MOST_PORTS else None


def _volume(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Mapping):
        return _long_volume(node, path, report)
    text = Text(what="`SOURCE:TARGET`").read(node, path, report)
    if text is INVALID:
        return INVALID
    parts = text.split(":")
    if len(parts) == 1:
        return wrong("a volume without a name would be lost at each boot", node, path, report, hint="write NAME:/PATH")
    source, target = parts[0], parts[1]
    options = tuple(option for option in ":".join(parts[2:]).split(",") if option)
    unknown = [option for option in options if option not in _OPTIONS]
    if unknown or len(parts) > 3:
        return wrong(
            "an option of a mount that nobody knows", node, path, report, hint="`ro` and `rw` are the usual ones"
        )
    read_only = "ro" in options
    return _checked(
        source, target, read_only, tuple(each for each in options if each not in ("ro", "rw")), (node, path, report)
    )


def _long_volume(node: Mapping, path: str, report: Report) -> Any:
    fields = _LONG_VOLUME.read(node, path, report)
    if fields is INVALID or "type" not in fields or "target" not in fields:
        return INVALID
    if fields.get("type") == "tmpfs":
        return Volume(source="", target=fields.get("target"), read_only=False)
    source = fields.get("source", "")
    if source.startswith("/") != (fields.get("type") == "bind"):
        return wrong("a bind mount takes an absolute path as `source`, a volume a name", node, path, report)
    return _checked(source, fields.get("target"), fields.get("read_only", False), (), (node, path, report))


def _checked(
    source: str, target: str, read_only: bool, options: tuple[str, ...], where: tuple[Node, str, Report]
) -> Any:
    if source.startswith((".", "~")):
        return wrong(
            "a path of the machine has to be absolute", *where, hint="there is no folder that it could start from"
        )
    if not source.startswith("/") and not _NAME.fullmatch(source):
        return wrong("not a volume's name", *where)
    if not target.startswith("/") or ".." in target.split("/") or target.rstrip("/") == "":
        return wrong("the path in the container has to be absolute, without `..`", *where)
    if ".." in source.split("/"):
        return wrong("a path without `..`", *where)
    return Volume(source=source, target=target, read_only=read_only, options=options)


PORT = Custom(_port, {"anyOf": [{"type": "string"}, _LONG_PORT.schema()]})
VOLUME = Custom(_volume, {"anyOf": [{"type": "string"}, _LONG_VOLUME.schema()]})
