"""A machine in rescue: what it says, who gets in, and how it is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from machine import Machine
from platter import Platter
from remote import Client, Login
from updated import CLOUD, Built

from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

CONFIG = """#cloud-config
hostname: lost1
disable_root: false
users: [default, {{name: root, ssh_authorized_keys: ["{key}"]}}]
ssh_authorized_keys: ["{key}"]
berth:
  health: {{within: 20s, settle: 2s}}
"""
WHOLE_ROOT = 32 << 20  # bytes: the image and its tree, and more


def test_rescue_lets_in_whom_the_last_good_config_names_and_tries_again(
    built: Built, tools: Tools, client: Client, tmp_path: Path
) -> None:
    """First with a root that can be borrowed; then with none, when only the console is left."""
    key = client.key("of-rescue")
    disk = tmp_path / "disk.qcow2"
    platter = Platter(path=disk, tools=tools, folder=tmp_path)
    options: dict[str, Any] = {"config": CONFIG.format(key=key.public), "disk": disk, "forwards": (22,)}
    with Machine(built(*CLOUD)["raw"], tools=tools, folder=tmp_path, **options) as machine:
        machine.wait(events.BOOT_GOOD)
        login = Login(client=client, machine=machine, user="root", key=key)
        host_key = login.out("cat /var/lib/berth/ssh/ssh_host_ed25519_key.pub")
        refused = login.run("berthctl rescue status")
        assert (refused.status, "not in rescue" in refused.err) == (1, True)
        login.out("echo precious > /var/lib/mine")
        machine.power_off()

        platter.leave_tries("a", 0)
        machine.start()
        assert machine.wait(events.RESCUE_ENTERED)["reason"] == "neither slot has a try left"
        machine.wait_for_line("network: eth0 ")
        machine.wait_for_line("ssh: port 22, with the machine's own host key")
        status = login.json("berthctl rescue status --json")
        assert (status["format"], status["kernel"], status["hostname"]) == ("berth.rescue/1", "a", "lost1")
        assert status["slots"]["a"] == {"tries": 0, "good": True}
        assert status["last_boot"]["phase"] == "good"
        assert len(status["config"]["sha256"]) == 64
        assert status["borrowed"]["slot"] == "a"
        # The host key is the machine's own (the client would have refused another), and state can be saved.
        assert login.out("cat /var/lib/berth/ssh/ssh_host_ed25519_key.pub") == host_key
        assert login.out("cat /run/berth/state/var/lib/mine") == "precious\n"
        assert login.run("touch /run/berth/state/var/lib/other").status != 0, "state is read-only"
        member = Login(client=client, machine=machine, user="berth", key=key)
        assert "confirmed, 0 tries left" in member.out("berthctl rescue status")
        after = len(machine.seen)
        assert "the machine reboots" in login.out("berthctl rescue retry")
        machine.wait(events.HEALTH_PASSED, after=after)
        machine.power_off()

        platter.leave_tries("a", 0)
        platter.spoil("root-a", length=WHOLE_ROOT)
        machine.start()
        machine.wait(events.RESCUE_ENTERED)
        machine.wait_for_line("neither slot's root can be read")
        machine.console.clear()
        machine.session.type("berthctl rescue status\n")
        machine.wait_for_line("slot a: confirmed, 0 tries left")
        after = len(machine.seen)
        machine.session.type("rescue retry\n")
        machine.wait_for_line("every slot has its tries back")
        machine.wait(events.INIT_STARTED, after=after)
        machine.cut_power()
        assert 0 < platter.record().a.tries < 3, "they were all given back, and GRUB has taken of them"


def test_berth_run_waits_for_rescue_and_leaves_it_by_the_power_button(built: Built) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).with_name("berth"), "run", built(*CLOUD)["iso"], "--cpus", "1",
            "--direct", "--append", "berth.rescue", "--until", events.RESCUE_ENTERED,
        ],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert events.SHUTDOWN_CLEAN in done.stdout
