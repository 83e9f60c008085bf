"""The ways down and up again, and machines without a configuration or with a wrong one: each on one of its own."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from machine import Machine
from remote import Client, Login

from builder.emulate import nocloud
from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]

SSH = 22
STUBBORN = 4.0  # seconds that the container which hears no SIGTERM is given
CONFIG = """#cloud-config
hostname: box2
ssh_authorized_keys: ["{key}"]
berth:
  health: {{settle: 1s}}
  containers:
    stubborn:
      image: demo
      stop_grace_period: 4s
      entrypoint: [/bin/busybox, sh, -c, "trap '' TERM; touch /deaf; while true; do sleep 1; done"]
      healthcheck: {{test: [CMD, /bin/busybox, test, -e, /deaf], interval: 2s, timeout: 10s}}
"""
REFUSED = """#cloud-config
hostname: box3
ssh_authorized_keys: ["{key}"]
write_files: [{{path: /var/../etc/shadow, content: "root::::::::"}}]
berth:
  containres: {{}}
"""
BESIDE = {"network-config": gzip.compress(bytes(64 << 20)), "meta-data": b"instance-id: i-\xff\xfe\n"}


@pytest.fixture
def image(built: Built) -> Path:
    """Return the small machine for virtual ones."""
    return built("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")["iso"]


def is_up_again(machine: Machine, after: int) -> int:
    """See an orderly end and another boot; return how many events came before that."""
    end = machine.wait(events.SHUTDOWN_CLEAN, after=after)
    before = machine.seen.index(dict(end)) + 1
    again = machine.wait(events.INIT_STARTED, after=before)
    assert again["boot_id"] not in {one["boot_id"] for one in machine.seen[:before]}
    return before


def test_ctrl_alt_del_berthctl_reboot_and_poweroff(image: Path, tools: Tools, client: Client, tmp_path: Path) -> None:
    """Each is orderly, says who asked, and waits no longer for a deaf container than that one may take."""
    key = client.key("of-box2")
    config = CONFIG.format(key=key.public)
    with Machine(image, tools=tools, folder=tmp_path, config=config, direct=True, forwards=(SSH,)) as machine:
        berth = Login(client=client, machine=machine, user="berth", key=key)
        machine.wait(events.CONTAINER_HEALTHY, name="stubborn")
        machine.session.ask("send-key", keys=[{"type": "qcode", "data": name} for name in ("ctrl", "alt", "delete")])
        begun = machine.wait(events.SHUTDOWN_BEGUN)
        assert "Ctrl-Alt-Del" in begun["why"]
        took = machine.wait(events.SHUTDOWN_CLEAN)["t"] - begun["t"]
        assert STUBBORN <= took < STUBBORN + 10, took  # the guest's own clock
        after = is_up_again(machine, 0)

        machine.wait(events.CONTAINER_HEALTHY, name="stubborn", after=after)
        assert "going down" in berth.out("berthctl reboot")
        assert "berthctl, uid 1000" in machine.wait(events.SHUTDOWN_BEGUN, after=after)["why"]
        after = is_up_again(machine, after)

        (machine.folder / "known_hosts").unlink()  # without state each boot has a key of its own
        machine.wait(events.CONTAINER_HEALTHY, name="stubborn", after=after)
        assert "going down" in berth.out("berthctl poweroff")
        assert "berthctl, uid 1000" in machine.wait(events.SHUTDOWN_BEGUN, after=after)["why"]
        machine.wait(events.SHUTDOWN_CLEAN, after=after)
        machine.wait_until_off()


def test_a_refused_config_leaves_a_way_in(image: Path, tools: Tools, client: Client, tmp_path: Path) -> None:
    """All that is wrong is said on the console and as an event; the recipe's container runs, and SSH lets the owner in.

    A misspelt key and a path that climbs, with a gzip bomb and bytes that are no text beside them.
    """
    key = client.key("of-box3")
    config = REFUSED.format(key=key.public)
    made = Machine(image, tools=tools, folder=tmp_path, config=config, direct=True, forwards=(8080, SSH))
    nocloud.make_disk(config.encode(), made.folder / "cidata.img", tools, beside=BESIDE)
    with made as machine:
        refused = machine.wait(events.CONFIG_REFUSED)
        assert (refused["source"], refused["in_force"]) == ("cidata", "lifeline")
        wrong = (
            "cidata:meta-data:1:16: a byte that is not UTF-8",
            "cidata:network-config: unpacks to more than 2 MiB",
            "cidata:user-data:4:22: write_files[0].path: a path without `.` and `..` parts",
            "cidata:user-data:6:3: berth.containres: unknown key",
        )
        for text in wrong:
            assert any(text in error for error in refused["errors"]), (text, refused)
            machine.wait_for_line(text)
        machine.wait_for_line("config refused (cidata)")
        machine.wait(events.CONTAINER_HEALTHY, name="web")
        status = Login(client=client, machine=machine, user="berth", key=key).json("berthctl status --json")
        assert (status["hostname"], bool(status["config"]["refused"])) == ("box3", True)
        assert b"<h1>Berth</h1>" in machine.get(8080)


def test_without_a_config_only_the_published_port_answers(image: Path, tools: Tools, tmp_path: Path) -> None:
    """Nobody could log in, so nothing listens for it. QEMU takes a connection first and asks the guest then."""
    with Machine(image, tools=tools, folder=tmp_path, direct=True, forwards=(8080, SSH)) as machine:
        machine.wait(events.CONTAINER_HEALTHY, name="web")
        assert b"<h1>Berth</h1>" in machine.get(8080)
        assert machine.says_first(SSH) == b""
        assert not any("login:" in line for line in (*machine.console, machine.session.prompt))
        machine.power_off()
