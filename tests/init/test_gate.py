"""The gates: every standing × sequence of what can happen to them, up to five events long."""

from __future__ import annotations

import itertools

import pytest

from init.formats import events
from init.pid1 import gate
from init.pid1.gate import Gate, Look, Overdue, Place, Refused, Settled, Standing

WELL = Look()
WAITING = Look(waiting=("container web is starting, not healthy",))
WRONG = Look(reasons=("state is in memory",))
ALL = (WELL, WAITING, WRONG, Settled(), Overdue(), Refused(reason="line 3"))


def run(standing: Standing, *happened) -> tuple[Gate, list[gate.Action]]:
    now, said = Gate(standing=standing), []
    for event in happened:
        now, actions = gate.step(now, event)
        said += actions
    return now, said


def names(actions):
    return [action.event if isinstance(action, gate.Emit) else type(action).__name__ for action in actions]


@pytest.mark.parametrize("standing", list(Standing))
def test_invariants_over_everything_that_can_happen(standing):
    for length in range(1, 6):
        for happened in itertools.product(ALL, repeat=length):
            end, actions = run(standing, *happened)
            kinds = [type(action) for action in actions]
            assert kinds.count(gate.GiveBack) <= 1
            assert kinds.count(gate.Confirm) <= 1
            if standing is not Standing.NEW:
                assert gate.GiveBack not in kinds, "never rebooted for its health"
            if standing in (Standing.NONE, Standing.GOOD):
                assert gate.Confirm not in kinds
            if gate.GiveBack in kinds:
                assert gate.Confirm not in kinds
                assert end.place is Place.FAILED
            if Settled() not in happened:
                assert actions == [], "nothing is decided before the loop has been alive for a while"
            if gate.Confirm in kinds:
                assert gate.Refill in kinds
            assert kinds.count(gate.Refill) <= 1


def test_a_new_release_is_confirmed_once_all_required_is_healthy():
    _, actions = run(Standing.NEW, WAITING, Settled(), WELL)
    assert names(actions) == ["Refill", "Confirm", events.HEALTH_PASSED]


def test_a_new_release_that_is_late_is_given_back():
    _, actions = run(Standing.NEW, WAITING, Settled(), Overdue())
    assert names(actions) == ["Refill", events.HEALTH_DEGRADED, "GiveBack"]


def test_a_new_release_that_refuses_the_config_is_given_back():
    _, actions = run(Standing.NEW, Refused(reason="line 3"), Settled())
    assert "GiveBack" in names(actions)


def test_without_another_confirmed_slot_it_is_degraded_and_tries_on():
    end, actions = run(Standing.ALONE, WAITING, Settled(), Overdue())
    assert names(actions) == ["Refill", events.HEALTH_DEGRADED]
    _, actions = gate.step(end, WELL)
    assert names(actions) == ["Confirm", events.HEALTH_PASSED]


def test_a_confirmed_slot_is_degraded_and_recovers():
    end, actions = run(Standing.GOOD, WELL, Settled(), WRONG, WELL)
    assert names(actions) == ["Refill", events.HEALTH_PASSED, events.HEALTH_DEGRADED, events.HEALTH_PASSED]
    assert gate.state(end) == "healthy"


def test_an_iso_passes_but_is_never_good():
    _, actions = run(Standing.NONE, WELL, Settled())
    assert names(actions) == ["Refill", events.HEALTH_PASSED]
