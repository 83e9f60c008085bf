"""The record of updates: what it says survives as bytes, and each way an update can go ends in the right words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import updates
from init.formats.updates import Attempt, Check, Held, UpdateRecord
from init.pid1 import updaterecord

ATTEMPT = Attempt(
    version="2", sequence=7, image="f" * 64, state=updates.DOWNLOADING, slot="b", began="2026-01-01", changed="x",
)  # fmt: skip
texts = st.text(max_size=8)
attempts = st.builds(
    Attempt, version=texts, sequence=st.integers(0), image=texts, state=texts, slot=texts, began=texts, changed=texts,
    reason=texts, size=st.integers(0), fetched=st.integers(0), reused=st.integers(0), memory=st.integers(0),
)  # fmt: skip
records = st.builds(
    UpdateRecord,
    checked=st.none() | st.builds(Check, at=texts, state=texts, version=texts, sequence=st.integers(0), reason=texts),
    attempts=st.lists(attempts, max_size=3).map(tuple),
    held=st.lists(st.builds(Held, image=texts, version=texts, reason=texts, at=texts), max_size=3).map(tuple),
    sequence=st.integers(0),
)


@given(records)
def test_what_is_written_is_read(record: UpdateRecord) -> None:
    assert updates.decode(updates.encode(record)) == record


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": "berth.update-record/2"}', b'{"format"', b"\xff"])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are json's as often as ours
        updates.decode(data)


def test_an_attempt_that_was_cut_short_goes_on_as_the_same_one() -> None:
    first = updates.begun(UpdateRecord(), replace(ATTEMPT, fetched=10))
    again = updates.begun(first, replace(ATTEMPT, began="later"))
    assert [(one.began, one.fetched) for one in again.attempts] == [(ATTEMPT.began, 10)]
    done = updates.advanced(again, replace(ATTEMPT, state=updates.SWITCHED))
    assert len(updates.begun(done, replace(ATTEMPT, began="later")).attempts) == 2


def test_history_is_bounded() -> None:
    record = UpdateRecord()
    for number in range(100):
        record = updates.begun(record, replace(ATTEMPT, image=str(number)))
    assert len(record.attempts) == updates.HISTORY_MOST


def test_a_confirmed_update_is_good_and_raises_the_sequence() -> None:
    switched = UpdateRecord(attempts=(replace(ATTEMPT, state=updates.SWITCHED),), sequence=3)
    good = updates.confirmed(switched, "b", "now")
    assert ([one.state for one in good.attempts], good.sequence) == ([updates.GOOD], 7)
    assert updates.confirmed(switched, "a", "now") == switched


def test_one_that_came_back_is_held_until_told_otherwise() -> None:
    switched = UpdateRecord(attempts=(replace(ATTEMPT, state=updates.SWITCHED),))
    back = updates.came_back(switched, "b", "unhealthy", "now")
    [attempt] = back.attempts
    assert (attempt.state, attempt.reason) == (updates.RETURNED, "unhealthy")
    assert [one.reason for one in back.held] == ["unhealthy"]
    assert back.holds(ATTEMPT.image) is not None
    assert updates.released(back, ATTEMPT.image).holds(ATTEMPT.image) is None
    assert updates.came_back(switched, "a", "unhealthy", "now") == switched


@pytest.mark.parametrize(
    ("action", "found", "told"),
    [
        ("check", (updates.AVAILABLE, "2"), updates.SWITCHED),
        ("check", (updates.AVAILABLE, "3"), updates.AVAILABLE),
        ("check", (updates.FAILED, ""), updates.FAILED),
        ("apply", (updates.FAILED, ""), updates.FAILED),
        ("status", (updates.AVAILABLE, "2"), updates.SWITCHED),
        ("status", (updates.FAILED, ""), updates.SWITCHED),
        ("status", (), updates.SWITCHED),
    ],
)
def test_a_release_that_boots_next_is_not_forgotten_over_a_later_look(
    action: str, found: tuple[str, ...], told: str
) -> None:
    kept = UpdateRecord(attempts=(replace(ATTEMPT, state=updates.SWITCHED),))
    now = dict(zip(("state", "version"), found, strict=False))
    assert updaterecord.report(kept, now, None, action=action, running=False, slot="a")["state"] == told


def test_a_release_that_was_rolled_back_from_is_not_said_to_run() -> None:
    """Until somebody goes forward to it again."""
    good = UpdateRecord(attempts=(replace(ATTEMPT, state=updates.GOOD),))
    back = updates.rolled_back(good, "b", "now")
    for kept, slot, told in ((good, "b", "good"), (back, "b", "good"), (back, "a", "returned"), (good, "a", "good")):
        answer = updaterecord.report(kept, {}, None, action="status", running=False, slot=slot)
        assert (answer["state"], answer["reason"]) == (told, "rolled back by hand" if told == "returned" else "")
