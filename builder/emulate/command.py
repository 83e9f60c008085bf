"""QEMU's argument list for a guest: a pure function of a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from init.formats import events

if TYPE_CHECKING:
    from pathlib import Path

    from builder.emulate.options import Forward

TERMINAL = -1  # instead of a descriptor: the console is this terminal


@dataclass(frozen=True, kw_only=True, slots=True)
class Drive:
    """A disk or CD. `bus` is one of BUSES. `throwaway` keeps what the guest writes in a file that vanishes."""

    path: Path
    format: str = "raw"
    bus: str = "virtio"
    read_only: bool = False
    throwaway: bool = False
    boot_index: int | None = None
    serial: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class DirectKernel:
    """A kernel that QEMU loads itself, without firmware's or GRUB's help."""

    kernel: Path
    initramfs: Path
    cmdline: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Firmware:
    """UEFI's two flash images: its code, and the variables that this guest alone writes."""

    code: Path
    variables: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Guest:
    """One machine. `memory` is in MiB.

    `console`, `events` and `control` are descriptors of sockets that QEMU inherits (None: absent).
    """

    accelerator: tuple[str, ...]
    memory: int
    cpus: int
    data: tuple[Path, ...]  # where QEMU finds its firmware
    drives: tuple[Drive, ...] = ()
    firmware: Firmware | None = None  # None: BIOS
    direct: DirectKernel | None = None
    forwards: tuple[Forward, ...] = ()
    nic: str = "virtio-net-pci"  # "" for none
    watchdog: str = "i6300esb"  # "" for none but the chipset's own
    serial: bool = True  # False: no serial port, so that the console is the screen alone
    console: int | None = None  # or TERMINAL
    events: int | None = None
    control: int | None = None
    reboots: bool = True
    extra: tuple[str, ...] = ()


# How a drive of each bus hangs on q35, whose SATA controller `ide` has six ports.
BUSES = {
    "virtio": "virtio-blk-pci",
    "cd": "ide-cd",
    "ahci": "ide-hd",
    "usb": "usb-storage,bus=xhci.0",
    "nvme": "nvme",
    "scsi": "scsi-hd,bus=scsi.0",
    "usb-cd": "usb-storage,bus=xhci.0,removable=on",
    "lsi": "scsi-hd,bus=lsi.0",
    "sas": "scsi-hd,bus=sas.0",
}
CONTROLLERS = {
    "usb": "qemu-xhci,id=xhci",
    "usb-cd": "qemu-xhci,id=xhci",
    "scsi": "virtio-scsi-pci,id=scsi",
    "lsi": "lsi53c895a,id=lsi",
    "sas": "megasas,id=sas",
}


def arguments(guest: Guest) -> list[str]:
    """Return the arguments, without the program's own name."""
    result = ["-nodefaults", "-machine", "q35", *guest.accelerator]
    result += ["-m", str(guest.memory), "-smp", str(guest.cpus), "-display", "none"]
    for folder in guest.data:
        result += ["-L", str(folder)]
    if not guest.reboots:
        result += ["-no-reboot"]
    result += _firmware(guest) + _controllers(guest)
    for number, drive in enumerate(guest.drives):
        result += _drive(number, drive)
    result += _network(guest) + _channels(guest)
    if guest.watchdog:
        result += ["-device", guest.watchdog]
    # A source of randomness, so that keys are made at once.
    result += ["-action", "watchdog=reset", "-device", "virtio-rng-pci"]
    return [*result, *guest.extra]


def quoted(path: Path | str) -> str:
    """Return a value for one of QEMU's comma-separated options: a comma is written twice."""
    return str(path).replace(",", ",,")


def _firmware(guest: Guest) -> list[str]:
    if guest.direct is not None:
        direct = guest.direct
        return ["-kernel", str(direct.kernel), "-initrd", str(direct.initramfs), "-append", direct.cmdline]
    if guest.firmware is None:
        return []
    return [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={quoted(guest.firmware.code)}",
        "-drive", f"if=pflash,unit=1,format=raw,file={quoted(guest.firmware.variables)}",
    ]  # fmt: skip


def _controllers(guest: Guest) -> list[str]:
    wanted = dict.fromkeys(CONTROLLERS[drive.bus] for drive in guest.drives if drive.bus in CONTROLLERS)
    return [word for controller in wanted for word in ("-device", controller)]


def _drive(number: int, drive: Drive) -> list[str]:
    name = f"disk{number}"
    options = f"if=none,id={name},format={drive.format},file={quoted(drive.path)}"
    if drive.throwaway or (drive.read_only and drive.bus == "ahci"):  # SATA knows no read-only disk
        options += ",snapshot=on"
    elif drive.read_only or drive.bus == "cd":
        options += ",readonly=on"
    if drive.bus in ("cd", "usb-cd"):
        options += ",media=cdrom"
    device = f"{BUSES[drive.bus]},drive={name}"
    serial = drive.serial or (f"berth{number}" if drive.bus == "nvme" else "")  # NVMe insists on one
    if serial:
        device += f",serial={quoted(serial)}"
    if drive.boot_index is not None:
        device += f",bootindex={drive.boot_index}"
    return ["-drive", options, "-device", device]


def _network(guest: Guest) -> list[str]:
    if not guest.nic:
        return []
    net = "user,id=net0"
    for forward in guest.forwards:
        net += f",hostfwd={forward.protocol}:127.0.0.1:{forward.host}-:{forward.guest}"
    # Without its boot ROM a card can't try to boot from the network, which costs seconds.
    return ["-netdev", net, "-device", f"{guest.nic},netdev=net0,romfile="]


def _channels(guest: Guest) -> list[str]:
    result: list[str] = []
    if not guest.serial:
        pass
    elif guest.console == TERMINAL:
        # `signal=off`: Ctrl-C goes to the guest; `mux`: Ctrl-A X ends, Ctrl-A C is QEMU's monitor.
        result += ["-chardev", "stdio,id=console,mux=on,signal=off", "-mon", "chardev=console,mode=readline"]
        result += ["-serial", "chardev:console"]
    elif guest.console is not None:
        result += ["-chardev", f"socket,id=console,fd={guest.console}", "-serial", "chardev:console"]
    if guest.control is not None:
        result += ["-chardev", f"socket,id=control,fd={guest.control}", "-mon", "chardev=control,mode=control"]
    if guest.events is not None:
        result += ["-device", "virtio-serial-pci", "-chardev", f"socket,id=events,fd={guest.events}"]
        result += ["-device", f"virtserialport,chardev=events,name={events.PORT}"]
    return result
