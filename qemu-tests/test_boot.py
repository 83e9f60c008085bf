"""The main job, seen from outside: an artifact comes up through firmware to a container, and goes off in order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from machine import Machine

from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

DEFAULT = "podman"
Built = Callable[..., dict[str, Path]]


def comes_up(machine: Machine) -> None:
    """See the boot through: PID 1, a config in force, a healthy container, an orderly end."""
    machine.wait(events.CONFIG_APPLIED)
    machine.wait(events.CONTAINER_HEALTHY)
    assert machine.names()[0] == events.INIT_STARTED
    machine.power_off()
    assert machine.names()[-1] == events.SHUTDOWN_CLEAN


@pytest.mark.parametrize("media", ["cd", "disk"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_iso_boots(firmware: str, media: str, built: Built, tools: Tools, tmp_path: Path) -> None:
    iso = built(DEFAULT)["iso"]
    with Machine(iso, tools=tools, folder=tmp_path, firmware=firmware, media=media) as machine:
        comes_up(machine)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_the_disk_boots_and_becomes_good(firmware: str, built: Built, tools: Tools, tmp_path: Path) -> None:
    raw = built("minimal")["raw"]
    with Machine(raw, tools=tools, folder=tmp_path, firmware=firmware) as machine:
        machine.wait(events.CONTAINER_HEALTHY)
        assert machine.wait(events.BOOT_GOOD)["slot"] == "a"
        machine.power_off()
        last = machine.seen[-1]
        assert (last["event"], last["state_unmounted"]) == (events.SHUTDOWN_CLEAN, True)


@pytest.mark.parametrize("recipe", ["minimal", "docker"])
def test_each_recipe_reaches_its_container(recipe: str, built: Built, tools: Tools, tmp_path: Path) -> None:
    with Machine(built(recipe)["iso"], tools=tools, folder=tmp_path, direct=True, memory=1024) as machine:
        comes_up(machine)


def test_power_cut_and_again(built: Built, tools: Tools, tmp_path: Path) -> None:
    """The state that a cut leaves is mounted by the next boot, which is confirmed as the first was."""
    disk = tmp_path / "disk.qcow2"
    with Machine(built("minimal")["raw"], tools=tools, folder=tmp_path, disk=disk) as machine:
        machine.wait(events.BOOT_GOOD)
        machine.start()  # cuts the power first
        machine.wait(events.CONTAINER_HEALTHY)
        machine.power_off()
