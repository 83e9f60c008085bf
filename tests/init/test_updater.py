"""A whole update on a disk that forgets: what it takes from where, what it refuses, a power cut at every operation."""

from __future__ import annotations

import dataclasses

import pytest
from fakes.blockdevice import PowerCutError
from fakes.published import PAGE, Published, pages, release
from fakes.updatable import Updatable

from init.formats import blocks, updates
from init.updater.errors import RefusedError

OLD_DATA = pages(40, 1)
NEW_DATA = pages(5, 2) + OLD_DATA[: 30 * PAGE] + bytes(8 * PAGE) + pages(3, 3)
OLD = release(1, OLD_DATA)
NEW = release(2, NEW_DATA, after=OLD, kernel=b"new kernel")
OTHER = release(3, pages(48, 4), kernel=b"another kernel")


def machine(second: Published | None = None, *, seed: int = 0) -> Updatable:
    made = Updatable(OLD, second, seed=seed)
    made.repository.add((OLD, NEW, OTHER))
    return made


def test_an_update_is_written_verified_and_boots_next() -> None:
    one = machine()
    assert one.update(lambda: NEW)
    assert one.holds("b", NEW)
    assert one.holds("a", OLD)
    assert one.boots() == "b"
    record = one.record()
    assert (record.b.good, record.b.tries, record.a.good, record.a.tries) == (False, 2, True, 3)
    last = one.load().last
    assert last is not None
    assert (last.state, last.version, last.slot) == (updates.SWITCHED, "v2", "b")


def test_what_the_running_slot_has_is_not_fetched() -> None:
    one = machine()
    one.update(lambda: NEW)
    shared = {block.sha256 for block, _ in blocks.cut([OLD.root])}
    changed = sum(block.size for block, _ in blocks.cut([NEW.root]) if block.sha256 and block.sha256 not in shared)
    indexes = NEW.offer.boot.index_size + NEW.offer.root.index_size
    assert one.repository.fetched <= changed + indexes + len(NEW.boot)
    last = one.load().last
    assert last is not None
    assert last.reused + last.fetched == last.size


def test_what_the_target_has_in_its_place_is_neither_fetched_nor_written() -> None:
    one = machine(NEW)
    one.update(lambda: NEW, again=True)
    assert one.repository.fetched == NEW.offer.boot.index_size + NEW.offer.root.index_size
    assert one.disk.written < 16 * 512  # the record alone


def test_a_running_slot_that_can_not_be_read_costs_only_bytes() -> None:
    one = machine()
    one.disk.spoil(8192 + 257, b"\xff" * 5)  # the archive's magic
    assert one.update(lambda: NEW)
    assert one.holds("b", NEW)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("second", [None, OTHER], ids=["empty", "confirmed"])
def test_a_power_cut_at_any_operation_leaves_a_machine_that_boots_and_updates(
    second: Published | None, seed: int
) -> None:
    """Exhaustive: cut in each operation, boot, look at the slot, go on with the update, boot the new release."""
    whole = machine(second)
    whole.update(lambda: NEW)
    for cut_at in range(1, whole.disk.operations + 1):
        one = machine(second, seed=seed * 1000 + cut_at)
        one.disk.cut_at = cut_at
        with pytest.raises(PowerCutError):
            one.update(lambda: NEW)
        one.disk.restart()
        slot = one.boots()
        assert slot is not None, f"operation {cut_at}: rescue"
        assert one.holds("a", OLD), cut_at
        assert slot == "a" or one.holds("b", NEW), f"operation {cut_at}: boots a slot that is not whole"
        if slot == "a":
            assert one.update(lambda: NEW), (cut_at, one.load().last)
            assert one.boots() == "b", cut_at
        assert one.holds("b", NEW)
        one.boot_record("b").confirm()
        confirmed = updates.confirmed(one.load(), "b", "now")
        assert [attempt.state for attempt in confirmed.attempts] == [updates.GOOD], cut_at
        assert confirmed.sequence == 2


def test_cut_again_and_again_it_arrives() -> None:
    """A machine that loses power every few operations gets there all the same: each run begins where the last ended."""
    one = machine()
    cuts = 0
    while cuts < 200:
        one.disk.cut_at = one.disk.operations + 7
        try:
            one.update(lambda: NEW)
            break
        except PowerCutError:
            cuts += 1
            one.disk.restart()
            if one.boots() == "b":
                break
        one.boot_record("a").refill()
    assert cuts
    one.disk.cut_at = None
    assert one.holds("b", NEW)


# Refused and failed -----------------------------------------------------------------------------------------


def differing(**said: int | str) -> Published:
    return dataclasses.replace(NEW, offer=dataclasses.replace(NEW.offer, **said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offered", "reason"),
    [
        (differing(machine_class="docker-amd64"), "class"),
        (differing(channel="edge"), "channel"),
        (differing(loader=2), "loader format 2"),
        (differing(boot=dataclasses.replace(NEW.offer.boot, size=1 << 30)), "no space"),
        (differing(root=dataclasses.replace(NEW.offer.root, size=1 << 30)), "no space"),
        (differing(root_hash="0" * 64), "not whole in itself"),
    ],
)
def test_what_is_no_release_for_this_machine_is_not_taken(offered: Published, reason: str) -> None:
    one = machine(OTHER)
    assert not one.update(lambda: offered)
    last = one.load().last
    assert last is not None
    assert reason in last.reason
    assert one.boots() == "a"
    assert one.holds("a", OLD)


def test_an_index_of_another_image_is_refused_before_anything_is_written() -> None:
    one = machine(OTHER)
    wrong = dataclasses.replace(NEW.offer.root, index_sha256=OLD.offer.root.index_sha256)
    assert not one.update(lambda: differing(root=wrong))
    last = one.load().last
    assert last is not None
    assert (last.state, "another image" in last.reason) == (updates.REFUSED, True)
    assert one.holds("b", OTHER)
    assert one.record().b.good


def test_a_block_that_does_not_come_fails_and_the_next_run_goes_on() -> None:
    one = machine(OTHER)
    lost = [block for block, _ in blocks.cut([NEW.root]) if block.sha256][-1]
    one.repository.broken = {lost.sha256}
    assert not one.update(lambda: NEW)
    last = one.load().last
    assert last is not None
    assert (last.state, "network" in last.reason) == (updates.FAILED, True)
    assert one.boots() == "a"
    one.repository.broken = set()
    before = one.repository.fetched
    assert one.update(lambda: NEW)
    assert one.repository.fetched - before < len(NEW.root) // 2
    assert len(one.load().attempts) == 1


def test_a_disk_that_keeps_nothing_is_found_out_before_the_switch() -> None:
    one = machine()
    target = one.parts["root-b"]
    target.write = lambda offset, data: None  # type: ignore[method-assign, assignment]
    assert not one.update(lambda: NEW)
    last = one.load().last
    assert last is not None
    assert (last.state, "does not read back" in last.reason) == (updates.FAILED, True)
    assert one.boots() == "a"


def test_the_release_that_runs_is_current_and_teaches_its_sequence() -> None:
    one = machine()
    assert one.update(lambda: OLD)
    record = one.load()
    assert record.checked is not None
    assert (record.checked.state, record.sequence, record.attempts) == (updates.CURRENT, 1, ())


def test_an_older_sequence_is_refused_even_when_asked_again() -> None:
    one = machine()
    one.store(dataclasses.replace(one.load(), sequence=5))
    assert not one.update(lambda: NEW, again=True)
    last = one.load().last
    assert last is not None
    assert "older" in last.reason


def test_a_held_release_is_refused_once_in_history_and_taken_when_asked_again() -> None:
    one = machine()
    one.store(updates.held(one.load(), NEW.offer.slot_hash, "v2", "unhealthy", "yesterday"))
    for _ in range(3):
        assert not one.update(lambda: NEW)
    assert [(attempt.state, "unhealthy" in attempt.reason) for attempt in one.load().attempts] == [
        (updates.REFUSED, True)
    ]
    assert one.update(lambda: NEW, again=True)
    assert one.boots() == "b"


def test_a_repository_that_does_not_verify_is_refused_and_said() -> None:
    one = machine()

    def bad() -> Published:
        raise RefusedError("bad signature: timestamp")

    assert not one.update(bad)
    checked = one.load().checked
    assert checked is not None
    assert (checked.state, checked.reason) == (updates.REFUSED, "bad signature: timestamp")
    assert one.disk.written == 0
