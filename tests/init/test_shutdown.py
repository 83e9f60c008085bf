"""The way down: from every state, by events and by their absence, it ends in reboot(2)."""

from __future__ import annotations

import itertools

from init.formats import events
from init.pid1 import shutdown
from init.pid1.shutdown import (
    Asked,
    AtRest,
    Flushed,
    Late,
    Left,
    NobodyLeft,
    Shutdown,
    State,
)

ASK = Asked(how="poweroff", why="test", bound=10.0)
ALL = (
    ASK,
    AtRest(),
    NobodyLeft(),
    Left(unmounted=True),
    Left(unmounted=False),
    Flushed(),
    *(Late(state=s) for s in State),
)


def run(*happened, start: Shutdown | None = None):
    now, said = start or Shutdown(), []
    for event in happened:
        now, actions = shutdown.step(now, event)
        said += actions
    return now, said


def test_in_order():
    end, actions = run(ASK, AtRest(), NobodyLeft(), Left(unmounted=True), Flushed())
    assert end.state is State.OFF
    kinds = [type(action).__name__ for action in actions if not isinstance(action, shutdown.Bound)]
    assert kinds == ["Emit", "StopServices", "SignalAll", "LeaveState", "Emit", "Flush", "PowerOff"]
    emitted = [action for action in actions if isinstance(action, shutdown.Emit)]
    assert [action.event for action in emitted] == [events.SHUTDOWN_BEGUN, events.SHUTDOWN_CLEAN]
    assert emitted[1].fields == {"state_unmounted": True}


def test_nothing_moves_before_it_is_asked():
    for happened in itertools.product(ALL[1:], repeat=2):
        end, actions = run(*happened)
        assert (end.state, actions) == (State.UP, [])


def test_whatever_happens_state_is_left_before_the_power_goes():
    """All sequences of four events after the request."""
    for happened in itertools.product(ALL, repeat=4):
        _, actions = run(ASK, *happened)
        kinds = [type(action).__name__ for action in actions]
        assert kinds.count("LeaveState") <= 1
        assert kinds.count("PowerOff") <= 1
        if "PowerOff" in kinds:
            assert kinds.index("LeaveState") < kinds.index("PowerOff")


def test_time_alone_brings_it_down():
    """When no answer ever comes, the bounds do it, but for `LeaveState`, which the performer always answers."""
    now, actions = run(ASK)
    for _ in range(10):
        now, more = run(Late(state=now.state), start=now)
        actions += more
        if now.state is State.LEAVING:
            now, more = run(Left(unmounted=False), start=now)
            actions += more
    assert now.state is State.OFF
    numbers = [action.number for action in actions if isinstance(action, shutdown.SignalAll)]
    assert numbers == [15, 9]


def test_the_third_request_waits_no_longer():
    end, _ = run(ASK, ASK)
    assert end.state is State.SERVICES
    end, _ = run(ASK, ASK, ASK)
    assert end.state is State.KILLING


def test_the_first_request_decides_where_it_goes():
    _end, actions = run(
        ASK, Asked(how="reboot", why="x", bound=0), AtRest(), NobodyLeft(), Left(unmounted=True), Flushed()
    )
    assert actions[-1] == shutdown.PowerOff(how="poweroff")
