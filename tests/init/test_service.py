"""The service's machine: its table, all states × events, and random lives."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from init.formats import events
from init.formats.exitstatus import NOT_YET
from init.formats.service import Probe, Readiness, Restart, Service
from init.pid1 import lifecycle as life
from init.pid1 import service, supervisor
from init.pid1.lifecycle import Health, Next, Role, Running, State, Timer

PROBE = Probe(argv=("/probe",), interval=5.0, timeout=2.0, retries=3, start_period=0.0)


def make(**fields) -> Service:
    return Service(**{"name": "web", "argv": ("/web",), **fields})


def actions_of(kind, actions):
    return [action for action in actions if isinstance(action, kind)]


def drive(running: Running, *steps, now: float = 0.0):
    """Run events through the machine; return the end and all actions."""
    said = []
    for event in steps:
        running, actions = service.step(running, event, now)
        said += actions
        now += 0.01
    return running, said


def started(**fields) -> Running:
    running, _ = drive(Running(service=make(**fields)), life.Start(), life.Spawned(role=Role.MAIN, pid=10))
    return running


ALL_EVENTS = (
    life.Start(),
    life.Stop(),
    life.Again(),
    *(life.Spawned(role=role, pid=10) for role in Role),
    *(life.NotSpawned(role=role, reason="no memory") for role in Role),
    *(life.Exited(role=role, pid=pid, status=status) for role in Role for pid in (10, 11, 99) for status in (0, 1, -9)),
    life.Notified(ready=True),
    life.Notified(main_pid=77),
    life.MainFound(pid=55),
    life.MainFound(pid=None, reason="no file"),
    life.GroupEmpty(),
    *(life.Elapsed(timer=timer) for timer in Timer),
)
SERVICES = tuple(
    make(readiness=readiness, restart=restart, prepare=prepare, cleanup=cleanup, probe=probe, pid_file=pid_file,
         stop=stop, is_container=container, restart_limit=2)
    for readiness, restart, prepare, cleanup, probe, pid_file, stop, container in itertools.product(
        Readiness, Restart, ((), (("/p",),)), ((), (("/c",),)), (None, PROBE), (None, "/pid"), (None, ("/stop",)),
        (False, True),
    )
)  # fmt: skip


@pytest.mark.parametrize("probe", [None, PROBE])
def test_a_container_behind_a_client_counts_from_when_that_tells(probe):
    """Until then its health is not asked, and time alone makes it neither started nor healthy."""
    subject = Running(service=make(readiness=Readiness.NOTIFY, is_container=True, probe=probe))
    running, said = drive(subject, life.Start(), life.Spawned(role=Role.MAIN, pid=10))
    assert (running.state, running.ready, actions_of(life.Emit, said)) == (State.STARTING, False, [])
    assert {action.timer for action in actions_of(life.Arm, said)} == {Timer.STEP}
    running, said = drive(running, life.Notified(ready=True), now=60.0)
    assert [action.event for action in actions_of(life.Emit, said)] == [events.CONTAINER_STARTED]
    assert (running.started, running.health) == (60.0, Health.STARTING)
    if probe is None:
        running, said = drive(running, life.Elapsed(timer=Timer.SETTLE))
        assert events.CONTAINER_HEALTHY in [action.event for action in actions_of(life.Emit, said)]
    assert (running.state, running.ready) == (State.RUNNING, True)


@pytest.mark.parametrize("state", list(State))
def test_every_event_is_taken_in_every_state(state):
    for subject in (SERVICES[0], SERVICES[-1], SERVICES[37], make(probe=PROBE)):
        for main, event in itertools.product((None, 10), ALL_EVENTS):
            before = Running(service=subject, state=state, main=main, task=11, probe=99)
            after, _ = service.step(before, event, 5.0)
            assert isinstance(after.state, State)


TIME_BOUND = {
    State.PREPARING: Timer.STEP,
    State.STOPPING: Timer.STOP,
    State.KILLING: Timer.KILL,
    State.CLEANING: Timer.STEP,
    State.BACKOFF: Timer.BACKOFF,
}


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SERVICES),
    st.lists(st.tuples(st.sampled_from(ALL_EVENTS), st.sampled_from((0.0, 0.1, 3.0, 90.0))), max_size=40),
)
def test_no_life_gets_stuck(subject, steps):
    """Whatever comes, every state that waits has a timer, and `ready` says the truth."""
    running, now = Running(service=subject), 0.0
    armed: set[Timer] = set()
    for event, pause in steps:
        now += pause
        if isinstance(event, life.Elapsed):
            if event.timer not in armed:
                continue
            armed.discard(event.timer)
        running, actions = service.step(running, event, now)
        for action in actions:
            if isinstance(action, life.Arm):
                armed.add(action.timer)
                assert action.seconds >= 0
            elif isinstance(action, life.Disarm):
                armed.discard(action.timer)
        needed = TIME_BOUND.get(running.state)
        assert needed is None or needed in armed, (running.state, armed)
        if running.state is State.STARTING:
            assert Timer.STEP in armed
        assert not running.ready or running.state in (State.RUNNING, State.DONE)
        if running.state in life.AT_REST:
            assert running.main is None or running.state is State.WAITING
    assert running.restarts >= 0


def test_a_plain_service_is_ready_when_it_runs():
    running, actions = drive(Running(service=make()), life.Start(), life.Spawned(role=Role.MAIN, pid=10))
    assert (running.state, running.ready, running.main) == (State.RUNNING, True, 10)
    assert actions_of(life.Emit, actions) == [life.Emit(event=events.SERVICE_READY)]


def test_prepare_commands_run_in_order_and_the_first_failure_ends_it():
    subject = make(prepare=(("/a",), ("/b",)), restart=Restart.NO)
    running, actions = drive(
        Running(service=subject),
        life.Start(),
        life.Spawned(role=Role.PREPARE, pid=1),
        life.Exited(role=Role.PREPARE, pid=1, status=0),
        life.Spawned(role=Role.PREPARE, pid=2),
    )
    assert [run.argv for run in actions_of(life.Run, actions)] == [("/a",), ("/b",)]
    running, actions = drive(running, life.Exited(role=Role.PREPARE, pid=2, status=3), life.GroupEmpty())
    assert running.state is State.FAILED
    assert life.Emit(event=events.SERVICE_FAILED, status=3) in actions


def test_readiness_exit_is_done_and_stays_ready():
    subject = make(readiness=Readiness.EXIT)
    running, _ = drive(
        Running(service=subject),
        life.Start(),
        life.Spawned(role=Role.MAIN, pid=1),
        life.Exited(role=Role.MAIN, pid=1, status=0),
    )
    assert (running.state, running.ready) == (State.DONE, True)


MOUNT = {"readiness": Readiness.EXIT, "restart": Restart.ON_FAILURE, "cleanup": (("/bin/umount", "/data"),)}


def fails(running: Running, now: float, after: float) -> tuple[Running, list]:
    return drive(
        drive(running, life.Exited(role=Role.MAIN, pid=1, status=32), now=now + after)[0], life.GroupEmpty(),
        now=now + after,
    )  # fmt: skip


@pytest.mark.parametrize("hangs", [0.1, 90.0])
def test_a_mount_is_tried_until_it_is_there_ever_more_slowly_and_is_well_then(hangs):
    """What hangs until it is killed has not lasted: it is told like what fails at once."""
    running, waits = Running(service=make(**MOUNT)), []
    running, _ = drive(running, life.Start(), life.Spawned(role=Role.MAIN, pid=1))
    for number in range(12):
        running, actions = fails(running, 200.0 * number, hangs)
        assert not [action for action in actions_of(life.Run, actions) if action.role is Role.CLEANUP], (
            "nothing to undo"
        )
        waits += [action.seconds for action in actions_of(life.Arm, actions) if action.timer is Timer.BACKOFF]
        now = 200.0 * (number + 1)
        running, _ = drive(running, life.Elapsed(timer=Timer.BACKOFF), life.Spawned(role=Role.MAIN, pid=1), now=now)
    assert waits == sorted(waits)
    assert len(waits) == 12
    assert supervisor.wrong(supervisor.Supervisor(services={"web": running}))
    running, _ = drive(running, life.Exited(role=Role.MAIN, pid=1, status=0), now=2401.0)
    assert running.state is State.DONE
    assert supervisor.wrong(supervisor.Supervisor(services={"web": running})) == {}
    running, actions = drive(running, life.Stop(), life.GroupEmpty(), now=2500.0)
    assert life.Run(role=Role.CLEANUP, argv=("/bin/umount", "/data")) in actions, "at the end it is unmounted"


def test_readiness_notify_waits_for_the_datagram():
    subject = make(readiness=Readiness.NOTIFY)
    running, _ = drive(Running(service=subject), life.Start(), life.Spawned(role=Role.MAIN, pid=1))
    assert not running.ready
    running, _ = drive(running, life.Notified(main_pid=7))
    assert (running.main, running.ready) == (7, False)
    running, _ = drive(running, life.Notified(ready=True))
    assert running.ready


def test_a_program_that_detaches_is_followed_by_its_pid_file():
    subject = make(pid_file="/run/pid", is_container=True, readiness=Readiness.SETTLED)
    running, actions = drive(
        Running(service=subject),
        life.Start(),
        life.Spawned(role=Role.MAIN, pid=1),
        life.Exited(role=Role.MAIN, pid=1, status=0),
    )
    assert life.FindMain(path="/run/pid") in actions
    assert life.Emit(event=events.CONTAINER_STARTED) not in actions
    running, actions = drive(running, life.MainFound(pid=55))
    assert running.main == 55
    assert life.Emit(event=events.CONTAINER_STARTED) in actions
    running, actions = drive(running, life.Elapsed(timer=Timer.SETTLE))
    assert running.ready
    assert running.health is Health.HEALTHY
    running, actions = drive(running, life.Exited(role=Role.MAIN, pid=55, status=2))
    assert life.Emit(event=events.CONTAINER_EXITED, status=2) in actions


def test_a_stop_signals_waits_kills_and_cleans():
    running = started(cleanup=(("/clean",),), stop_timeout=7.0)
    running, actions = drive(running, life.Stop())
    assert life.Signal(pid=10, number=15) in actions
    assert life.Arm(timer=Timer.STOP, seconds=7.0) in actions
    running, actions = drive(running, life.Elapsed(timer=Timer.STOP))
    assert running.state is State.KILLING
    assert life.KillGroup() in actions
    running, _ = drive(running, life.GroupEmpty())
    assert running.state is State.KILLING, "its status has not come yet"
    running, actions = drive(running, life.Exited(role=Role.MAIN, pid=10, status=-9))
    assert life.Run(role=Role.CLEANUP, argv=("/clean",)) in actions
    running, _ = drive(running, life.Spawned(role=Role.CLEANUP, pid=3), life.Exited(role=Role.CLEANUP, pid=3, status=1))
    assert running.state is State.STOPPED
    assert running.status == -9


@pytest.mark.parametrize("last", [False, True])
def test_at_a_shutdown_a_stop_that_tells_is_the_end(last: bool):
    running = started(stop=("/stop",), stop_tells=True, is_container=True)
    running, actions = drive(running, life.Stop(last=last))
    assert life.Run(role=Role.STOP, argv=("/stop",)) in actions
    running, _ = drive(running, life.Spawned(role=Role.STOP, pid=20))
    running, actions = drive(running, life.Exited(role=Role.STOP, pid=20, status=3))
    assert running.state is (State.KILLING if last else State.STOPPING)
    assert (life.Emit(event=events.CONTAINER_EXITED, status=3) in actions) == last
    running, actions = drive(running, life.Exited(role=Role.MAIN, pid=10, status=-9), life.GroupEmpty())
    assert running.state is State.STOPPED
    assert len(actions_of(life.Emit, actions)) == (not last), "it ended once"


def test_back_off_doubles_to_its_most_and_starts_anew_after_a_stable_run():
    assert [service.backoff(attempt) for attempt in range(4)] == [0.2, 0.4, 0.8, 1.6]
    assert service.backoff(1000) == 30.0
    running = started()
    running, actions = drive(running, life.Exited(role=Role.MAIN, pid=10, status=1), life.GroupEmpty())
    assert life.Arm(timer=Timer.BACKOFF, seconds=0.2) in actions
    running, _ = drive(running, life.Elapsed(timer=Timer.BACKOFF), life.Spawned(role=Role.MAIN, pid=11), now=1)
    assert (running.restarts, running.attempt) == (1, 1)
    running, actions = drive(running, life.Exited(role=Role.MAIN, pid=11, status=1), life.GroupEmpty(), now=100)
    assert life.Arm(timer=Timer.BACKOFF, seconds=0.2) in actions


@pytest.mark.parametrize(
    ("restart", "status", "state"),
    [
        (Restart.NO, 0, State.DONE),
        (Restart.NO, 1, State.FAILED),
        (Restart.ON_FAILURE, 0, State.DONE),
        (Restart.ON_FAILURE, 1, State.BACKOFF),
        (Restart.ALWAYS, 0, State.BACKOFF),
        (Restart.ALWAYS, -11, State.BACKOFF),
    ],
)
def test_restart_policies(restart, status, state):
    running = started(restart=restart)
    running, _ = drive(running, life.Exited(role=Role.MAIN, pid=10, status=status), life.GroupEmpty())
    assert running.state is state


def test_a_restart_limit_ends_in_failed():
    running = started(restart_limit=1)
    running, _ = drive(running, life.Exited(role=Role.MAIN, pid=10, status=1), life.GroupEmpty())
    running, _ = drive(running, life.Elapsed(timer=Timer.BACKOFF), life.Spawned(role=Role.MAIN, pid=11))
    running, actions = drive(running, life.Exited(role=Role.MAIN, pid=11, status=1), life.GroupEmpty())
    assert running.state is State.FAILED
    assert life.Emit(event=events.SERVICE_FAILED, status=1) in actions


def test_misses_count_once_an_interval_until_the_first_success():
    running = started(probe=PROBE, is_container=True)
    now = 0.0
    while running.state is State.RUNNING:
        running, actions = service.step(running, life.Elapsed(timer=Timer.PROBE), now)
        assert actions_of(life.Run, actions)
        running, _ = service.step(running, life.Spawned(role=Role.PROBE, pid=5), now)
        running, actions = service.step(running, life.Exited(role=Role.PROBE, pid=5, status=1), now)
        pauses = [action.seconds for action in actions_of(life.Arm, actions) if action.timer is Timer.PROBE]
        now += pauses[0] if pauses else 0.0
    assert 3 * PROBE.interval <= now <= 4 * PROBE.interval
    assert running.next is Next.BACKOFF
    assert life.Emit(event=events.CONTAINER_UNHEALTHY) in actions


def test_until_the_first_success_one_child_waits_for_it():
    probe = replace(PROBE, waiting=("/wait",), patience=4.0)
    running = started(probe=probe, is_container=True)
    running, actions = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=5), now=0.1)
    assert life.Run(role=Role.PROBE, argv=("/wait",)) in actions
    assert life.Arm(timer=Timer.PROBE_BOUND, seconds=probe.timeout + 4.0) in actions
    running, actions = drive(running, life.Exited(role=Role.PROBE, pid=5, status=1), now=6)
    assert running.misses == 1
    running, actions = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=6), now=7)
    assert life.Run(role=Role.PROBE, argv=("/wait",)) in actions
    running, actions = drive(running, life.Exited(role=Role.PROBE, pid=6, status=0), now=8)
    assert life.Emit(event=events.CONTAINER_HEALTHY) in actions
    running, actions = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=7), now=9)
    assert life.Run(role=Role.PROBE, argv=PROBE.argv) in actions
    assert life.Arm(timer=Timer.PROBE_BOUND, seconds=PROBE.timeout) in actions


def test_a_probe_that_hangs_is_killed_and_counts_as_a_miss():
    running = started(probe=PROBE, is_container=True)
    running, _ = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=5), now=6)
    running, actions = drive(running, life.Elapsed(timer=Timer.PROBE_BOUND), now=8)
    assert life.KillProbe(pid=5) in actions
    assert running.misses == 1
    running, actions = drive(running, life.Exited(role=Role.PROBE, pid=5, status=-9), now=8)
    assert running.misses == 1, "its end is no second miss"


def test_a_probe_that_can_not_be_started_is_no_miss():
    """One container that uses up all processes would else have the healthy ones stopped, for good."""
    running = started(probe=PROBE, is_container=True)
    for now in range(6, 60, 6):
        running, actions = drive(
            running, life.Elapsed(timer=Timer.PROBE), life.NotSpawned(role=Role.PROBE, reason="no process"), now=now
        )
        assert (running.misses, running.health, running.state) == (0, Health.STARTING, State.RUNNING)
        assert life.Arm(timer=Timer.PROBE, seconds=PROBE.interval) in actions


def test_a_container_that_does_not_run_yet_misses_nothing_as_long_as_a_start_may_take():
    """Else a slow machine would start it again and again, and it would never come up."""
    running = started(probe=PROBE, is_container=True, start_timeout=90.0)
    for now in range(6, 90, 6):
        running, _ = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=5), now=now)
        running, actions = drive(running, life.Exited(role=Role.PROBE, pid=5, status=NOT_YET), now=now + 1)
        assert (running.misses, running.health) == (0, Health.STARTING)
        assert [action.timer for action in actions_of(life.Arm, actions)] == [Timer.PROBE]
    for now in (96, 102, 108):
        running, _ = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=5), now=now)
        running, _ = drive(running, life.Exited(role=Role.PROBE, pid=5, status=NOT_YET), now=now + 1)
    assert running.health is Health.UNHEALTHY, "one that hangs in its start is started again in the end"


def test_an_unhealthy_container_is_started_again_whatever_its_policy():
    running = started(probe=PROBE, is_container=True, restart=Restart.NO)
    running = replace(running, misses=2, health=Health.HEALTHY)
    running, _ = drive(running, life.Elapsed(timer=Timer.PROBE), life.Spawned(role=Role.PROBE, pid=5))
    running, _actions = drive(running, life.Exited(role=Role.PROBE, pid=5, status=1), now=10)
    assert running.state is State.STOPPING
    running, _ = drive(running, life.Exited(role=Role.MAIN, pid=10, status=0), life.GroupEmpty())
    assert running.state is State.BACKOFF


def test_a_stop_outlasts_a_start_that_is_under_way():
    subject = make(prepare=(("/a",),))
    running, _ = drive(Running(service=subject), life.Start(), life.Stop())
    assert running.state is State.KILLING
    running, _ = drive(running, life.Spawned(role=Role.PREPARE, pid=3), life.GroupEmpty())
    assert running.state is State.STOPPED
