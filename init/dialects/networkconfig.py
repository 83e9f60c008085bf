"""Network configuration of either version, at the top of a document or below `network`."""

from __future__ import annotations

from init.dialects.diagnostic import Report
from init.dialects.network1 import compile_v1
from init.dialects.network2 import compile_v2
from init.dialects.position import Mapping, Node, Scalar, is_null
from init.dialects.record import below
from init.dialects.shape import expected
from init.formats.machine import Network


def compile_network(node: Node, path: str, report: Report) -> Network:
    """Return the network that a tree describes; after an error, what was right of it."""
    if isinstance(node, Mapping) and len(node.entries) == 1 and (inner := node.get("network")) is not None:
        node, path = inner, below(path, "network")
    if is_null(node):
        return Network()
    if not isinstance(node, Mapping):
        expected("a map with `version: 1` or `version: 2`", node, path, report)
        return Network()
    config = node.get("config")
    if isinstance(config, Scalar) and config.text == "disabled":
        return Network(default_dhcp=False)
    version = node.get("version")
    number = version.text if isinstance(version, Scalar) else ""
    if number == "1":
        for key, _ in node.entries:
            if key.text not in ("version", "config"):
                report.error(
                    key.place, below(path, key.text), "unknown key in network configuration", code="unknown-key"
                )
        return compile_v1(node, path, report)
    if number == "2":
        return compile_v2(node, path, report)
    place = version.place if version is not None else node.place
    report.error(place, below(path, "version"), "expected `version: 1` or `version: 2`", code="missing")
    return Network()
