"""Order of start and stop over many services."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from init.formats.service import Probe, Restart, Service
from init.pid1 import lifecycle as life
from init.pid1 import supervisor
from init.pid1.lifecycle import Role, State
from init.pid1.supervisor import Ask, Supervisor

NAMES = ("a", "b", "c", "d", "e")


def make(name: str, *after: str, **fields) -> Service:
    return Service(name=name, argv=(f"/{name}",), after=after, **fields)


class World:
    """Answers every action at once: the simplest kernel there is."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pid = 100
        self.state = Supervisor()
        self.pids: dict[int, str] = {}
        self.order: list[str] = []
        self.stops: list[str] = []

    def take(self, outcome) -> None:
        self.state, asks = outcome
        for ask in asks:
            self.do(ask)

    def deliver(self, name: str, event) -> None:
        self.now += 0.001
        self.take(supervisor.deliver(self.state, name, event, self.now))

    def do(self, ask: Ask) -> None:
        match ask.action:
            case life.Run(role=Role.MAIN):
                self.pid += 1
                self.pids[self.pid] = ask.name
                self.order.append(ask.name)
                self.deliver(ask.name, life.Spawned(role=Role.MAIN, pid=self.pid))
            case life.Signal(pid=pid):
                self.stops.append(ask.name)
                self.deliver(ask.name, life.Exited(role=Role.MAIN, pid=pid, status=-15))
            case life.KillGroup():
                self.deliver(ask.name, life.GroupEmpty())


def test_started_in_order_stopped_in_reverse():
    world = World()
    world.take(supervisor.load(world.state, [make("web", "engine"), make("engine", "base"), make("base")], 0))
    assert world.order == ["base", "engine", "web"]
    world.take(supervisor.close(world.state, 1))
    assert world.stops == ["web", "engine", "base"]
    assert supervisor.at_rest(world.state)


def test_a_target_holds_up_only_those_that_name_it():
    world = World()
    world.take(supervisor.load(world.state, [make("pulled", "network"), make("baked"), make("odd", "nobody")], 0))
    assert sorted(world.order) == ["baked", "odd"]
    world.take(supervisor.reach(world.state, "network", 1))
    assert world.order[-1] == "pulled"


def test_a_container_waits_for_the_health_of_another():
    check = Probe(argv=("/probe",), interval=5, timeout=1, retries=3, start_period=0)
    world = World()
    db = make("db", is_container=True, probe=check)
    web = make("web", "db", is_container=True, after_healthy=("db",))
    other = make("other", "db", is_container=True)
    world.take(supervisor.load(world.state, [web, other, db], 0))
    assert world.order == ["db", "other"], "it runs, and nobody has asked for its health yet"
    world.deliver("db", life.Elapsed(timer=life.Timer.PROBE))
    world.deliver("db", life.Spawned(role=Role.PROBE, pid=7))
    assert world.order == ["db", "other"]
    world.deliver("db", life.Exited(role=Role.PROBE, pid=7, status=0))
    assert world.order == ["db", "other", "web"]
    world.take(supervisor.close(world.state, 1))
    assert world.stops[-1] == "db"
    assert supervisor.at_rest(world.state)


def test_a_container_that_waits_for_nobody_s_health_starts():
    world = World()
    world.take(supervisor.load(world.state, [make("web", "db", after_healthy=("db",))], 0))
    assert world.order == ["web"]
    cycle = [make("a", "b", after_healthy=("b",)), make("b", "a", after_healthy=("a",))]
    world.take(supervisor.load(world.state, cycle, 0))
    assert sorted(world.order) == ["a", "b", "web"]


def test_nothing_starts_while_the_machine_goes_down():
    world = World()
    world.take(supervisor.load(world.state, [make("a"), make("late", "network")], 0))
    world.take(supervisor.close(world.state, 1))
    world.take(supervisor.reach(world.state, "network", 2))
    world.deliver("a", life.Start())
    world.deliver("a", life.Again())
    assert world.order == ["a"]
    assert supervisor.at_rest(world.state)


graphs = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(graphs)
def test_any_graph_starts_whole_and_stops_whole(edges):
    """Cycles included: nothing waits for ever."""
    after = {name: tuple({to for start, to in edges if start == name}) for name in NAMES}
    world = World()
    world.take(supervisor.load(world.state, [make(name, *after[name]) for name in NAMES], 0))
    assert sorted(world.order) == list(NAMES)
    acyclic = world.state.services
    for name in NAMES:
        for other in acyclic[name].service.after:
            assert world.order.index(other) < world.order.index(name)
    world.take(supervisor.close(world.state, 1))
    assert supervisor.at_rest(world.state)
    for name in NAMES:
        for other in acyclic[name].service.after:
            assert world.stops.index(name) < world.stops.index(other)
    assert all(running.state is State.STOPPED for running in world.state.services.values())


@settings(max_examples=100, deadline=None)
@given(graphs)
def test_the_stop_bound_covers_the_longest_chain(edges):
    after = {name: tuple({to for start, to in edges if start == name}) for name in NAMES}
    world = World()
    world.take(supervisor.load(world.state, [make(name, *after[name], stop_timeout=1.0) for name in NAMES], 0))
    assert 1.0 <= supervisor.stop_bound(world.state) <= len(NAMES)


def test_what_is_wrong_and_what_is_waited_for():
    world = World()
    wanted = [make("web", "network", is_container=True, required=True), make("once", restart="no", readiness="exit")]
    world.take(supervisor.load(world.state, wanted, 0))
    assert supervisor.waiting(world.state) == ("container web is waiting, not healthy",)
    assert supervisor.wrong(world.state) == {}


def test_what_is_loaded_again_runs_on_and_starts_by_its_new_words():
    world = World()
    web = make("web", is_container=True)
    world.take(supervisor.load(world.state, [web], 0))
    running = world.state.services["web"]
    world.take(supervisor.load(world.state, [replace(web, argv=("/web", "--add-host=db")), make("db")], 1))
    after = world.state.services["web"]
    assert (after.main, after.state, world.order) == (running.main, running.state, ["web", "db"])
    world.deliver("web", life.Exited(role=Role.MAIN, pid=after.main, status=-9))
    _, asks = supervisor.deliver(world.state, "web", life.Elapsed(timer=life.Timer.BACKOFF), 3)
    assert life.Run(role=Role.MAIN, argv=("/web", "--add-host=db")) in [ask.action for ask in asks]


PROBE = Probe(argv=("/probe",), interval=5.0, timeout=2.0, retries=3, start_period=0.0)


@pytest.mark.parametrize("restart", [Restart.NO, Restart.ON_FAILURE, Restart.ALWAYS])
@pytest.mark.parametrize("probe", [None, PROBE])
def test_what_ended_well_is_healthy_where_nobody_is_to_answer(restart: Restart, probe: Probe | None) -> None:
    world = World()
    web = make("web", is_container=True, required=True, restart=restart, probe=probe)
    world.take(supervisor.load(world.state, [web], 0))
    world.deliver("web", life.Exited(role=Role.MAIN, pid=world.pid, status=0))
    state = world.state.services["web"].state
    assert state is (State.BACKOFF if restart is Restart.ALWAYS else State.DONE)
    fine = probe is None and restart is not Restart.ALWAYS
    assert supervisor.waiting(world.state) == (() if fine else (f"container web is {state}, not healthy",))
    assert supervisor.is_up(world.state) is fine
