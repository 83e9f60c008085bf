"""Updates, seen from outside: releases that are published, taken, confirmed, rolled back, and one that comes back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.shop import Shop
from machine import Machine
from releases import Workshop, publish
from remote import Client, Login
from updated import BAD_PAGE, CLOUD, ROOT, Box, Built, config

from builder.tools.call import Tools
from init.blockdevice.device import Part
from init.blockdevice.direct import DirectDevice
from init.formats import disk as layouts
from init.formats import events, updates
from init.formats.offer import Offer
from init.updater import slot as slots

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

MOST_MEMORY = 64 << 20  # bytes


@pytest.fixture(scope="module")
def workshop(tools: Tools) -> Workshop:
    return Workshop(tools, ROOT)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with Shop(tmp_path / "repository") as shop:
        yield shop


def test_a_release_is_taken_rolled_back_and_a_bad_one_comes_back(  # noqa: PLR0917 - fixtures
    built: Built, tools: Tools, client: Client, workshop: Workshop, shop: Shop, tmp_path: Path
) -> None:
    """The story on one machine: each release is really published and really taken; what was kept on state stays."""
    key = client.key("of-updated")
    disk = tmp_path / "disk.qcow2"
    options = {"config": config(shop, key), "disk": disk, "forwards": (8080, 22)}
    with Machine(built(*CLOUD)["raw"], tools=tools, folder=tmp_path, **options) as machine:
        box = Box(machine, Login(client=client, machine=machine, user="root", key=key))
        first = machine.wait(events.BOOT_GOOD)["version"]
        box.login.out("echo kept > /var/lib/mine")
        assert box.status()["hostname"] == "berth", "the name that is there is preserved"
        status, answer = box.update("check")
        assert (status, answer["state"]) == (1, updates.FAILED), answer  # nothing is published yet
        assert "no confirmed release" in box.login.run("berthctl rollback").err

        publish(shop, workshop.make("2"))
        assert box.update("check")[1]["state"] == updates.AVAILABLE
        last = box.takes("2")["last"]

        assert last["memory"] <= MOST_MEMORY
        assert last["fetched"] <= last["size"] // 2
        slots = box.status()["slots"]
        assert (slots["b"]["version"], slots["b"]["good"], slots["b"]["booted"]) == ("2", True, True)
        assert box.login.out("cat /var/lib/mine") == "kept\n"
        assert box.update("check")[1]["state"] == updates.CURRENT

        after = len(machine.seen)
        assert box.login.json("berthctl rollback --json")["version"] == first
        machine.wait(events.HEALTH_PASSED, after=after)
        assert box.status()["slots"]["a"]["booted"]
        status, answer = box.update("apply")
        assert (status, answer["state"], "rolled back by hand" in answer["reason"]) == (1, updates.REFUSED, True)
        box.takes("2", "--again")

        publish(shop, workshop.make("3", without=BAD_PAGE))
        box.comes_back("3", "unhealthy")
        assert box.login.out("cat /var/lib/mine") == "kept\n"
        assert b"<h1>Berth</h1>" in machine.get(8080)
        history = box.update("history")[1]["attempts"]
        assert [one["state"] for one in history if one["version"] == "3"][-1] == updates.RETURNED
        machine.power_off()


def test_what_must_not_be_taken_is_refused_with_its_reason(
    built: Built, tools: Tools, client: Client, shop: Shop, tmp_path: Path
) -> None:
    """One machine, one boot: each reason is said by the verb, by the event and later; the slot that runs stays."""
    key = client.key("of-refusing")
    made = built(*CLOUD)
    disk = tmp_path / "disk.raw"
    options = {"config": config(shop, key), "disk": disk, "forwards": (22,)}
    with Machine(made["raw"], tools=tools, folder=tmp_path, **options) as machine:
        box = Box(machine, Login(client=client, machine=machine, user="root", key=key))
        machine.wait(events.BOOT_GOOD)
        machine_class = box.status()["class"]

        def put(name: str, **said: Any) -> Offer:
            return shop.publish_small(name, machine_class=machine_class, **said)

        def refused(words: str, name: str = "") -> None:
            after = len(machine.seen)
            status, answer = box.update("apply")
            assert (status, answer["state"], words in answer["reason"]) == (1, updates.REFUSED, True), answer
            machine.wait_for(
                lambda one: (one["event"], one.get("state"), one.get("reason"))
                == (events.UPDATE_STATE, updates.REFUSED, answer["reason"]),
                what=words, after=after,
            )  # fmt: skip
            _, later = box.update("status")
            assert (later["state"], later["version"], later["reason"]) == (updates.REFUSED, name, answer["reason"])

        put("expired")
        shop.expire()
        refused("expired")
        put("unsigned")
        signed = shop.folder / "metadata/timestamp.json"
        signed.write_bytes(signed.read_bytes().replace(b'"spec_version":', b'"unsigned": 1, "spec_version":'))
        refused("signature")
        shop.offer_instead(put("class"), machine_class="other-amd64")
        refused("it is for the class other-amd64; this machine's is minimal-amd64", "class")
        put("loader", loader=2)
        refused("loader format 2", "loader")
        large = put("large")
        shop.offer_instead(large, root=replace(large.root, size=2 << 30))
        refused("no space", "large")

        running = shop.publish(made["bundle"])
        assert box.update("check")[1]["state"] == updates.CURRENT  # from now on its sequence is the least
        shop.offer_instead(put("older"), sequence=1)
        refused("older", "older")

        packs = set(shop.folder.glob("packs/*/*"))
        put("altered")
        for pack in set(shop.folder.glob("packs/*/*")) - packs:
            pack.write_bytes(bytes(pack.stat().st_size))
        refused("altered", "altered")

        status = box.status()
        assert (status["health"]["state"], status["slots"]["a"]["booted"], status["slots"]["b"]["tries"]) == (
            "healthy", True, 0,
        )  # fmt: skip
        machine.power_off()
    with DirectDevice(str(disk)) as device:
        for number, image in ((layouts.BOOTS["a"], running.boot), (layouts.ROOTS["a"], running.root)):
            part = layouts.lay_out(device.size // layouts.SECTOR).number(number)
            assert slots.digest(Part(device, part.offset_bytes, part.size_bytes), image.size) == image.sha256
