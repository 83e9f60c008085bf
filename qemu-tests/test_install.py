"""Installation, seen from outside: from the ISO to a machine that boots from its disk alone, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from installed import Installed
from remote import Client, Login

from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]


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
        login.out("echo kept > /var/lib/mine && sync")
        after = len(machine.seen)
        login.out("berthctl reboot")
        machine.wait(events.INIT_STARTED, after=after)
        machine.wait(events.HEALTH_PASSED, after=after)  # confirmed before, so not once more
        assert login.out("cat /var/lib/mine") == "kept\n"
        machine.power_off()
