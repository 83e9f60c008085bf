"""The last net: whatever a handler raises, the loop goes on."""

from __future__ import annotations

import pytest
from fakes import machine
from fakes.processes import Program
from fakes.running import RunningSystem, running
from hypothesis import given, settings
from hypothesis import strategies as st

from init.pid1.loop import ASIDE, DOUBLINGS_MOST, PATIENCE, Loop

FAULTS = (
    RuntimeError("r"),
    MemoryError(),
    KeyboardInterrupt(),
    SystemExit(1),
    RecursionError(),
    OSError(5, "io"),
    GeneratorExit(),
)


def make() -> tuple[RunningSystem, Loop, list[str]]:
    system = running(machine.base("quiet"), lambda argv: Program())
    told: list[str] = []
    return system, Loop(system, lambda where, error: told.append(f"{where}: {type(error).__name__}")), told


def turns(loop: Loop, count: int) -> None:
    for _ in range(count):
        loop.turn()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_handler_that_always_raises_is_set_aside_and_tried_ever_more_slowly(fault):
    system, loop, told = make()
    aside: list[str] = []
    loop.on_aside = lambda _descriptor, text: aside.append(text)
    reading, _ = system.make_pipe()
    system.pipes[0].data = b"x"
    at: list[float] = []

    def handler() -> None:
        at.append(system.seconds)
        raise fault

    loop.watch(reading, "bad", handler)
    turns(loop, PATIENCE)
    assert told == [f"bad: {type(fault).__name__}"] * PATIENCE
    assert reading not in system.watched
    assert aside == ["bad: failed 5 times in a row, again in 10 s; see berthctl logs init"]
    while len(at) < PATIENCE + 8:
        loop.turn()
    pauses = [after - before for before, after in zip(at[PATIENCE - 1 :], at[PATIENCE:], strict=False)]
    assert pauses == pytest.approx([ASIDE * 2 ** min(n, DOUBLINGS_MOST) for n in range(8)], rel=1e-3)


def test_a_handler_that_was_set_aside_works_again_and_that_is_told():
    system, loop, _ = make()
    aside: list[str] = []
    loop.on_aside = lambda _descriptor, text: aside.append(text)
    reading, _ = system.make_pipe()
    system.pipes[0].data = b"x"
    calls: list[int] = []

    def handler() -> None:
        calls.append(1)
        if len(calls) <= PATIENCE + 1:
            raise RuntimeError

    loop.watch(reading, "bad", handler)
    while len(calls) < PATIENCE + 5:
        loop.turn()
    assert [bool(text) for text in aside] == [True, True, False]


@pytest.mark.parametrize("once_more", [True, False])
def test_who_was_set_aside_may_be_forgotten_or_wanted_anew(once_more):
    system, loop, _ = make()
    aside: list[str] = []
    loop.on_aside = lambda _descriptor, text: aside.append(text)
    reading, _ = system.make_pipe()
    system.pipes[0].data = b"x"
    loop.watch(reading, "bad", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    turns(loop, PATIENCE)
    seen: list[int] = []
    if once_more:
        loop.watch(reading, "good", lambda: seen.append(1))
    else:
        loop.unwatch(reading)
    turns(loop, 20)
    assert bool(seen) is once_more
    assert aside[-1] == ""


def test_watching_again_is_tried_until_it_can_be():
    system, loop, told = make()
    reading, _ = system.make_pipe()
    system.pipes[0].data = b"x"
    seen: list[int] = []
    loop.watch(reading, "pipe", lambda: seen.append(1))
    watch, refused = system.watch, []

    def full(descriptor: int, *, writable: bool = False) -> None:
        if len(refused) < 2:
            refused.append(descriptor)
            raise OSError(12, "no memory")
        watch(descriptor, writable=writable)

    loop.rest(reading, 3.0)
    system.watch = full  # type: ignore[method-assign]
    turns(loop, 5)
    assert told == ["pipe: again: OSError"] * 2
    assert seen
    assert system.seconds >= 9.0


def test_one_that_recovers_is_kept():
    system, loop, _told = make()
    reading, _ = system.make_pipe()
    system.pipes[0].data = b"x"
    calls = []

    def handler() -> None:
        calls.append(1)
        if len(calls) % PATIENCE:
            raise RuntimeError("now and then")

    loop.watch(reading, "odd", handler)
    turns(loop, 50)
    assert len(calls) == 50
    assert reading in system.watched


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_faults_in_timers_and_in_what_is_to_be_done_soon(fault):
    _, loop, told = make()
    done = []

    def bad() -> None:
        raise fault

    loop.after("bad", 0.0, bad)
    loop.soon("bad", bad)
    loop.after("good", 0.0, lambda: done.append("timer"))
    loop.soon("good", lambda: done.append("soon"))
    turns(loop, 2)
    assert sorted(done) == ["soon", "timer"]
    assert len(told) == 2


def test_telling_of_a_fault_may_fail_too():
    system = running(machine.base("quiet"), lambda argv: Program())

    def tell(where: str, error: BaseException) -> None:
        raise error

    loop = Loop(system, tell)
    done = []
    loop.soon("bad", lambda: 1 / 0)  # type: ignore[arg-type,return-value]
    loop.soon("good", lambda: done.append(1))
    loop.turn()
    assert done == [1]


def test_when_waiting_itself_fails_every_handler_is_asked():
    system, loop, told = make()
    reading, _ = system.make_pipe()
    seen = []
    loop.watch(reading, "pipe", lambda: seen.append(1))
    system.fail_at = len(system.calls) + 1
    loop.turn()
    assert told == ["poll: OSError"]
    assert seen == [1]
    loop.turn()
    assert told == ["poll: OSError"]


def test_run_goes_on_until_finished_whatever_comes():
    _system, loop, told = make()
    count = []

    def again() -> None:
        count.append(1)
        loop.after("again", 0.1, again)
        if len(count) == 100:
            loop.finished = True
        raise FAULTS[len(count) % len(FAULTS)]

    loop.after("again", 0.1, again)
    loop.run()
    assert len(told) == 100


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 50)), max_size=20))
def test_timers_fire_in_order_once_and_the_last_of_a_key_counts(wanted):
    system, loop, _ = make()
    fired: list[tuple[str, float]] = []
    begin = system.seconds
    for key, seconds in wanted:
        loop.after(key, seconds, lambda key=key: fired.append((key, system.seconds)))
    turns(loop, 60)
    last = dict(wanted)
    assert sorted(key for key, _ in fired) == sorted(last)
    for key, at in fired:
        assert at >= begin + last[key] - 0.001
    assert [at for _, at in fired] == sorted(at for _, at in fired)


def test_a_handler_may_take_another_away():
    system, loop, told = make()
    one, _ = system.make_pipe()
    two, _ = system.make_pipe()
    for pipe in system.pipes:
        pipe.data = b"x"
    loop.watch(one, "one", lambda: loop.unwatch(two))
    loop.watch(two, "two", lambda: loop.unwatch(one))
    loop.turn()
    assert told == []
    assert len({one, two} & system.watched) == 1


def test_a_burst_of_work_does_not_starve_descriptors():
    system, loop, _ = make()
    reading, _ = system.make_pipe()
    system.pipes[0].data = b"x"
    seen = []
    loop.watch(reading, "pipe", lambda: seen.append(1))

    def more() -> None:
        loop.soon("more", more)

    loop.soon("more", more)
    loop.turn()
    assert seen
