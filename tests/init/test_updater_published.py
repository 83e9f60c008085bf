"""A whole update of what `berth publish` made: the machine's own code from the signed offer to the boot record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.bundles import numbered
from fakes.forger import Forged, Looker
from fakes.published import Published
from fakes.repositories import publisher
from fakes.updatable import Updatable
from tuf.api.metadata import TargetFile

from builder.repository.state import target_file_path
from init.formats import blocks, updates
from init.formats.offer import Offer, channel_target, index_path
from init.updater.fetch import Repository
from init.updater.http import Web

CLASS = "minimal-amd64"


class Fleet:
    """One machine that runs release 1, and the repository that it follows."""

    def __init__(self, folder: Path) -> None:
        self.forged = Forged(folder)
        self.forged.publish(1)
        self.machine = Updatable(numbered(1))
        self.looker = Looker(kept=folder / "kept")

    def update(self, *, slot: str = "a", again: bool = False) -> updates.Attempt:
        """Look and take, as the updater does; return what the record says of it."""
        url = self.forged.folder.as_uri()
        self.machine.repository = Repository(url, Web(), sleep=lambda _: None, alive=lambda: None)
        self.machine.update(lambda: SimpleNamespace(offer=self.looker.look(self.forged)), slot=slot, again=again)
        last = self.machine.load().last
        assert last is not None
        return last

    def confirm(self, slot: str) -> None:
        self.machine.store(updates.confirmed(self.machine.load(), slot, "2026-11-29T00:00:00Z"))

    def holds(self, slot: str, made: Published) -> bool:
        return self.machine.holds(slot, made)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_a_published_release_is_taken_and_little_is_fetched(fleet: Fleet) -> None:
    offer = fleet.forged.publish(2)
    last = fleet.update()
    assert (last.state, last.sequence) == (updates.SWITCHED, 2)
    assert fleet.holds("b", numbered(2))
    assert fleet.machine.boots() == "b"
    indexes = offer.boot.index_size + offer.root.index_size
    assert last.fetched - indexes < last.size // 2


def test_a_release_that_was_led_back_is_taken_only_under_a_newer_sequence(fleet: Fleet) -> None:
    """Withdrawn: the machine that confirmed it stays. The older bundle again: it is led away."""
    fleet.forged.publish(2)
    fleet.update()
    fleet.confirm("b")
    publisher(fleet.forged.files, fleet.forged.keys).withdraw(CLASS, 2)
    last = fleet.update(slot="b")
    assert (last.state, "older than 2" in last.reason) == (updates.REFUSED, True)
    fleet.forged.publish(1)
    last = fleet.update(slot="b")
    assert (last.state, last.sequence) == (updates.SWITCHED, 3)
    assert fleet.holds("a", numbered(1))


def test_a_promoted_release_is_the_same_one(fleet: Fleet) -> None:
    """A machine that followed beta and goes over to stable has nothing to do."""
    fleet.forged.publish(2, "beta")
    assert fleet.looker.look(fleet.forged).sequence == 1
    publisher(fleet.forged.files, fleet.forged.keys).promote(CLASS, 2, "stable")
    assert fleet.update().state == updates.SWITCHED
    fleet.confirm("b")
    fleet.forged.publish(2)
    fleet.update(slot="b")
    checked = fleet.machine.load().checked
    assert checked is not None
    assert checked.state == updates.CURRENT


def test_a_newer_loader_format_is_refused(fleet: Fleet) -> None:
    fleet.forged.publish(2, loader=2)
    last = fleet.update()
    assert (last.state, "loader format 2" in last.reason) == (updates.REFUSED, True)


def _files(forged: Forged, folder: str, before: set[Path]) -> list[Path]:
    return sorted({path for path in forged.folder.glob(f"{folder}/**/*") if path.is_file()} - before)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _grow(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    "damage", [_flip, _grow, lambda path: path.write_bytes(b"")], ids=["flipped", "endless", "empty"]
)
@pytest.mark.parametrize("what", ["packs", "indexes"])
def test_altered_blocks_are_refused_and_the_running_slot_stays(
    fleet: Fleet, what: str, damage: Callable[[Path], object]
) -> None:
    before = set(fleet.forged.folder.rglob("*"))
    fleet.forged.publish(2)
    for path in _files(fleet.forged, what, before):
        damage(path)
    last = fleet.update()
    assert (last.state, "altered" in last.reason) == (updates.REFUSED, True)
    assert fleet.holds("a", numbered(1))
    assert fleet.machine.boots() == "a"


def _offered(forged: Forged, change: Callable[[dict], None]) -> Offer:
    """Sign an offer that the product would never make."""
    newest = channel_target(CLASS, "stable")

    def put(signed) -> None:
        said = json.loads((forged.folder / target_file_path(newest, signed.targets[newest])).read_bytes())
        change(said)
        data = json.dumps(said).encode()
        signed.targets[newest] = TargetFile.from_data(newest, data, ["sha256"])
        forged.files.write(target_file_path(newest, signed.targets[newest]), data)

    forged.sign("targets", put)
    return Looker(kept=forged.folder.parent / "another").look(forged)


def _swap(said: dict) -> None:
    said["boot"]["index_size"], said["boot"]["index_sha256"] = said["root"]["index_size"], said["root"]["index_sha256"]


WRONG: dict[str, tuple[Callable[[dict], None], str]] = {
    "class": (lambda said: said.update(machine_class="docker-amd64"), "class docker-amd64"),
    "channel": (lambda said: said.update(channel="beta"), "channel beta"),
    "size": (lambda said: said["root"].update(size=1 << 40), "no space"),
    "index": (_swap, "another image's"),
    "root hash": (lambda said: said.update(root_hash="0" * 64), "not whole in itself"),
    "endless index": (lambda said: said["root"].update(index_size=1 << 40), "too large"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_signed_offer_that_is_wrong_is_refused_and_the_running_slot_stays(fleet: Fleet, what: str) -> None:
    """Whoever has all the keys for daily work still can't break a machine."""
    change, reason = WRONG[what]
    fleet.forged.publish(2)
    _offered(fleet.forged, change)
    last = fleet.update()
    assert (last.state, reason in last.reason) == (updates.REFUSED, True), last.reason
    assert fleet.holds("a", numbered(1))
    assert fleet.machine.boots() == "a"


def test_an_index_whose_blocks_are_elsewhere_is_refused(fleet: Fleet) -> None:
    """The index is signed, its packs are whole; but a block is not at its place in its pack."""
    fleet.forged.publish(2)

    def mix(said: dict) -> None:
        path = fleet.forged.folder / index_path(said["root"]["index_sha256"])
        index = blocks.Index.decode(path.read_bytes())
        stored = [block for block in index.blocks if block.pack]
        data = path.read_bytes()
        one, two = (bytes.fromhex(block.sha256) for block in stored[:2])
        data = data.replace(one, b"\0" * 32).replace(two, one).replace(b"\0" * 32, two)
        fleet.forged.files.write(index_path(_sha256(data)), data)
        said["root"].update(index_sha256=_sha256(data))

    _offered(fleet.forged, mix)
    last = fleet.update()
    assert last.state in (updates.REFUSED, updates.FAILED)
    assert fleet.machine.boots() == "a"


def _sha256(data: bytes) -> str:
    import hashlib  # noqa: PLC0415 - here alone

    return hashlib.sha256(data).hexdigest()
