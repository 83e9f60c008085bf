"""From power-on, with firmware and GRUB: the ISO to its container, an installation, the installed disk to its own."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bench.boots import CPUS, MEMORY, PATIENCE
from builder.bench.guest import Watched, once_more
from builder.emulate.options import Options
from builder.emulate.run import prepare
from builder.errors import GuestFailed
from init.formats import events

if TYPE_CHECKING:
    from builder.tools.call import Tools

FIRMWARES = ("bios", "uefi")
# Without a way in nothing is installed; nobody has this key.
_INSTALL = b"""#berth
ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA bench]
install: {disk: only-empty, then: poweroff}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOn:
    """All in seconds. `live` and `installed` are from QEMU's start to the container's first line, from the ISO as a CD
    and from the disk; `install` is the guest's own, from the plan to the disk that is done."""

    firmware: str
    live: float
    install: float
    installed: float


def power_on(image: Path, tools: Tools, firmware: str) -> PowerOn:
    """Boot the ISO, install from it, and boot the disk. Raises GuestFailed."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        folder = Path(name)
        disk = folder / "disk.qcow2"
        iso = Options(image=image, firmware=firmware, memory=MEMORY, cpus=CPUS)
        live = _seen(iso, tools, folder, events.CONTAINER_OUTPUT)[events.CONTAINER_OUTPUT]
        marks = _seen(replace(iso, disk=disk, config=_INSTALL), tools, folder, events.INSTALL_DONE)
        begun, done = marks[events.INSTALL_PLANNED][1], marks[events.INSTALL_DONE][1]
        again = _seen(replace(iso, image=disk, disk=disk), tools, folder, events.CONTAINER_OUTPUT)
        return PowerOn(
            firmware=firmware,
            live=live[0],
            install=done - begun,
            installed=again[events.CONTAINER_OUTPUT][0],
        )


@once_more
def _seen(options: Options, tools: Tools, folder: Path, last: str) -> dict[str, tuple[float, float]]:
    """Run a machine until the event `last` came and it is off; return each event's first time: QEMU's, the kernel's."""
    guest, _ = prepare(options, tools=tools, folder=folder)
    with Watched(replace(guest, forwards=()), tools) as watched:
        ends = {last, events.INSTALL_REFUSED}
        watched.until(lambda: not ends.isdisjoint(watched.marks), timeout=PATIENCE, what=last)
        if last not in watched.marks:
            raise GuestFailed(f"the machine refused to be installed, so {last} did not come")
        watched.power_off()
        return {name: (mark.wall, mark.kernel) for name, mark in watched.marks.items() if mark.kernel is not None}
