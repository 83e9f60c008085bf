"""What a person asks of an emulated machine."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from builder.errors import UsageError
from init.formats.events import EVENTS


@dataclass(frozen=True, kw_only=True, slots=True)
class Forward:
    """A port of this computer that leads to one of the guest. `host` 0 takes any free one."""

    host: int
    guest: int
    protocol: str = "tcp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Until:
    """The event to wait for, and whose (`container.healthy:web`); `name` None is anybody's."""

    event: str
    name: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """All options of `berth run`.

    `image` is an ISO, a raw or qcow2 disk, a bundle, or the folder of a build's output. `memory` is in MiB,
    `timeout` in seconds (None: 300 where `until` is given, else no end).
    `config` is handed over on a NoCloud disk as it is. `forwards` None means what the config publishes.
    `direct` skips firmware and GRUB. `cmdline` is added to the kernel's (direct boots alone).
    """

    image: Path
    config: bytes | None = None
    firmware: str = "bios"  # or `uefi`
    media: str = "cd"  # or `disk`: how an ISO is attached
    disk: Path | None = None
    memory: int = 1024
    cpus: int = 2
    forwards: tuple[Forward, ...] | None = None
    until: Until | None = None
    timeout: float | None = None
    json: bool = False
    print_command: bool = False
    direct: bool = False
    cmdline: tuple[str, ...] = ()


def parse_forward(text: str) -> Forward:
    """Read `H:G` or `H:G/udp`. Raises UsageError."""
    match = re.fullmatch(r"(\d{1,5}):(\d{1,5})(?:/(tcp|udp))?", text)
    if match is None or int(match[1]) > 65535 or not 0 < int(match[2]) <= 65535:
        raise UsageError(f"--forward {text}: not a pair of ports", hint="write HOST:GUEST, as in 8080:80")
    return Forward(host=int(match[1]), guest=int(match[2]), protocol=match[3] or "tcp")


def parse_until(text: str) -> Until:
    """Read `EVENT` or `EVENT:NAME`. Raises UsageError."""
    event, colon, name = text.partition(":")
    if not re.fullmatch(r"[a-z]+\.[a-z]+", event) or (colon and not name):
        raise UsageError(f"--until {text}: not an event", hint="write EVENT or EVENT:NAME, as in container.healthy:web")
    if event not in EVENTS:
        close = difflib.get_close_matches(event, EVENTS, n=1)
        known = f"did you mean {close[0]}?" if close else f"there are: {', '.join(EVENTS)}"
        raise UsageError(f"--until {text}: no event has this name", hint=known)
    return Until(event=event, name=name or None)
