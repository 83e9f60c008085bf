"""A disk that stalls: PID 1 goes on, answers, and tells it."""

from __future__ import annotations

import errno
import json
from typing import NoReturn

import pytest
from fakes.life import Life, make
from fakes.running import RunningSystem

from init.formats import bootrecord, updates
from init.pid1 import identity
from init.pid1.control import PATH

RECORD = (("read_blocks", "/dev/vda3"), ("read_blocks", "/dev/vda4"))


def stalling(*calls: tuple[str, str], at: float, until: float) -> RunningSystem:
    """A machine whose disk takes these calls from `at` on, and answers none of those before `until`."""
    system = make()
    system.at(at, lambda: system.hangs.update(calls))
    system.at(until, system.hangs.clear)
    return system


def test_a_disk_that_stalls_holds_up_no_answer_of_pid1():
    life = Life(system=stalling(*RECORD, at=25.0, until=1000.0))
    assert life.system.stuck == []
    first, second = life.answers
    assert first["slots"] == second["slots"] == {
        "a": {"version": "1", "tries": 3, "good": True, "booted": True},
        "b": {"version": None, "tries": 0, "good": False, "booted": False},
    }  # fmt: skip
    assert first["health"]["reasons"] == second["health"]["reasons"] == [
        "reading the boot record: its disk does not answer, so what is told of the slots is what was last known"
    ]  # fmt: skip


@pytest.mark.parametrize("call", ["read_blocks", "apart"])
def test_a_boot_record_that_can_not_be_read_leaves_what_was_known_and_is_a_reason(call):
    system = make()

    def refused(*_: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    system.at(25.0, lambda: setattr(system, call, refused))
    system.at(35.0, lambda: delattr(system, call))
    life = Life(system=system)
    during, after = life.answers
    assert during["slots"] == after["slots"] != {}
    assert during["health"]["reasons"] == [
        "reading the boot record: it can't be read now, so what is told of the slots is what was last known"
    ]
    assert after["health"]["state"] == "healthy"


def test_who_asks_for_updates_does_not_wait_for_a_disk_that_stalls():
    system, asked = stalling(("read", updates.PATH), at=15.0, until=1000.0), []
    for at in (20.0, 20.1, 28.0, 35.0):
        system.at(at, lambda: asked.append(system.connect(PATH, b'{"verb": "update-show", "action": "status"}\n')))
    life = Life(system=system)
    assert life.system.stuck == []
    answers = [json.loads(client.answer) for client in asked]
    assert [answer["message"] for answer in answers] == ["the disk that state is on does not answer"] * 4
    assert len(life.answers) == 2


def test_what_status_tells_of_the_slots_is_what_stands_on_the_disk():
    system = make()

    def written() -> None:
        record = bootrecord.prefer(bootrecord.fresh("a", good=True), "b", good=False)
        for part in ("vda3", "vda4"):
            system.blocks[f"/dev/{part}"].write(0, bootrecord.encode(record))

    system.at(35.0, written)
    before, after = Life(system=system).answers
    assert (before["order"], after["order"]) == ("ab", "ba")
    assert after["slots"]["b"] == {"version": None, "tries": 3, "good": False, "booted": False}


def test_many_who_ask_at_once_are_all_answered_and_one_child_reads_at_a_time():
    life = Life(asks=[30.0] * 20)
    assert len(life.answers) == 20
    works = [call.arguments[0] for call in life.system.calls if call.name == "apart"]
    assert [work.__qualname__ for work in works].count("Reporter._read_record") == 2  # type: ignore[attr-defined]


def test_a_disk_that_stalls_over_the_hourly_stamp_holds_up_nothing_and_health_tells_it():
    stuck = ("replace", identity.CLOCK)
    life = Life(system=stalling(stuck, at=25.0, until=9000.0), asks=[290.0, 400.0, 8000.0], off=9100.0)
    assert life.system.stuck == []
    before, meanwhile, later = (answer["health"]["reasons"] for answer in life.answers)
    assert before == []
    assert meanwhile == later == ["the time on state: its disk does not answer"]
    begun = [call for call in life.system.calls if (call.name, call.arguments[:1]) == ("replace", (identity.CLOCK,))]
    assert len(begun) == 2, "one child, and the way down: the hour's next one waits for it"


def test_the_time_is_kept_on_state_each_hour():
    life = Life(off=8000.0)
    kept = [call for call in life.system.calls if (call.name, call.arguments[:1]) == ("replace", (identity.CLOCK,))]
    assert len(kept) == 4, "after five minutes, twice an hour later, and at the end"
    assert life.answers[-1]["health"]["state"] == "healthy"
