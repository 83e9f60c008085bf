"""The power goes in the middle of an update or an installation, on a disk that forgets what was not flushed.

Each case is an instant that is named by what the machine has written, so no clock is read: a seeded share of the
bytes, or before, within or after the write of one sector. QEMU is killed, and what it had not flushed is lost, torn and
reordered. Then the machine comes up on a good slot with its state, and what was cut short is done to its end.

`make powercut` runs all cases, `make test` four of them.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.disk import SparseDisk
from fakes.shop import CHANNEL, Shop
from forgetful import Around, ForgetfulDrive, Instant, Written, content_of
from installed import CONFIG as INSTALL_CONFIG
from machine import Machine
from releases import HOST, Workshop, publish
from remote import Client, Key, Login

from builder.emulate.image import members
from builder.tools.call import Tools
from init.blockdevice.device import BlockDevice, Part
from init.formats import blocks, bootrecord, disk, events, updates
from init.formats.blocks import Index
from init.formats.offer import Image, Offer, index_path
from init.installer.mark import is_marked
from init.installer.renew import table_of
from init.updater import assemble
from init.updater import slot as slots
from init.updater.slot import Slot

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

Built = Callable[..., dict[str, Path]]
ROOT = Path(__file__).resolve().parent.parent
CLOUD = ("minimal", "--set", "build.kernel=cloud", "--out", "build/out/minimal-cloud")
DISK_BYTES = 4 << 30
NEW_BYTES = 12 << 20  # that no other release has
CONFIG = """#cloud-config
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{key}"]}}]
berth:
  health: {{within: 2m, settle: 3s}}
  update: {{repository: "http://{host}:{port}/", channel: {channel}, policy: manual, root: {root}}}
"""


FIRST_CONFIG = """#cloud-config
disable_root: false
users: [{{name: root, ssh_authorized_keys: ["{key}"]}}]
berth: {{health: {{within: 2m, settle: 3s}}}}
"""

Places = tuple[tuple[int, int], ...]  # each from a byte of the disk to another


def parts(device: BlockDevice) -> dict[str, Part]:
    """Return a disk's partitions by their names."""
    return {
        entry.name: Part(device, entry.first * 512, (entry.last - entry.first + 1) * 512, entry.name)
        for entry in table_of(device).entries.values()
    }


def slot(device: BlockDevice, name: str) -> Slot:
    found = parts(device)
    return Slot(name=name, boot=found[disk.boot_name(name)], root=found[disk.root_name(name)])


def place(device: BlockDevice, name: str, size: int | None = None) -> tuple[int, int]:
    """Return where a partition, or its first `size` bytes, begins and ends on the disk."""
    entry = next(entry for entry in table_of(device).entries.values() if entry.name == name)
    return entry.first * 512, entry.first * 512 + size if size else (entry.last + 1) * 512


def digests(one: Slot) -> tuple[str, str]:
    boot_size, root_size = slots.extents(one)
    return slots.digest(one.boot, boot_size), slots.digest(one.root, root_size)


def with_both_slots_good(drive: ForgetfulDrive) -> None:
    """Put slot a's release into slot b, too, confirmed, as after an update long ago."""
    full, empty = slot(drive.disk, "a"), slot(drive.disk, "b")
    boot_size, root_size = slots.extents(full)
    for source, target, size in ((full.boot, empty.boot, boot_size), (full.root, empty.root, root_size)):
        target.write(0, source.read(0, size))
    record = bootrecord.encode(bootrecord.confirm(bootrecord.fresh("b", good=True), "a"))
    for copy in (0, 1):
        parts(drive.disk)[disk.record_name(copy)].write(0, record)
    drive.disk.sync()


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A machine that is up, saved with its disk and what belongs to it; and the release that is published."""

    content: SparseDisk
    saved: Path
    image: Path
    config: str
    key: Key
    shop: Shop
    offer: Offer


@pytest.fixture(scope="module")
def ready(built: Built, tools: Tools, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    folder = tmp_path_factory.mktemp("powercut")
    image = built(*CLOUD)["raw"]
    key = client.key("of-cut")
    with Shop(folder / "repository") as shop, forgetful(content_of(image, DISK_BYTES)) as drive:
        root = json.dumps(shop.root.decode())
        config = CONFIG.format(key=key.public, host=HOST, port=shop.port, channel=CHANNEL, root=root)
        filler = {"usr/share/filler": random.Random(0).randbytes(NEW_BYTES)}
        offer = publish(shop, Workshop(tools, ROOT).make("2", files=filler))
        with_both_slots_good(drive)
        options = {"config": config, "changed": drive.instead, "forwards": (22,)}
        with Machine(image, tools=tools, folder=folder, **options) as machine:
            machine.wait(events.HEALTH_PASSED)
            login = Login(client=client, machine=machine, user="root", key=key)
            login.out("echo kept > /var/lib/mine && sync")
            machine.save(folder / "saved")
        drive.restore()
        content = drive.disk.content()
        yield Ready(
            content=content, saved=folder / "saved", image=image, config=config, key=key, shop=shop, offer=offer
        )  # fmt: skip


def forgetful(content: SparseDisk, seed: int = 0) -> ForgetfulDrive:
    return ForgetfulDrive(content, serial="FORGETFUL", seed=seed)


class Update:
    """What the update has to do on a disk, worked out here from the disk's content."""

    def __init__(self, ready: Ready, device: BlockDevice) -> None:
        target = slot(device, "b")
        pieces = [
            piece
            for image, part in ((ready.offer.boot, target.boot), (ready.offer.root, target.root))
            for piece in assemble.missing(self._index(ready.shop, image), part)
        ]
        planned = assemble.plan(pieces, slot(device, "a"))
        self.bytes = sum(piece.block.size for piece in planned)
        self.packs = {
            blocks.pack_path(piece.block.pack.sha256)
            for piece in planned
            if piece.place is None and piece.block.pack is not None
        }

    @staticmethod
    def _index(shop: Shop, image: Image) -> Index:
        return Index.decode((shop.folder / index_path(image.index_sha256)).read_bytes())


# Which write it is: of the boot record, from the request for an update on (`try` is GRUB's); of sector 0, from an
# installation's start on; of state's first MiB, from the first boot on.
WRITES = {"vacate": 1, "prefer": 2, "try": 3, "confirm": 4, "mark": 1, "mbr": 2, "state": 1}


@dataclass(frozen=True, kw_only=True)
class Case:
    """An instant: after a `share` of all bytes, or beside a write of one sector (`WRITES`; `moment`: see `Around`)."""

    seed: int
    share: float = 0.0
    write: str = ""
    moment: str = ""

    def __str__(self) -> str:
        return f"{self.write}-{self.moment}" if self.write else f"after-{self.share:.0%}"

    def instant(self, *, whole: Places, count: int, one: Places) -> Instant:
        """`whole`: the places that are filled with `count` bytes; `one`: where the one sector may be written."""
        if self.write:
            return Around(places=one, number=WRITES[self.write], moment=self.moment)
        return Written(places=whole, count=int(self.share * count))


def at_share(seed: int) -> Case:
    return Case(seed=seed, share=random.Random(seed).uniform(0.02, 0.98))


def beside(seed: int, write: str, moment: str) -> Case:
    return Case(seed=seed, write=write, moment=moment)


def parameters(often: list[Case], rest: list[Case]) -> list[Any]:
    return [*(pytest.param(case, id=str(case)) for case in often),
            *(pytest.param(case, id=str(case), marks=pytest.mark.slow) for case in rest)]  # fmt: skip


UPDATES = parameters(
    [at_share(6), beside(2, "prefer", "unsynced"), beside(3, "confirm", "unsynced")],
    [
        *map(at_share, (1, 4, 5, 7)),
        beside(9, "vacate", "before"), beside(10, "vacate", "unsynced"), beside(11, "prefer", "before"),
        beside(12, "prefer", "synced"), beside(13, "try", "unsynced"), beside(14, "confirm", "synced"),
    ],
)  # fmt: skip
INSTALLATIONS = parameters(
    [at_share(17)],
    [*map(at_share, (15, 16, 18)), beside(19, "mbr", "before"), beside(20, "mbr", "unsynced")],
)
FIRST_BOOTS = parameters([], [beside(8, "state", "unsynced")])


class Box:
    """A machine on a forgetful drive, and its root's log-in."""

    def __init__(self, drive: ForgetfulDrive, machine: Machine, login: Login) -> None:
        self.drive = drive
        self.machine = machine
        self.login = login

    def until_dark(self) -> None:
        """Wait for the instant, take QEMU's power and give the disk's back."""
        self.machine.wait_until(lambda: self.drive.is_dark, what="the instant of the cut")
        self.machine.cut_power()
        self.drive.restore()

    def is_well(self, file: str, words: str) -> str:
        """See that it comes up on a slot that is good, with these words in a file on its state. Return the slot."""
        self.machine.wait(events.HEALTH_PASSED)
        told, _, kept = self.login.out(f"berthctl status --json; cat {file}").partition("\n")
        status = json.loads(told)
        assert words in kept
        assert (status["media"], status["state"]["kind"], status["health"]["state"]) == ("disk", "ext4", "healthy")
        assert status["last_return"] is None
        [booted] = [name for name, facts in status["slots"].items() if facts["booted"]]
        assert (status["slots"][booted]["good"], status["slots"][booted]["tries"]) == (True, 3)
        return str(booted)


@pytest.mark.parametrize(("moment", "left"), [("before", {b"\0"}), ("unsynced", {b"\0", b"a"}), ("synced", {b"a"})])
def test_the_drive_forgets_what_was_not_flushed(moment: str, left: set[bytes], tools: Tools) -> None:
    asks = ("write -P 0x61 0 512", "flush", "write -P 0x62 4096 512", "flush")
    words = [word for ask in asks for word in ("-c", ask)]
    found = set()
    for seed in range(8):
        with forgetful(SparseDisk(1 << 20), seed) as drive:
            drive.cut_at(Around(places=((0, 512),), number=1, moment=moment))
            argv = tools.argv("qemu-io", "-t", "writeback", "-f", "raw", *words, drive.address)
            with subprocess.Popen(argv, env=tools.environment(), stdout=subprocess.DEVNULL) as client:
                drive.wait_until_dark()
                client.kill()
            drive.restore()
            found.add(drive.disk.read(0, 1))
            assert drive.disk.read(4096, 1) == b"\0"
    assert found == left


@pytest.mark.parametrize("case", UPDATES)
def test_updating(case: Case, ready: Ready, tools: Tools, client: Client, tmp_path: Path) -> None:
    options = {"config": ready.config, "tools": tools, "folder": tmp_path, "forwards": (22,)}
    with ExitStack() as stack:
        drive = stack.enter_context(forgetful(ready.content, case.seed))
        machine = Machine(ready.image, changed=drive.instead, **options)
        stack.push(machine)
        machine.go_on(ready.saved)
        box = Box(drive, machine, Login(client=client, machine=machine, user="root", key=ready.key))
        running = digests(slot(drive.disk, "a"))
        whole = Update(ready, drive.disk)
        slot_b = (place(drive.disk, disk.boot_name("b")), place(drive.disk, disk.root_name("b")))
        copies = tuple(place(drive.disk, disk.record_name(copy), bootrecord.COPY_BYTES) for copy in (0, 1))
        drive.cut_at(case.instant(whole=slot_b, count=whole.bytes, one=copies))
        with box.login.begin("berthctl update apply --reboot") as asking:
            box.until_dark()
            asking.kill()

        assert digests(slot(drive.disk, "a")) == running
        left = Update(ready, drive.disk)
        del ready.shop.asked[:]
        machine.start()
        booted = box.is_well("/var/lib/mine", "kept")
        print(f"{case}: slot {booted} runs; {left.bytes} of {whole.bytes} bytes are left to write")
        if booted == "b":
            assert left.bytes == 0, "it runs a slot that is not whole"
        else:
            assert box.login.json("berthctl update status --json")["interrupted"]
            after = len(machine.seen)
            with box.login.begin("berthctl update apply --reboot") as asking:
                machine.wait(events.UPDATE_STATE, after=after, state=updates.GOOD, version=ready.offer.version)
                asking.kill()
            assert {path for path in ready.shop.asked if path.startswith("packs/")} == left.packs
        assert digests(slot(drive.disk, "b")) == (ready.offer.boot.sha256, ready.offer.root.sha256)
        [attempt] = box.login.json("berthctl update history --json")["attempts"]
        assert (attempt["state"], attempt["version"]) == (updates.GOOD, ready.offer.version)


@pytest.mark.parametrize("case", INSTALLATIONS)
def test_installing(case: Case, built: Built, tools: Tools, client: Client, tmp_path: Path) -> None:
    made = built(*CLOUD)
    key = client.key(f"of-cut-{case.seed}")
    options: dict[str, Any] = {"tools": tools, "folder": tmp_path, "forwards": (22,)}
    with forgetful(SparseDisk(DISK_BYTES), case.seed) as drive:
        count = sum(size for _, size in members(made["bundle"]).values())
        drive.cut_at(case.instant(whole=((0, DISK_BYTES),), count=count, one=((0, disk.SECTOR),)))
        config = INSTALL_CONFIG.format(key=key.public)
        with Machine(made["iso"], config=config, changed=drive.plugged, **options) as live:
            Box(drive, live, Login(client=client, machine=live, user="root", key=key)).until_dark()
            first = drive.disk.read(0, disk.SECTOR)
            print(f"{case}: {'half' if is_marked(first) else 'wholly' if any(first) else 'not'} installed")
            if is_marked(first) or not any(first):
                live.start()
                planned = live.wait(events.INSTALL_PLANNED)
                assert ("an interrupted installation begins anew" in planned["reason"]) == is_marked(first)
                live.wait(events.SHUTDOWN_CLEAN)
                live.wait_until_off()
                drive.restore()

        with Machine(made["raw"], changed=drive.instead, **options) as machine:
            box = Box(drive, machine, Login(client=client, machine=machine, user="root", key=key))
            assert box.is_well("/var/lib/berth/config/user-data", "berth.seed/1") == "a"
            assert machine.wait(events.CONFIG_APPLIED)["source"] == "last-good"


@pytest.mark.parametrize("case", FIRST_BOOTS)
def test_making_state(case: Case, built: Built, tools: Tools, client: Client, tmp_path: Path) -> None:
    """A disk image's first boot: what mke2fs has half written is neither blank nor a file system."""
    image = built(*CLOUD)["raw"]
    key = client.key(f"of-cut-{case.seed}")
    options: dict[str, Any] = {"config": FIRST_CONFIG.format(key=key.public), "forwards": (22,)}
    with forgetful(content_of(image, DISK_BYTES), case.seed) as drive:
        state, _ = place(drive.disk, "state")
        drive.cut_at(case.instant(whole=(), count=0, one=((state, state + disk.MIB),)))
        with Machine(image, tools=tools, folder=tmp_path, changed=drive.instead, **options) as machine:
            box = Box(drive, machine, Login(client=client, machine=machine, user="root", key=key))
            box.until_dark()
            first = drive.disk.read(state, disk.MIB)
            print(f"{case}: {len(first) - first.count(0)} bytes of state's first MiB are not zero")
            machine.start()
            assert box.is_well("/proc/mounts", " /run/berth/state ext4 ") == "a"
