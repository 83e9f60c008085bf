"""Bond and bridge parameters as the files to write below `/sys/class/net`."""

from __future__ import annotations

from init.formats.linkparameters import BOND, BRIDGE, BRIDGE_PORT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.formats.machine import Link

_FIRST = ("mode", "miimon")  # the others are refused while the mode doesn't know them
_TRUTH = {"true": "1", "yes": "1", "on": "1", "false": "0", "no": "0", "off": "0"}


def texts(link: Link, called: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the link's own files with what to write, in order, and a sentence for each that can't be written.

    `called` is what the kernel calls the links of the configuration.
    """
    found: list[tuple[str, str, str]] = []
    problems = []
    for name, value in link.parameters:
        text = _TRUTH.get(value.lower(), value)
        if link.kind == "bond" and name in BOND:
            path = f"/sys/class/net/{link.name}/bonding/{name}"
            found += [(name, path, each) for each in _bond_values(name, text, called)]
        elif link.kind == "bridge" and name in BRIDGE and text.isdecimal():
            found.append((name, f"/sys/class/net/{link.name}/bridge/{name}", str(int(text) * BRIDGE[name])))
        elif link.kind != "bridge" or name not in BRIDGE_PORT:
            problems.append(f"network: {link.name}: {link.kind} parameter {name} can't be acted on")
    found.sort(key=lambda item: _FIRST.index(item[0]) if item[0] in _FIRST else len(_FIRST))
    return [(path, text) for _, path, text in found], problems


def port_texts(link: Link, called: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the files of a bridge's ports, for when they are in it: `path_cost` is `PORT VALUE`."""
    found = []
    for name, value in link.parameters:
        port, _, text = value.partition(" ")
        if link.kind == "bridge" and name in BRIDGE_PORT:
            found.append((f"/sys/class/net/{called.get(port, port)}/brport/{BRIDGE_PORT[name]}", text.strip()))
    return found


def _bond_values(name: str, text: str, called: Mapping[str, str]) -> list[str]:
    if name == "arp_ip_target":  # one at a time, each added
        return [f"+{address}" for address in text.replace(",", " ").split()]
    return [called.get(text, text)] if name == "primary" else [text]
