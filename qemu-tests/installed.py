"""A disk that was installed from the ISO, once per firmware and run; whoever boots it works on an overlay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from machine import Machine
from remote import Key

from builder.emulate.command import Drive, Guest
from builder.tools.call import Tools
from init.formats import events

DISK_BYTES = 6 << 30
SERIAL = "BERTH0001"
CONFIG = """#cloud-config
hostname: box1
# Root may log in with its key.
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{key}"]}}]
berth:
  install: {{disk: only-empty, then: poweroff}}
  health: {{within: 60s, settle: 3s}}
"""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An installed disk (qcow2, not to be written), what the installation said, and the key of its root."""

    disk: Path
    iso: Path
    firmware: str
    key: Key
    events: tuple[dict[str, Any], ...]
    tools: Tools

    def overlay(self, folder: Path, name: str = "overlay") -> Path:
        """Return a disk that begins as this one."""
        path = folder / f"{name}.qcow2"
        self.tools.run(
            "qemu-img", "create", "-q", "-f", "qcow2", "-b", str(self.disk), "-F", "qcow2", str(path)
        )  # fmt: skip
        return path

    def machine(self, folder: Path, *, disk: Path | None = None, **options: Any) -> Machine:
        """Return a machine with this disk and nothing else, not yet started."""
        image = disk or self.overlay(folder)
        return Machine(image, tools=self.tools, folder=folder, disk=image, firmware=self.firmware, **options)


def blank(tools: Tools, path: Path, size: int = DISK_BYTES) -> Path:
    """Make an empty disk."""
    tools.run("qemu-img", "create", "-q", "-f", "qcow2", str(path), str(size))
    return path


def with_disks(*disks: tuple[Path, str]) -> Callable[[Guest], Guest]:
    """Return a change that adds disks (qcow2) with their serial numbers, none where that is empty."""
    drives = tuple(Drive(path=path, format="qcow2", serial=serial) for path, serial in disks)
    return lambda guest: replace(guest, drives=(*guest.drives, *drives))


def with_large_sectors(path: Path, serial: str) -> Callable[[Guest], Guest]:
    """Return a change that adds a disk whose sectors are 4 KiB."""
    sectors = "logical_block_size=4096,physical_block_size=4096"
    words = (
        "-drive", f"if=none,id=large,format=qcow2,file={path}",
        "-device", f"virtio-blk-pci,drive=large,serial={serial},{sectors}",
    )  # fmt: skip
    return lambda guest: replace(guest, extra=(*guest.extra, *words))


def is_unchanged(tools: Tools, overlay: Path, base: Path) -> bool:
    """Tell whether an overlay still begins and ends as what it lies over, to the last bit."""
    return b"identical" in tools.run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", str(overlay), str(base))


def install(iso: Path, *, tools: Tools, folder: Path, firmware: str, key: Key) -> Installed:
    """Install unattended from the ISO on a machine with one empty disk, until it has powered itself off."""
    disk = blank(tools, folder / f"installed-{firmware}.qcow2")
    config = CONFIG.format(key=key.public)
    changed = with_disks((disk, SERIAL))
    with Machine(iso, tools=tools, folder=folder, config=config, firmware=firmware, changed=changed) as machine:
        machine.wait(events.INSTALL_DONE)
        machine.wait(events.SHUTDOWN_CLEAN)
        machine.wait_until_off()
        return Installed(disk=disk, iso=iso, firmware=firmware, key=key, events=tuple(machine.seen), tools=tools)
