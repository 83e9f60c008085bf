"""The default kernel on QEMU's models of real machines: bus, network card, firmware and keyboard, chosen pairwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from machine import Machine

from builder.emulate.command import Guest
from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One machine: where the ISO's stick or disk hangs, its network card, firmware, keyboard."""

    bus: str
    nic: str
    firmware: str
    keyboard: str = "ps2"  # or `usb`
    slow: bool = False  # in `make test-all` alone

    def change(self, guest: Guest) -> Guest:
        """Make a guest this machine."""
        extra = ("-vga", "std")
        if self.keyboard == "usb":
            if self.bus not in ("usb", "usb-cd"):
                extra += ("-device", "qemu-xhci,id=keys")
            extra += ("-device", "usb-kbd")
        drives = (replace(guest.drives[0], bus=self.bus), *guest.drives[1:])
        return replace(guest, drives=drives, nic=self.nic, extra=extra)


MODELS = (
    Model(bus="usb", nic="e1000e", firmware="bios", keyboard="usb"),
    Model(bus="ahci", nic="e1000e", firmware="uefi"),
    Model(bus="nvme", nic="virtio-net-pci", firmware="uefi", keyboard="usb"),
    Model(bus="usb", nic="virtio-net-pci", firmware="uefi", slow=True),
    Model(bus="ahci", nic="virtio-net-pci", firmware="bios", keyboard="usb", slow=True),
    Model(bus="nvme", nic="e1000e", firmware="bios", slow=True),
    Model(bus="scsi", nic="virtio-net-pci", firmware="bios", slow=True),
    Model(bus="scsi", nic="e1000e", firmware="uefi", keyboard="usb", slow=True),
    Model(bus="lsi", nic="e1000e", firmware="bios", slow=True),
    Model(bus="sas", nic="virtio-net-pci", firmware="bios", slow=True),
)


def cases() -> list[object]:
    """Return the models as parameters, the rarer ones for `make test-all`."""
    return [
        pytest.param(
            model, id=f"{model.bus}-{model.nic}-{model.firmware}", marks=[pytest.mark.slow] if model.slow else []
        )
        for model in MODELS
    ]


@pytest.mark.parametrize("model", cases())
def test_the_iso_comes_up(model: Model, built: Built, tools: Tools, tmp_path: Path) -> None:
    iso = built("minimal")["iso"]
    options = {"firmware": model.firmware, "media": "disk"}
    with Machine(iso, tools=tools, folder=tmp_path, changed=model.change, **options) as machine:
        machine.wait(events.NETWORK_UP)
        machine.wait(events.CONTAINER_HEALTHY)
        machine.power_off()
