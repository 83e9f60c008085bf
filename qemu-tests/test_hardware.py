"""The default ISO on QEMU's models of real machines: bus, network card, firmware, keyboard and screen, pairwise.

A machine has come up when its container is healthy, its screen shows the page that its serial line shows, and its
keyboard is heard.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pytest
from desk import press, status_page, type_line, wait_until_shown
from machine import Machine
from remote import Client, Login

from builder.emulate.command import Drive, Guest, quoted
from builder.tools.call import Tools
from init.formats import bootrecord, disk, events
from init.pid1.console import page

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

DEFAULT = "podman"
Built = Callable[..., dict[str, Path]]

# A screen with a driver of its own in the image; and one that only firmware has set up, as a PC's is to this image.
SCREENS = {
    ("driver", "bios"): ("-vga", "std"),
    ("driver", "uefi"): ("-vga", "std"),
    ("firmware", "bios"): ("-vga", "vmware"),  # VGA's text mode
    ("firmware", "uefi"): ("-vga", "none", "-device", "ramfb"),
}


@dataclass(frozen=True, kw_only=True)
class Model:
    """One machine: where the ISO's stick or disk hangs, its network card, firmware, keyboard and screen."""

    bus: str
    nic: str = "e1000e"
    firmware: str = "bios"
    keyboard: str = "ps2"  # or `usb`: then there is no other
    screen: str = "driver"  # or `firmware`
    bare: bool = False  # no serial port, and no watchdog in hardware
    slow: bool = True  # in `make test-all` alone

    def change(self, guest: Guest) -> Guest:
        """Make a guest this machine."""
        extra = SCREENS[self.screen, self.firmware]
        if self.keyboard == "usb":
            if self.bus != "usb":
                extra += ("-device", "qemu-xhci,id=keys")
            extra += ("-device", "usb-kbd", "-machine", "i8042=off")
        drives = (replace(guest.drives[0], bus=self.bus),)
        for stick in guest.drives[1:]:
            extra += behind_a_hub(stick)
        if self.bare:
            guest = replace(guest, serial=False, watchdog="")
        return replace(guest, drives=drives, nic=self.nic, extra=extra)


def behind_a_hub(stick: Drive) -> tuple[str, ...]:
    """Plug a stick in where the kernel finds it last: it asks the hub first, and a slow one."""
    drive = f"if=none,id=stick,format={stick.format},file={quoted(stick.path)},snapshot=on"
    where = ("-device", "qemu-xhci,id=far", "-device", "usb-hub,bus=far.0,port=1")
    return (*where, "-drive", drive, "-device", "usb-storage,bus=far.0,port=1.1,drive=stick")


VIRTIO = "virtio-net-pci"
MODELS = (
    Model(bus="usb", keyboard="usb", screen="firmware", slow=False),
    Model(bus="ahci", firmware="uefi", keyboard="usb", slow=False),
    Model(bus="nvme", firmware="uefi", screen="firmware", slow=False),
    Model(bus="scsi"),
    Model(bus="usb", nic=VIRTIO, firmware="uefi"),
    Model(bus="ahci", nic=VIRTIO, screen="firmware"),
    Model(bus="nvme", nic=VIRTIO, keyboard="usb"),
    Model(bus="scsi", nic=VIRTIO, firmware="uefi", keyboard="usb", screen="firmware"),
    Model(bus="lsi"),
    Model(bus="sas", nic=VIRTIO, keyboard="usb"),
)
BARE = Model(bus="ahci", bare=True)
RARE = ("lsi", "sas")  # controllers that are tried once, with no claim to pairs


def cases() -> list[object]:
    """Return the models as parameters, the rarer ones for `make test-all`."""
    return [
        pytest.param(model, id="-".join(astuple(model)[:5]), marks=[pytest.mark.slow] if model.slow else [])
        for model in MODELS
    ]


def test_the_models_hold_every_pair() -> None:
    models = [astuple(model)[:5] for model in MODELS if model.bus not in RARE]
    for one, other in itertools.combinations(range(5), 2):
        possible = itertools.product({model[one] for model in models}, {model[other] for model in models})
        assert set(possible) == {(model[one], model[other]) for model in models}


@pytest.mark.parametrize("model", cases())
def test_the_iso_comes_up(model: Model, built: Built, tools: Tools, tmp_path: Path) -> None:
    iso = built(DEFAULT)["iso"]
    options = {"firmware": model.firmware, "media": "disk"}
    if model.bus == "nvme":  # the root is there at once, and the configuration is on a stick
        options["config"] = "#cloud-config\nhostname: told\n"
    with Machine(iso, tools=tools, folder=tmp_path, changed=model.change, **options) as machine:
        assert machine.wait(events.CONFIG_APPLIED)["source"] == ("cidata" if "config" in options else "recipe")
        machine.wait(events.NETWORK_UP)
        machine.wait(events.CONTAINER_HEALTHY)
        wait_until_shown(machine, status_page(machine))
        press(machine, "ctrl", "alt", "delete")
        assert machine.wait(events.SHUTDOWN_BEGUN)["why"] == "Ctrl-Alt-Del"
        machine.wait(events.SHUTDOWN_CLEAN)


@pytest.mark.slow
def test_a_pc_without_serial_port_is_watched_by_its_chipset(
    built: Built, tools: Tools, client: Client, tmp_path: Path
) -> None:
    """Its screen is the only console, so what is to be there is made of what the machine says of itself."""
    key = client.key("of-the-bare-pc")
    word = tools.run("openssl", "passwd", "-6", "-salt", "saltsalt", "of-the-bare-pc").decode().strip()
    config = f"#cloud-config\nhostname: bare\npassword: {word}\nssh_authorized_keys: ['{key.public}']\n"
    options = {"media": "disk", "config": config, "changed": BARE.change, "forwards": (22,)}
    with Machine(built(DEFAULT)["iso"], tools=tools, folder=tmp_path, **options) as machine:
        name = machine.wait(events.CONTAINER_HEALTHY)["name"]
        machine.wait(events.HEALTH_PASSED)
        login = Login(client=client, machine=machine, user="berth", key=key)
        status, services = login.json("berthctl status --json"), login.json("berthctl ps --json")["services"]
        logins = {each["name"] for each in services if each["name"].startswith("getty-")}
        assert logins == {"getty-tty0"}, "nobody waits for a log-in where no port is"
        assert (status["watchdog"]["identity"], status["watchdog"]["software"]) == ("iTCO_wdt", False)
        facts = {"Berth": f"{status['version']} ({status['class']})", "machine": "bare"}
        wait_until_shown(machine, page(facts, ()).splitlines()[1:])
        wait_until_shown(machine, page({}, [(name, "healthy", "8080→80")]).splitlines()[1:])
        assert machine.console == []
        press(machine, "ctrl", "alt", "delete")
        assert machine.wait(events.SHUTDOWN_BEGUN)["why"] == "Ctrl-Alt-Del"
        machine.wait(events.SHUTDOWN_CLEAN)


@pytest.mark.parametrize("firmware", ["bios", pytest.param("uefi", marks=pytest.mark.slow)])
def test_rescue_is_seen_and_heard_at_the_machine(firmware: str, built: Built, tools: Tools, tmp_path: Path) -> None:
    """A disk without a boot record: the screen says why, and the USB keyboard, the only one, is obeyed.

    The serial line is there as well, and is the kernel's main console.
    """
    model = Model(bus="ahci", firmware=firmware, keyboard="usb", screen="firmware")
    own = tmp_path / "disk.raw"
    image = built(DEFAULT)["raw"]
    options = {"firmware": firmware, "disk": own, "changed": model.change}
    with Machine(image, tools=tools, folder=tmp_path, **options) as machine:
        machine.wait(events.INIT_STARTED)
        machine.cut_power()
        damage_records(own)
        machine.start()
        assert "boot record" in machine.wait(events.RESCUE_ENTERED)["reason"]
        machine.wait_for_line("words that help")
        begin = next(number for number, line in enumerate(machine.console) if "berth: rescue: " in line)
        wait_until_shown(machine, machine.console[begin : begin + 2])
        type_until_off(machine, "poweroff")


def damage_records(image: Path) -> None:
    """Lose both copies of the boot record."""
    layout = disk.lay_out(image.stat().st_size // disk.SECTOR)
    with image.open("r+b") as file:
        for number in disk.RECORDS:
            file.seek(layout.number(number).offset_bytes)
            file.write(bytes(bootrecord.COPY_BYTES))


def type_until_off(machine: Machine, word: str) -> None:
    """Type a word, again where a busy machine has lost a letter, until the machine is off."""
    for _ in range(5):
        type_line(machine, word)
        if machine.off_within(30.0):
            return
    raise AssertionError(machine.explain(f"{word} does not switch the machine off"))
