"""Which ports of this computer lead into the guest: those asked for, else those that its configuration publishes."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.emulate.options import Forward
from builder.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from init.formats.machine import Machine


def of_machine(machine: Machine) -> tuple[Forward, ...]:
    """Return a forward for each port that a machine's containers publish: the same number on this computer."""
    found = {
        (port.host, port.protocol): Forward(host=port.host, guest=port.host, protocol=port.protocol)
        for container in machine.containers
        for port in container.ports
    }
    return tuple(found[key] for key in sorted(found))


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
