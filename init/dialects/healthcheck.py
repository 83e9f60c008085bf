"""`healthcheck` of a container: Compose's `test`, and Berth's own `http` and `tcp`."""

from __future__ import annotations

from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.position import Node, Scalar, is_null
from init.dialects.record import Key, Record
from init.dialects.shape import INVALID, Boolean, Custom, Duration, Integer, Listing, Text, wrong
from init.formats.machine import HealthCheck


def _test(node: Node, path: str, report: Report) -> Any:
    """`healthcheck.test`: text for the shell, or a list that begins with CMD, CMD-SHELL or NONE."""
    if isinstance(node, Scalar):
        text = Text(empty=False).read(node, path, report)
        return text if text is INVALID else ("/bin/sh", "-c", text)
    items = Listing(Text()).read(node, path, report)
    if items is INVALID:
        return INVALID
    if items[:1] == ("NONE",):
        return ()
    if items[:1] == ("CMD-SHELL",) and len(items) == 2:
        return ("/bin/sh", "-c", items[1])
    if items[:1] == ("CMD",) and len(items) > 1:
        return items[1:]
    return wrong("expected a list that begins with CMD, CMD-SHELL or NONE", node, path, report)


HEALTHCHECK = Record(
    what="a map with `http`, `tcp` or `test`",
    keys={
        "http": Key(
            shape=Text(what="a URL", pattern=r"https?://[^\s/]+(/\S*)?"),
            doc="healthy when this answers 2xx or 3xx, asked inside the container's network",
        ),
        "tcp": Key(shape=Text(what="HOST:PORT", pattern=r"\S+:[0-9]{1,5}"), doc="healthy when this takes a connection"),
        "test": Key(shape=Custom(_test), doc="healthy when this command in the container ends with 0"),
        "interval": Key(shape=Duration(least=1), doc="time between two checks; 30s"),
        "timeout": Key(shape=Duration(least=0.1), doc="time that a check may take; 30s"),
        "retries": Key(shape=Integer(least=1, most=1000), doc="failures in a row that make it unhealthy; 3"),
        "start_period": Key(shape=Duration(), doc="time at the start in which failures do not count"),
        "start_interval": Key(ignored="checks come at `interval` from the start"),
        "disable": Key(shape=Boolean(), doc="no health check"),
    },
    extensions=True,
)


def read_healthcheck(node: Node, path: str, report: Report) -> Any:
    """Return the check, None where it is switched off, INVALID after an error."""
    fields = HEALTHCHECK.read(node, path, report)
    if fields is INVALID or fields.get("disable"):
        return INVALID if fields is INVALID else None
    given = [name for name in ("http", "tcp", "test") if (each := fields.node.get(name)) and not is_null(each)]
    if len(given) == 1 and given[0] not in fields:
        return INVALID
    if len(given) != 1:
        return wrong("expected exactly one of `http`, `tcp` and `test`", node, path, report)
    if fields.get("test") == ():
        return None
    return HealthCheck(
        http=fields.get("http"),
        tcp=fields.get("tcp"),
        test=fields.get("test", ()),
        interval=fields.get("interval", 30.0),
        timeout=fields.get("timeout", 30.0),
        retries=fields.get("retries", 3),
        start_period=fields.get("start_period", 0.0),
    )
