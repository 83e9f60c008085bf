"""A confirmed machine whose registry, network and required container are down: it stays up and says so, every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machine import Machine
from platter import Platter
from updated import CLOUD, Built

from builder.tools.call import Tools
from init.formats import events

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

GOOD = "#berth\nhealth: {settle: 2s}\n"
DOWN = """#berth
health: {within: 4s, settle: 2s}
containers:
  shop: {image: "10.0.2.2:9/shop:1", required: true}
"""


@pytest.mark.parametrize("boots", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_what_is_down_outside_never_costs_a_try(boots: int, built: Built, tools: Tools, tmp_path: Path) -> None:
    """Cut off and powered off in order, by turns; at the end all tries are there."""
    disk = tmp_path / "disk.qcow2"
    options: dict[str, Any] = {"tools": tools, "folder": tmp_path, "disk": disk}
    image = built(*CLOUD)["raw"]
    with Machine(image, config=GOOD, **options) as machine:
        machine.wait(events.BOOT_GOOD)
        machine.power_off()
    with Machine(image, config=DOWN, changed=lambda guest: replace(guest, nic=""), **options) as machine:
        for number in range(boots):
            down = machine.wait(events.HEALTH_DEGRADED)
            assert any("shop" in reason for reason in down["reasons"]), down
            assert not {events.RESCUE_ENTERED, events.BOOT_FELLBACK} & set(machine.names())
            if number % 2 or number == boots - 1:
                machine.power_off()
            if number < boots - 1:
                machine.start()  # cuts the power where it is still on
    record = Platter(path=disk, tools=tools, folder=tmp_path).record()
    assert (record.order, record.a.tries, record.a.good) == (("a", "b"), 3, True)
