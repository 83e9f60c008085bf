"""The boot record's rules, over all records, damages of both copies, and interruptions of every write.

Invariants, as the names of the tests say them:
- GRUB never boots a slot without the record in force afterwards having one try less for it.
- At most three boots per slot happen between two refills, whatever single copy is damaged; then rescue.
- A confirmed slot with tries comes back when the other one's are spent.
- One interruption of one write never loses both copies: afterwards the old record is in force, or the new one. Only
  in place, where the other copy can't be written, it may: then what that one says is in force, or rescue comes.
"""

from __future__ import annotations

import functools
import io
import itertools
import random
import re
import tarfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import bootrecord, disk, envblock
from init.formats.bootrecord import COPY_BYTES, Record, SlotState, Write, current, decide, decode, encode

Pair = tuple[Record, tuple[bytes, bytes]]
Pairs = Callable[[], Iterator[Pair]]

STATES = [SlotState(tries=tries, good=good) for tries in range(4) for good in (False, True)]
BODIES = [
    Record(sequence=0, order=order, a=a, b=b) for order in (("a", "b"), ("b", "a")) for a in STATES for b in STATES
]
RECORDS = [replace(body, sequence=sequence) for body in BODIES for sequence in range(3)]
STALE = Record(sequence=0, order=("a", "b"), a=SlotState(tries=3, good=True), b=SlotState(tries=3, good=True))


@given(st.text(st.sampled_from("0123/ab\n"), max_size=16) | st.from_regex(bootrecord.CHECK_PATTERN))
def test_pid_1_reads_the_check_where_grub_does(text: str) -> None:
    fits = re.fullmatch(bootrecord.CHECK_PATTERN.strip("^$"), text) is not None
    assert (bootrecord.parse_check(text) is not None) == fits


def _poke(copy: bytes, offset: int, data: bytes) -> bytes:
    return copy[:offset] + data + copy[offset + len(data) :]


# Each turns a sound copy into a damaged one. `readable`/`writable`: what GRUB can still do with it.
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "sound": lambda copy: copy,
    "no header": lambda copy: bytes(disk.SECTOR) + copy[disk.SECTOR :],
    "header's name": lambda copy: _poke(copy, 2, b"X"),
    "signature": lambda copy: _poke(copy, disk.SECTOR, b"X"),
    "last byte of the tail": lambda copy: _poke(copy, COPY_BYTES - 1, b"\0"),
    "middle of the tail": lambda copy: _poke(copy, COPY_BYTES - 100, b"\n"),
    "check": lambda copy: copy.replace(b"check=1/", b"check=2/"),
    "a value": lambda copy: copy.replace(b"\nseq=", b"\nseq=7"),
    "a name": lambda copy: copy.replace(b"\nseq=", b"\nsEq="),
    "key twice": lambda copy: copy.replace(b"\ncheck=", b"\nseq=7\ncheck=")[:COPY_BYTES],
    "lost newline": lambda copy: copy.replace(b"\ntries_a", b"#tries_a"),
    "zeros": lambda copy: copy[: disk.SECTOR] + bytes(disk.SECTOR),
    "ones": lambda copy: copy[: disk.SECTOR] + b"\xff" * disk.SECTOR,
    "noise": lambda copy: copy[: disk.SECTOR] + random.Random(1).randbytes(disk.SECTOR),
    "half written": lambda copy: copy[: disk.SECTOR + 256] + b"\xff" * 256,
}


def damaged(copy: bytes) -> dict[str, bytes]:
    """Return the copy damaged in every way."""
    return {name: damage(copy) for name, damage in DAMAGES.items()}


UNWRITABLE_READABLE = {"last byte of the tail", "half written"}


SAMPLED = BODIES[::37]  # 4, of both orders, with no tries, some and all
NEIGHBOURS = {"older": replace(STALE, sequence=2), "equally new": replace(STALE, sequence=0)}
NEIGHBOUR_COPIES = {name: damaged(encode(record)) for name, record in NEIGHBOURS.items()}


def one_damaged() -> Iterator[Pair]:
    """Every record as each copy, beside an older one, in all ways in which at most one copy is damaged.

    Beside an equally new one, too, which no write leaves behind: sound, or damaged, for the records of `SAMPLED`.
    """
    for body, age, index in itertools.product(BODIES, NEIGHBOURS, (0, 1)):
        most = 1 if age == "older" or body in SAMPLED else 0  # how many of the two copies are damaged
        yield from _damaged_pairs(body, age, index, range(most + 1))


def both_damaged() -> Iterator[Pair]:
    """Every record as each copy, beside an older one, both damaged in every way; and what `one_damaged` leaves out.

    Beside an equally new one both are damaged for the records of `SAMPLED` alone.
    """
    for body, age, index in itertools.product(BODIES, NEIGHBOURS, (0, 1)):
        numbers = (2,) if age == "older" or body in SAMPLED else (1,)
        yield from _damaged_pairs(body, age, index, numbers)


def both_damaged_of_some() -> Iterator[Pair]:
    """Both copies damaged in every way, for the records of `SAMPLED`."""
    for body, age, index in itertools.product(SAMPLED, NEIGHBOURS, (0, 1)):
        yield from _damaged_pairs(body, age, index, (2,))


def some() -> Iterator[Pair]:
    """Every 31st pair with at most one damaged copy, and of `SAMPLED` with both."""
    yield from itertools.islice(itertools.chain(one_damaged(), both_damaged_of_some()), 0, None, 31)


def _damaged_pairs(body: Record, age: str, index: int, numbers: Collection[int]) -> Iterator[Pair]:
    """Give a record as copy `index` beside its neighbour, so many of the two damaged, in every way."""
    own, other = _own_copies(body), NEIGHBOUR_COPIES[age]
    for mine, theirs in itertools.product(DAMAGES, DAMAGES):
        if (mine != "sound") + (theirs != "sound") in numbers:
            yield body, (own[mine], other[theirs]) if index == 0 else (other[theirs], own[mine])


@functools.cache
def _own_copies(body: Record) -> dict[str, bytes]:
    return damaged(encode(body))


_all_one, _all_both = (pytest.param(pairs, marks=pytest.mark.long) for pairs in (one_damaged, both_damaged))
each_pair = pytest.mark.parametrize("pairs", [_all_one, _all_both, some])
each_of_some = pytest.mark.parametrize("pairs", [_all_one, both_damaged_of_some])


def test_the_pairs_are_what_they_are_said_to_be() -> None:
    assert len(BODIES) == 128
    assert {slot.tries for body in SAMPLED for slot in (body.a, body.b)} == {0, 1, 2, 3}
    assert {body.order for body in SAMPLED} == {("a", "b"), ("b", "a")}
    for neighbour in NEIGHBOURS.values():
        beside = {encode(neighbour)}
        sound = [body for body, copies in one_damaged() if beside & set(copies) and encode(body) in copies]
        assert {encode(body) for body in sound} == {encode(body) for body in BODIES}
    ways = len(DAMAGES) - 1
    assert sum(1 for _ in one_damaged()) == 2 * (len(BODIES) * (2 * ways + 2) + len(SAMPLED) * 2 * ways)
    others = len(BODIES) - len(SAMPLED)
    assert sum(1 for _ in both_damaged()) == 2 * ((len(BODIES) + len(SAMPLED)) * ways**2 + others * 2 * ways)


def test_every_record_survives_being_written_and_read() -> None:
    assert len({encode(record) for record in RECORDS}) == 384
    for record in RECORDS:
        copy = encode(record)
        assert len(copy) == COPY_BYTES
        assert decode(copy) == record
        assert bootrecord.is_sound(copy)


def test_the_newer_copy_is_in_force_for_all_sequences() -> None:
    for first, second in itertools.product(range(3), repeat=2):
        records = (replace(STALE, sequence=first), replace(STALE, sequence=second))
        assert bootrecord.newer(*records) == (1 if f"{first}{second}" in ("01", "12", "20") else 0)


@pytest.mark.parametrize("damage", [name for name in DAMAGES if name not in {"sound", *UNWRITABLE_READABLE}])
def test_a_damaged_copy_is_not_valid(damage: str) -> None:
    for record in RECORDS:
        copy = DAMAGES[damage](encode(record))
        assert not bootrecord.is_sound(copy)
        if damage != "middle of the tail":  # a name without `=`: GRUB stops reading there, all that counts is read
            assert decode(copy) is None


@each_pair
def test_never_boots_a_slot_uncounted(pairs: Pairs) -> None:
    drives = [frozenset(), frozenset({0}), frozenset({1}), frozenset({0, 1})]
    for (_, copies), refused in itertools.product(pairs(), drives):
        before = current(copies)
        decision = decide(copies, refused=refused)
        assert refused.isdisjoint(write.copy for write in decision.writes)
        if decision.slot is None:
            continue
        assert before is not None
        after = current(bootrecord.applied(copies, decision.writes))
        assert after is not None
        assert after.slot(decision.slot).tries == before.slot(decision.slot).tries - 1
        assert replace(after, sequence=0) == replace(bootrecord.spend(before, decision.slot), sequence=0)
        assert after == decision.record


@each_pair
def test_boots_the_first_slot_that_has_a_try_or_goes_to_rescue(pairs: Pairs) -> None:
    for _, copies in pairs():
        before = current(copies)
        decision = decide(copies)
        if before is None:
            assert (decision.slot, decision.why) == (None, "no-record")
            continue
        first, second = before.order
        wanted = first if before.slot(first).tries else second if before.slot(second).tries else None
        if decision.slot is None and wanted is not None:
            assert decision.why == "not-writable"
            assert not any(bootrecord.is_sound(copy) for copy in copies)
        else:
            assert decision.slot == wanted


@each_pair
def test_whatever_is_damaged_a_machine_that_never_confirms_ends_in_rescue(pairs: Pairs) -> None:
    for _, start in pairs():
        copies = start
        boots = {"a": 0, "b": 0}
        for _ in range(8):
            decision = decide(copies)
            copies = bootrecord.applied(copies, decision.writes)
            if decision.slot is None:
                break
            boots[decision.slot] += 1
        else:
            raise AssertionError("boots for ever without a refill")
        assert max(boots.values()) <= 3


def test_a_confirmed_slot_comes_back_after_three_failures_of_the_new_one() -> None:
    for record in RECORDS:
        if not record.a.good:
            continue
        copies = (encode(record), encode(STALE)) if record.sequence != 2 else (encode(record), encode(record))
        updated = bootrecord.prefer(bootrecord.vacate(current(copies) or record, "b"), "b", good=False)
        copies = bootrecord.applied(copies, bootrecord.plan(copies, updated))
        slots = []
        for _ in range(4):
            decision = decide(copies)
            slots.append(decision.slot)
            copies = bootrecord.applied(copies, decision.writes)
        assert slots == ["b", "b", "b", "a"]
        assert bootrecord.came_back(current(copies) or record, "a") == "b"


def interruptions(before: bytes, after: bytes) -> Iterator[bytes]:
    """What a copy may hold when the power goes while it is written: the old, the new, or sectors torn."""
    noise = random.Random(2).randbytes(COPY_BYTES)
    yield before
    yield after
    for sector in (0, disk.SECTOR):
        yield _poke(before, sector, noise[: disk.SECTOR])
        yield _poke(after, sector, noise[: disk.SECTOR])
    yield before[: disk.SECTOR] + after[disk.SECTOR :]
    yield after[: disk.SECTOR] + before[disk.SECTOR :]
    yield after[: disk.SECTOR + 256] + before[disk.SECTOR + 256 :]


@pytest.mark.parametrize("bodies", [SAMPLED, pytest.param(BODIES, marks=pytest.mark.long)], ids=["some", "all"])
def test_one_interrupted_write_leaves_the_old_record_or_the_new(bodies: list[Record]) -> None:
    """PID 1's plan from every record, its neighbour damaged in every way, each write interrupted in every way.

    The neighbour is an older one; of the records of `SAMPLED` also an equally new one, which no write leaves behind: it
    is then as good as the one in force.
    """
    for body, age, damage, index in itertools.product(bodies, NEIGHBOURS, DAMAGES, (0, 1)):
        if age != "older" and body not in SAMPLED:
            continue
        pair = [NEIGHBOUR_COPIES[age][damage]] * 2
        pair[index] = encode(body)
        for wanted in (bootrecord.confirm(body, "a"), bootrecord.prefer(body, "b", good=False), body):
            copies = (pair[0], pair[1])
            old = current(copies)
            assert old is not None
            equals = [NEIGHBOURS[age]] if age == "equally new" else []
            allowed = {replace(record, sequence=0) for record in (old, wanted, *equals)}
            for write in bootrecord.plan(copies, wanted):
                for state in interruptions(copies[write.copy], write.data):
                    torn = bootrecord.applied(copies, (replace(write, data=state),))
                    found = current(torn)
                    assert found is not None
                    assert replace(found, sequence=0) in allowed
                copies = bootrecord.applied(copies, (write,))
            final = current(copies)
            assert final is not None
            assert replace(final, sequence=0) == replace(wanted, sequence=0)


@pytest.mark.parametrize("bodies", [SAMPLED, pytest.param(BODIES, marks=pytest.mark.slow)], ids=["some", "all"])
def test_one_interrupted_write_beside_two_damaged_copies_leaves_a_record_that_stood_there(bodies: list[Record]) -> None:
    """PID 1's plan where the copy in force is damaged, and can still be read: the other one is written first."""
    for body, damage, index in itertools.product(bodies, DAMAGES, (0, 1)):
        for mine, own in _own_copies(body).items():
            if mine == "sound" or decode(own) is None:
                continue
            pair = [NEIGHBOUR_COPIES["older"][damage]] * 2
            pair[index] = own
            copies = (pair[0], pair[1])
            for wanted in (bootrecord.prefer(body, "b", good=False), body):
                assert_interrupted(copies, bootrecord.plan(copies, wanted), safe=True)


@each_of_some
def test_grubs_write_interrupted_leaves_a_record_that_stood_there(pairs: Pairs) -> None:
    """In place, where the other copy can't be written, it is not safe: then what that one says, or rescue."""
    for _, copies in pairs():
        writes = decide(copies).writes
        for write in writes:
            beside = copies[1 - write.copy]
            assert decode(beside) == current(copies) or not bootrecord.is_sound(beside)
        assert_interrupted(copies, writes, safe=False)


@each_of_some
def test_a_write_in_place_interrupted_leaves_a_record_that_stood_there(pairs: Pairs) -> None:
    for _, copies in pairs():
        found = current(copies) or bootrecord.fresh("a")
        assert_interrupted(copies, bootrecord.plan_in_place(copies, bootrecord.confirm(found, "b")), safe=False)


def assert_interrupted(copies: tuple[bytes, bytes], writes: tuple[Write, ...], *, safe: bool) -> None:
    """Interrupt each write in every way: in force is the record of before, the new one, or what the other copy says.

    `safe`: never none, and never an older one. None is only where the other copy can't be read.
    """
    for write in writes:
        beside, before, after = decode(copies[1 - write.copy]), current(copies), decode(write.data)
        for state in interruptions(copies[write.copy], write.data):
            found = current(bootrecord.applied(copies, (replace(write, data=state),)))
            if safe or beside == before:
                assert found in (before, after)
            else:
                assert found in (before, after, beside) or found is None is beside
            assert found is not None or (beside is None and not safe)
        copies = bootrecord.applied(copies, (write,))


def test_grubs_write_interrupted_beside_a_sound_copy_leaves_a_record() -> None:
    for record in RECORDS:
        older = replace(STALE, sequence=(record.sequence + 2) % 3)
        for copies in ((encode(record), encode(older)), (encode(older), encode(record))):
            for write in decide(copies).writes:
                for state in interruptions(copies[write.copy], write.data):
                    found = current(bootrecord.applied(copies, (replace(write, data=state),)))
                    assert found is not None
                    assert found in (record, decide(copies).record)


@each_pair
def test_a_plan_makes_both_copies_sound_whatever_was_damaged(pairs: Pairs) -> None:
    for _, copies in pairs():
        wanted = current(copies) or bootrecord.fresh("a")
        after = bootrecord.applied(copies, bootrecord.plan(copies, wanted))
        assert all(bootrecord.is_sound(copy) for copy in after)
        found = current(after)
        assert found is not None
        assert replace(found, sequence=0) == replace(wanted, sequence=0)


@each_pair
def test_a_copy_that_cannot_be_written_leaves_the_other_one_in_force(pairs: Pairs) -> None:
    for _, copies in pairs():
        found = current(copies)
        if found is None:
            assert bootrecord.plan_in_place(copies, bootrecord.fresh("a")) == ()
            continue
        wanted = bootrecord.confirm(found, "b")
        after = current(bootrecord.applied(copies, bootrecord.plan_in_place(copies, wanted)))
        assert after is not None
        assert replace(after, sequence=0) == replace(wanted, sequence=0)


def test_nothing_to_change_writes_nothing() -> None:
    for record in RECORDS:
        copies = (encode(record), encode(replace(record, sequence=(record.sequence + 2) % 3)))
        assert bootrecord.plan(copies, record) == ()


def test_arm_refills_a_confirmed_slot_and_one_without_a_confirmed_neighbour() -> None:
    for record in RECORDS:
        for slot in bootrecord.SLOTS:
            armed = bootrecord.arm(record, slot)
            refilled = record.slot(slot).good or not record.slot(bootrecord.other(slot)).good
            assert armed.slot(slot).tries == (3 if refilled else record.slot(slot).tries)
            assert armed.slot(bootrecord.other(slot)) == record.slot(bootrecord.other(slot))
            assert armed.order == record.order


def test_hold_gives_the_confirmed_neighbour_the_next_boot_and_does_nothing_without_one() -> None:
    for record in RECORDS:
        held = bootrecord.hold(record, "b")
        if record.a.good:
            assert bootrecord.first_with_tries(held) == "a"
            assert held.b.tries == 0
        else:
            assert held == record


def test_no_transition_loses_the_last_bootable_slot() -> None:
    for record in RECORDS:
        if not record.a.good or not record.a.tries:
            continue
        for after in (
            bootrecord.confirm(record, "b"), bootrecord.arm(record, "b"), bootrecord.vacate(record, "b"),
            bootrecord.prefer(record, "b", good=False), bootrecord.hold(record, "b"), bootrecord.settle(record, "a"),
        ):  # fmt: skip
            assert after.a.good
            assert after.a.tries > 0


@given(st.binary(min_size=COPY_BYTES, max_size=COPY_BYTES), st.binary(min_size=COPY_BYTES, max_size=COPY_BYTES))
def test_noise_leads_to_rescue(first: bytes, second: bytes) -> None:
    assert decide((first, second)).why == "no-record"


@given(st.sampled_from(RECORDS), st.integers(0, COPY_BYTES * 8 - 1))
def test_one_flipped_bit_never_gives_another_record(record: Record, bit: int) -> None:
    damaged = bytearray(encode(record))
    damaged[bit // 8] ^= 1 << bit % 8
    assert decode(bytes(damaged)) in (record, None)


def test_the_header_is_one_that_other_programs_read() -> None:
    archive = encode(bootrecord.fresh()) + bytes(2 * disk.SECTOR)
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        (member,) = members.getmembers()
        assert (member.name, member.size) == (bootrecord.FILE_NAME, 512)
    assert envblock.read(archive[disk.SECTOR : COPY_BYTES], ["order"]) == {"order": b"ab"}
