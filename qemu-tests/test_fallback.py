"""Machines that come back: each release is really published and really taken, and the old slot runs again by itself.

One try is left preset, for how tries are counted is tested elsewhere (`test_grub_record.py`); the release that never
begins spends all three in `make test-all`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes.shop import Shop
from machine import Machine
from platter import Platter
from releases import Made, Workshop, publish
from remote import Client, Key, Login
from updated import CLOUD, ROOT, Box, Built, config

from builder.tools.call import Tools
from init.formats import events, updates

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

SSH = 22
BACK = 400.0  # seconds: three boots, a watchdog's time, and a busy computer
PATIENT = "150s"  # for a container on a busy computer: none of these releases comes back for its sake
RAISES = b'raise RuntimeError("broken on purpose")\n'
Break = Callable[[Platter], None]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all tests here share: a disk whose slot a is confirmed, the shop that it asks, and the workshop."""

    disk: Path
    shop: Shop
    workshop: Workshop
    client: Client
    key: Key
    tools: Tools

    @contextmanager
    def box(self, folder: Path, policy: str = "manual") -> Iterator[tuple[Box, Platter]]:
        """Switch on a machine that begins with that disk."""
        disk = folder / "disk.qcow2"
        base = ("-b", str(self.disk), "-F", "qcow2")
        self.tools.run("qemu-img", "create", "-q", "-f", "qcow2", *base, str(disk))
        text = config(self.shop, self.key, policy, within=PATIENT)
        options: dict[str, Any] = {"config": text, "disk": disk, "forwards": (SSH,)}
        with Machine(disk, tools=self.tools, folder=folder, **options) as machine:
            machine.wait(events.HEALTH_PASSED)
            login = Login(client=self.client, machine=machine, user="root", key=self.key)
            yield Box(machine, login), Platter(path=disk, tools=self.tools, folder=folder)


@pytest.fixture(scope="module")
def bench(built: Built, tools: Tools, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("fallback")
    key = client.key("of-fallback")
    disk = folder / "good.qcow2"
    with Shop(folder / "repository") as shop:
        options: dict[str, Any] = {"config": config(shop, key, within=PATIENT), "disk": disk}
        with Machine(built(*CLOUD)["raw"], tools=tools, folder=folder, **options) as machine:
            machine.wait(events.BOOT_GOOD)
            machine.power_off()
        yield Bench(disk=disk, shop=shop, workshop=Workshop(tools, ROOT), client=client, key=key, tools=tools)


def takes_and_comes_back(
    bench: Bench, box: Box, platter: Platter, made: Made, *, tries: int = 1, damage: Break | None = None
) -> dict[str, Any]:
    """Publish a release, take it, and see it come back; return `last_return`. The machine runs, and holds it."""
    version = made.release.version
    machine = box.machine
    publish(bench.shop, made)
    status, answer = box.update("apply")
    assert (status, answer["state"], answer["version"]) == (0, updates.SWITCHED, version), answer
    machine.power_off()
    record = platter.record()
    assert (record.order, record.b.tries, record.b.good) == (("b", "a"), 3, False)
    platter.leave_tries("b", tries)
    if damage is not None:
        damage(platter)
    machine.start()
    fell = machine.wait(events.BOOT_FELLBACK, timeout=BACK)
    assert fell["from"] == version, machine.explain(str(fell))
    returned = machine.wait(events.UPDATE_STATE, state=updates.RETURNED)
    assert returned["version"] == version
    machine.wait(events.HEALTH_PASSED)
    answer = box.status()
    last: dict[str, Any] = answer["last_return"]
    assert (last["from"], last["reason"], last["detail"]) == (version, fell["reason"], fell["detail"])
    slots = answer["slots"]
    assert (slots["a"]["booted"], slots["a"]["tries"], slots["b"]["tries"], slots["b"]["good"]) == (True, 3, 0, False)
    assert_held(box)
    return last


def assert_held(box: Box) -> None:
    """See that the newest release is not taken."""
    status, answer = box.update("apply")
    assert (status, answer["state"], "held" in answer["reason"]) == (1, updates.REFUSED, True), answer


def test_a_release_that_can_not_begin_comes_back_and_is_held_under_any_name(bench: Bench, tmp_path: Path) -> None:
    """PID 1's own code raises; then a kernel that finds no init and panics."""
    with bench.box(tmp_path) as (box, platter):
        made = bench.workshop.make("raises", files={bench.workshop.source("pid1/main.py"): RAISES})
        last = takes_and_comes_back(bench, box, platter, made)
        assert (last["reason"], last["phase"]) == ("init-exception", "initramfs")
        assert last["detail"].startswith("RuntimeError: broken on purpose (main.py:1")
        said = box.login.out("berthctl status")
        assert "came back  raises: init-exception (RuntimeError: broken on purpose" in said
        # Only the name is new: its slot's hash is the one that is held.
        publish(bench.shop, replace(made, release=replace(made.release, version="raises-again")))
        assert_held(box)

        panics = bench.workshop.make("panics", cmdline=("rdinit=/gone",))
        last = takes_and_comes_back(bench, box, platter, panics)
        assert (last["reason"], last["phase"]) == ("no-init", None)
        assert last["detail"] == "nothing of it came as far as PID 1"


@pytest.mark.parametrize(
    ("policy", "partition", "offset", "reason", "detail"),
    [
        ("window", "root-b", 0, "verity", "initramfs: block 0 of the root is not what its verity tree says"),
        pytest.param(
            "now", "boot-b", 1 << 20, "no-init", "vmlinuz in the boot image is damaged", marks=pytest.mark.slow
        ),
    ],
)  # fmt: skip
def test_a_slot_that_was_taken_by_policy_and_goes_bad_gives_way_to_the_other(  # noqa: PLR0917 - what is damaged, and how it is told
    policy: str, partition: str, offset: int, reason: str, detail: str, bench: Bench, tmp_path: Path
) -> None:
    """Nobody asks for the release. Bytes of its root, or of its kernel, are overwritten while the machine is off."""
    version = f"good-{partition}"
    publish(bench.shop, bench.workshop.make(version))
    with bench.box(tmp_path, policy) as (box, platter):
        machine = box.machine
        machine.wait(events.UPDATE_STATE, state=updates.SWITCHED, version=version)
        assert f"update to {version}" in machine.wait(events.SHUTDOWN_BEGUN)["why"]
        machine.wait(events.BOOT_GOOD, version=version)
        machine.power_off()
        record = platter.record()
        assert (record.order, record.b.tries, record.b.good) == (("b", "a"), 3, True)
        platter.leave_tries("b", 1)
        platter.spoil(partition, offset=offset)
        machine.start()
        fell = machine.wait(events.BOOT_FELLBACK, timeout=BACK)
        told = (fell["from"], fell["reason"], fell["detail"])
        assert told == (version, reason, detail), machine.explain(str(fell))
        machine.wait(events.HEALTH_PASSED)
        assert box.status()["slots"]["a"]["booted"]


@pytest.mark.slow
def test_a_root_that_is_damaged_before_its_first_boot_comes_back(bench: Bench, tmp_path: Path) -> None:
    """What the updater wrote and read back was whole; the disk lost it afterwards. All three tries are spent."""
    with bench.box(tmp_path) as (box, platter):
        made = bench.workshop.make("spoilt")
        last = takes_and_comes_back(
            bench, box, platter, made, tries=3, damage=lambda platter: platter.spoil("root-b", offset=4096)
        )
        assert last["reason"] == "verity"
        assert last["detail"].endswith("block 1 of the root is not what its verity tree says")


@pytest.mark.slow
def test_a_release_whose_config_program_dies_comes_back_though_nobody_can_get_in(bench: Bench, tmp_path: Path) -> None:
    """It boots, and its container is well, but no key opens: that it lost its config fails its release gate."""
    made = bench.workshop.make("mute", files={bench.workshop.source("dialects/machine_config.py"): RAISES})
    publish(bench.shop, made)
    with bench.box(tmp_path) as (box, platter):
        machine = box.machine
        after = len(machine.seen)
        status, answer = box.update("apply", "--reboot")
        assert (status, answer["state"], answer["version"]) == (0, updates.SWITCHED, "mute"), answer
        refused = machine.wait(events.CONFIG_REFUSED, after=after)
        assert (refused["in_force"], refused["errors"]) == ("recipe", ["the config child ended with status 1"])
        machine.wait(events.NETWORK_UP, after=machine.seen.index(dict(refused)))
        assert machine.says_first(SSH) == b""
        fell = machine.wait(events.BOOT_FELLBACK, after=after, timeout=BACK)
        assert (fell["from"], fell["reason"]) == ("mute", "unhealthy"), machine.explain(str(fell))
        machine.wait(events.HEALTH_PASSED, after=machine.seen.index(dict(fell)))
        last = box.status()["last_return"]
        assert last["detail"] == "the new release refuses the config: the config child ended with status 1"
        assert_held(box)
        machine.power_off()
        record = platter.record()
        assert (record.order, record.a.good, record.b.tries, record.b.good) == (("a", "b"), True, 0, False)


@pytest.mark.slow
def test_a_loop_that_stands_still_is_ended_by_the_watchdog(bench: Bench, tmp_path: Path) -> None:
    """PID 1 blocks once the root is up: the hardware's watchdog resets the machine, and its driver tells of it."""
    upkeep = (ROOT / "init/pid1/upkeep.py").read_text()
    watchdog = (ROOT / "init/pid1/watchdog.py").read_text()
    head = '        """Feed the watchdog, from the loop alone: if the loop stands, the machine is to be reset."""\n'
    assert head in upkeep
    assert "SECONDS = 60\n" in watchdog
    stands = upkeep.replace(head, f"{head}        import time\n        time.sleep(100000)\n")
    files = {
        bench.workshop.source("pid1/upkeep.py"): stands.encode(),
        bench.workshop.source("pid1/watchdog.py"): watchdog.replace("SECONDS = 60\n", "SECONDS = 10\n").encode(),
    }
    with bench.box(tmp_path) as (box, platter):
        last = takes_and_comes_back(bench, box, platter, bench.workshop.make("stands", files=files))
        assert (last["reason"], last["detail"], last["phase"]) == ("watchdog", "state", "state")
