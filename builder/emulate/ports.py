"""Which ports of this computer lead into the guest: those asked for, else those that its configuration publishes."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from builder.emulate.options import Forward
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PUBLISHED = re.compile(r"^(?:[\d.]+:|\[[\da-fA-F:]+\]:)?(?:(\d+):)?(\d+)(?:/(tcp|udp))?$")


def published(document: Mapping[str, Any]) -> tuple[Forward, ...]:
    """Return the ports that the containers of a machine document publish. What can't be read here is left out.

    The document is a `#cloud-config` with a `berth` key, a `#berth` one, or a recipe's machine half.
    """
    own = document.get("berth")
    containers = (own if isinstance(own, dict) else document).get("containers")
    found: dict[tuple[int, str], Forward] = {}
    for container in containers.values() if isinstance(containers, dict) else ():
        ports = container.get("ports") if isinstance(container, dict) else None
        for port in ports if isinstance(ports, list) else ():
            forward = _port(port)
            if forward is not None:
                found[forward.guest, forward.protocol] = forward
    return tuple(found[key] for key in sorted(found))


def _port(value: object) -> Forward | None:
    """Read one of Compose's forms: `8080:80`, `8080:80/udp`, or the long one."""
    if isinstance(value, dict):
        value = f"{value.get('published', '')}:{value.get('target', '')}/{value.get('protocol', 'tcp')}"
    match = _PUBLISHED.match(str(value))
    if match is None or match[1] is None or not 0 < int(match[1]) <= 65535:
        return None
    return Forward(host=int(match[1]), guest=int(match[1]), protocol=match[3] or "tcp")


def in_text(text: str) -> tuple[Forward, ...]:
    """Return the ports that a machine config publishes, none where it is not YAML: the machine says what is wrong."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return ()
    return published(document) if isinstance(document, dict) else ()


def available(forwards: Iterable[Forward], *, exact: bool) -> tuple[tuple[Forward, ...], list[str]]:
    """Return the forwards with ports that are free now, and a sentence about each that had to move.

    With `exact` a taken port is a UsageError, unless it was asked for as 0.
    """
    chosen: list[Forward] = []
    moved: list[str] = []
    for forward in forwards:
        host = free_port(forward.host, forward.protocol)
        if host is None:
            if exact:
                raise UsageError(
                    f"port {forward.host} of this computer is taken",
                    hint=f"take another one, or --forward 0:{forward.guest} for any that is free",
                )
            host = free_port(0, forward.protocol)
            moved.append(f"port {forward.host} of this computer is taken: {host} leads to the guest's {forward.guest}")
        chosen.append(replace(forward, host=host or 0))
    return tuple(chosen), moved


def free_port(wanted: int, protocol: str) -> int | None:
    """Return `wanted` if a program may listen on it now (0: any free one), else None."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if protocol == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return None
        port: int = probe.getsockname()[1]
        return port
