"""The main job, seen from outside: an artifact comes up through firmware to a container, and goes off in order."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import select
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import machine as machine_module
import pytest
from machine import PATIENCE, Machine
from remote import Client, Login

from builder.artifact import iso9660
from builder.emulate import fault
from builder.emulate.image import members
from builder.tools.call import Tools
from init.formats import disk, events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

ROOT = Path(__file__).resolve().parent.parent
BERTH = str(Path(sys.executable).with_name("berth"))
DEFAULT = "podman"
Built = Callable[..., dict[str, Path]]
CONFIG = """#cloud-config
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{root}"]}}]
"""
GOOD_SOON = "#berth\nhealth: {settle: 2s}\n"  # what the other tests wait 30 s for
KILL = """for each in /proc/[0-9]*; do
    case "$(tr '\\0' ' ' < $each/cmdline)" in "/bin/busybox httpd "*) kill -9 ${each#/proc/} && found=1;; esac
done; [ "$found" ]"""


def comes_up(machine: Machine) -> None:
    """See the boot through: PID 1, a config in force, a healthy container, an orderly end."""
    machine.wait(events.CONFIG_APPLIED)
    machine.wait(events.CONTAINER_HEALTHY)
    assert machine.names()[0] == events.INIT_STARTED
    machine.power_off()
    assert machine.names()[-1] == events.SHUTDOWN_CLEAN


# The fourth, a CD under BIOS, is what `make run` boots: README's first command.
@pytest.mark.parametrize(("firmware", "media"), [("uefi", "cd"), ("bios", "disk"), ("uefi", "disk")])
def test_the_iso_boots(firmware: str, media: str, built: Built, tools: Tools, tmp_path: Path) -> None:
    iso = built(DEFAULT)["iso"]
    with Machine(iso, tools=tools, folder=tmp_path, firmware=firmware, media=media) as machine:
        comes_up(machine)


def test_make_run_boots_the_iso_to_its_first_healthy_container(built: Built) -> None:
    """Without a terminal: to its first healthy container and an orderly end, told as a timeline."""
    built(DEFAULT)
    done = make("run")
    machine_module.retries += fault.TOLD in done.stdout
    assert done.returncode == 0, done.stdout
    told = [line.partition("█")[2].split() for line in done.stdout.splitlines() if "█" in line]
    names = [next(word for word in words if "." in word) for words in told]
    assert names[0] == events.INIT_STARTED
    assert events.CONTAINER_HEALTHY in names
    assert names[-1] == events.SHUTDOWN_CLEAN


def make(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `make` as a person would, not as a part of the `make` that runs the tests."""
    own = {name: text for name, text in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(
        ["make", "--no-print-directory", *words], cwd=ROOT, env=own, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip


def test_a_terminal_becomes_the_console(built: Built) -> None:
    """`berth run podman` shows what the firmware and GRUB say, and Ctrl-A X ends the machine."""
    built(DEFAULT)
    ours, theirs = pty.openpty()
    program = subprocess.Popen([BERTH, "run", "podman"], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while f"Berth {DEFAULT} ".encode() not in shown:
            ready, _, _ = select.select([ours], [], [], PATIENCE)
            assert ready, f"nothing more came: {shown!r}"
            shown += os.read(ours, 65536)
        os.write(ours, b"\x01x")
        ended = threading.Thread(
            target=drain, args=(ours,), daemon=True
        )  # a full terminal would stop what writes to it
        ended.start()
        assert program.wait(PATIENCE) == 0, shown
        ended.join(PATIENCE)
    finally:
        program.kill()
        program.wait()
        os.close(ours)
    assert b"Ctrl-A X ends it" in shown


def drain(terminal: int) -> None:
    """Read a terminal to its end."""
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


@pytest.mark.parametrize(("kind", "firmware"), [("raw", "bios"), ("raw", "uefi"), ("qcow2", "bios")])
def test_the_disk_boots_and_becomes_good(kind: str, firmware: str, built: Built, tools: Tools, tmp_path: Path) -> None:
    image = built(DEFAULT)[kind]
    with Machine(image, tools=tools, folder=tmp_path, firmware=firmware, config=GOOD_SOON) as machine:
        machine.wait(events.CONTAINER_HEALTHY)
        assert machine.wait(events.BOOT_GOOD)["slot"] == "a"
        machine.power_off()
        last = machine.seen[-1]
        assert (last["event"], last["state_unmounted"]) == (events.SHUTDOWN_CLEAN, True)


def part_hash(path: Path, offset: int, size: int) -> str:
    """Return the SHA-256 of a part of a file."""
    with path.open("rb") as file:
        file.seek(offset)
        return hashlib.sha256(file.read(size)).hexdigest()


def test_every_artifact_holds_the_same_slot(built: Built, tools: Tools) -> None:
    """What was booted from ISO and disk is what an update writes: the bundle's two images, to the byte."""
    artifacts = built(DEFAULT)
    bundle = members(artifacts["bundle"])
    with artifacts["iso"].open("rb") as file:
        nodes = {node.path: (node.offset, node.size) for node in iso9660.nodes(file)}
    layout = disk.lay_out(artifacts["raw"].stat().st_size // disk.SECTOR)
    for name in ("boot", "root"):
        offset, size = bundle[f"{name}.img"]
        expected = part_hash(artifacts["bundle"], offset, size)
        assert part_hash(artifacts["iso"], *nodes[f"berth/{name}.img"]) == expected
        partition = layout.named(f"{name}-a")
        assert part_hash(artifacts["raw"], partition.offset_bytes, size) == expected
    tools.run("qemu-img", "compare", str(artifacts["raw"]), str(artifacts["qcow2"]))


@pytest.mark.parametrize("recipe", ["minimal", "podman", "docker"])
def test_each_recipe_runs_its_container(
    recipe: str, built: Built, tools: Tools, client: Client, tmp_path: Path
) -> None:
    """Its published port answers from outside; a killed container is back; what a person is told of it is right."""
    image = built(recipe)["iso"]
    root = client.key(f"root-of-{recipe}")
    config = CONFIG.format(root=root.public)
    options = {"config": config, "direct": True, "memory": 1024, "forwards": (8080, 22)}
    with Machine(image, tools=tools, folder=tmp_path, **options) as machine:
        machine.wait(events.CONFIG_APPLIED)
        machine.wait(events.CONTAINER_HEALTHY, name="web")
        assert b"<h1>Berth</h1>" in machine.get(8080)
        login = Login(client=client, machine=machine, user="root", key=root)
        after = len(machine.seen)
        login.out(KILL)
        machine.wait(events.CONTAINER_EXITED, name="web", after=after)
        machine.wait(events.CONTAINER_HEALTHY, name="web", after=after)
        assert b"<h1>Berth</h1>" in machine.get(8080)
        [web] = login.json("berthctl status --json")["containers"]
        assert (web["state"], web["health"], web["restarts"], web["image"]) == ("running", "healthy", 1, "demo")
        machine.power_off()
        assert machine.names()[-1] == events.SHUTDOWN_CLEAN


def test_power_cut_and_again(built: Built, tools: Tools, tmp_path: Path) -> None:
    """The state that a cut leaves is mounted by the next boot, which is confirmed as the first was."""
    disk = tmp_path / "disk.qcow2"
    with Machine(built("minimal")["raw"], tools=tools, folder=tmp_path, disk=disk) as machine:
        machine.wait(events.BOOT_GOOD)
        machine.start()  # cuts the power first
        machine.wait(events.CONTAINER_HEALTHY)
        machine.power_off()
