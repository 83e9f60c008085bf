"""Installation, seen from outside: from the ISO to a machine that boots from its disk alone, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from installed import CONFIG, Installed, blank, is_unchanged, with_disks, with_large_sectors
from machine import Machine
from remote import Client, Login

from builder.emulate.command import Guest
from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_installed_machine_boots_from_its_disk(
    firmware: str, installed: Callable[[str], Installed], client: Client, tmp_path: Path
) -> None:
    """Its container answers, the config is in force without `install`, and what it writes outlives a reboot."""
    box = installed(firmware)
    [planned] = [one for one in box.events if one["event"] == events.INSTALL_PLANNED]
    assert (planned["serial"], planned["reason"]) == ("BERTH0001", "the only empty disk")
    with box.machine(tmp_path, forwards=(8080, 22)) as machine:
        applied = machine.wait(events.CONFIG_APPLIED)
        assert applied["source"] == "last-good"
        machine.wait(events.CONTAINER_HEALTHY, name="web")
        assert machine.wait(events.BOOT_GOOD)["slot"] == "a"
        assert b"<h1>Berth</h1>" in machine.get(8080)
        login = Login(client=client, machine=machine, user="root", key=box.key)
        status = login.json("berthctl status --json")
        assert (status["media"], status["hostname"], status["state"]["kind"]) == ("disk", "box1", "ext4")
        assert "install" not in login.out("cat /var/lib/berth/config/user-data")
        refused = login.run("berthctl install --yes")
        assert (refused.status, "from the live ISO" in refused.err) == (1, True)
        renewed = login.json("berthctl install --loader --yes --json")  # the reboot shows whether it is whole
        assert (renewed["state"], renewed["disk"]) == ("done", "/dev/vda")
        login.out("echo kept > /var/lib/mine && sync")
        after = len(machine.seen)
        login.out("berthctl reboot")
        machine.wait(events.INIT_STARTED, after=after)
        machine.wait(events.HEALTH_PASSED, after=after)  # confirmed before, so not once more
        assert login.out("cat /var/lib/mine") == "kept\n"
        machine.power_off()


@pytest.mark.parametrize("firmware", ["bios", pytest.param("uefi", marks=pytest.mark.slow)])
def test_what_is_refused_stays_as_it_is_and_what_is_named_is_installed(
    firmware: str, installed: Callable[[str], Installed], tools: Tools, client: Client, tmp_path: Path
) -> None:
    """A live ISO beside an installed disk, two empty ones and others; then two Berth disks in one machine."""
    box = installed(firmware)
    data = blank(tools, tmp_path / "data.qcow2")
    tools.run("qemu-io", "-f", "qcow2", "-c", "write -P 0x61 64k 64k", str(data))
    beside = box.overlay(tmp_path, "beside")
    disks = (
        (beside, "BERTHBOX"), (data, "DATA"),
        (blank(tools, tmp_path / "one.qcow2"), "EMPTY1"), (blank(tools, tmp_path / "two.qcow2"), ""),
    )  # fmt: skip
    large = with_large_sectors(blank(tools, tmp_path / "large.qcow2"), "LARGE")

    def changed(guest: Guest) -> Guest:
        return large(with_disks(*disks)(guest))

    key = client.key(f"by-hand-{firmware}")
    config = CONFIG.format(key=key.public).replace("box1", "box2")
    options = {"config": config, "firmware": firmware, "changed": changed, "forwards": (22,)}
    with Machine(box.iso, tools=tools, folder=tmp_path, **options) as machine:
        refused = machine.wait(events.INSTALL_REFUSED)
        assert refused["reason"].startswith("2 disks are empty: ")
        assert "serial EMPTY1" in refused["reason"]
        assert "no serial number" in refused["reason"]
        machine.wait(events.CONTAINER_HEALTHY)
        login = Login(client=client, machine=machine, user="root", key=key)
        for asked, words in (
            ("--disk serial:DATA", "it holds data"),
            ("--disk serial:BERTHBOX --wipe DATA", "a Berth machine is installed on it"),
            ("--disk /dev/sr0", "the medium that this system was started from"),
            ("--disk serial:LARGE --wipe LARGE", "its sectors are 4096 bytes"),
            ("--disk largest", "disks are the largest"),
        ):
            said = login.run(f"berthctl install --yes {asked}")
            assert (said.status, words in said.err) == (1, True), said
        assert login.run("berthctl install --disk serial:EMPTY1").status == 2, "without a terminal nobody is asked"
        plan = login.json("berthctl install --disk serial:EMPTY1 --dry-run --json")
        assert (plan["format"], plan["state"], plan["serial"]) == ("berth.install/1", "planned", "EMPTY1")
        done = login.json("berthctl install --disk serial:DATA --wipe DATA --yes --json")
        assert (done["state"], done["serial"]) == ("done", "DATA")
        print(f"installed by hand in {done['seconds']} s")
        assert "Traceback" not in login.out("berthctl logs install")
        machine.power_off()
    assert is_unchanged(tools, beside, box.disk)

    other = tmp_path / "other.qcow2"
    tools.run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(data), "-F", "qcow2", str(other))
    with box.machine(tmp_path, changed=with_disks((other, "DATA")), forwards=(22,)) as machine:
        machine.wait(events.HEALTH_PASSED)
        login = Login(client=client, machine=machine, user="root", key=box.key)
        status = login.json("berthctl status --json")
        assert (status["hostname"], status["state"]["kind"]) == ("box1", "ext4")
        assert "/dev/vda9 /run/berth/state " in login.out("cat /proc/mounts")
        machine.power_off()
    assert is_unchanged(tools, other, data)


@pytest.mark.slow
def test_a_medium_in_rescue_touches_nothing_of_an_installed_disk(
    installed: Callable[[str], Installed], tools: Tools, tmp_path: Path
) -> None:
    """As a person gets there: `r`, pressed while GRUB starts. `rescue retry` then leads to the live system."""
    box = installed("uefi")
    beside = box.overlay(tmp_path, "beside")
    options = {"firmware": "uefi", "changed": with_disks((beside, "BERTHBOX"))}
    with Machine(box.iso, tools=tools, folder=tmp_path, **options) as machine:

        def entered() -> bool:
            if not machine.seen:
                machine.session.type("r")
            return events.RESCUE_ENTERED in machine.names()

        machine.wait_until(entered, what=events.RESCUE_ENTERED)
        assert machine.wait(events.RESCUE_ENTERED)["reason"] == "the kernel command line asks for rescue"
        machine.wait_for_line("started from an install medium")
        machine.session.type("\nrescue status\n")
        machine.wait_for_line("words that help here")
        after = len(machine.seen)
        machine.session.type("rescue retry\n")
        machine.wait(events.HEALTH_PASSED, after=after)
        machine.power_off()
    assert is_unchanged(tools, beside, box.disk)
