"""One service's life as a pure machine: state + event → state + actions.

A service waits until it is told to start. A start runs the `prepare` commands one after another, then the main
program; when that says that it is ready (`Readiness`), the service is up. However the main program ends, whatever
is left in the service's cgroup is killed, the `cleanup` commands run, and then its restart policy, a wish of the
operator, or a shutdown says what comes next. A health probe runs beside it from the moment it runs.

    state      means                                  leaves by
    waiting    not started yet                        Start → preparing, starting
    preparing  a `prepare` command runs               its exit → the next one, starting; failure → killing
    starting   the main program runs, not ready yet   ready → running; exit, time-out → killing
    running    the main program runs, ready           exit, unhealthy → killing
    stopping   it was asked to end                    exit, time-out → killing
    killing    its cgroup was killed, not empty yet   empty, time-out → cleaning, or where cleaning leads
    cleaning   a `cleanup` command runs               its exit → the next one; then the next line
    backoff    waits to be started again              time → preparing, starting
    done       a one-shot that ended well             Start (by the operator), Stop
    failed     ended, and is not started again        Start (by the operator), Stop
    stopped    the operator or a shutdown stopped it  Start (by the operator)

`Stop` and `Restart` are taken in every state; events that mean nothing in a state change nothing. A process is
known by its pid; an exit of any other pid than the one that is waited for is not this machine's.

Back-off: 0.2 s, doubling to 30 s; a main program that ran for 60 s starts from 0.2 s again. All times are seconds.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats import events
from init.formats.exitstatus import NOT_YET
from init.formats.service import Readiness, Restart
from init.pid1 import probes, starting
from init.pid1.lifecycle import (
    AT_REST,
    Action,
    Again,
    Arm,
    Disarm,
    Elapsed,
    Emit,
    Event,
    Exited,
    FindMain,
    GroupEmpty,
    Health,
    KillGroup,
    KillProbe,
    MainFound,
    Next,
    Note,
    Notified,
    NotSpawned,
    Role,
    Run,
    Running,
    Signal,
    Spawned,
    Start,
    State,
    Stop,
    Timer,
    describe,
)  # fmt: skip
from init.pid1.starting import Outcome

BACKOFF_FIRST = 0.2
BACKOFF_MOST = 30.0
STABLE = 60.0
KILL_BOUND = 5.0  # a process that SIGKILL doesn't end by then hangs in the kernel: go on without it
CLEANUP_BOUND = 10.0

_ALL_TIMERS = tuple(Timer)


def backoff(attempt: int) -> float:
    """Return the seconds to wait before start number `attempt` in a row (from 0)."""
    return min(BACKOFF_FIRST * 2.0 ** min(attempt, 16), BACKOFF_MOST)


def step(running: Running, event: Event, now: float) -> Outcome:
    """Return the state after the event, and what to do. `now` is in seconds and never goes back."""
    after, actions = _step(running, event, now)
    if after.state is not running.state:
        after = replace(after, since=now)
    return after, actions


def _step(running: Running, event: Event, now: float) -> Outcome:
    match event:
        case Start():
            return (
                starting.start(running) if running.state in AT_REST or running.state is State.BACKOFF else (running, [])
            )
        case Stop():
            return _stop(replace(running, last=event.last), Next.STOP)
        case Again():
            return _stop(running, Next.RESTART)
        case Spawned():
            return starting.spawned(running, event, now)
        case NotSpawned():
            return _not_spawned(running, event)
        case Exited(role=Role.PROBE):
            return _probe_ended(running, event, now)
        case Exited():
            return _exited(running, event, now)
        case Notified():
            return starting.notified(running, event, now)
        case MainFound():
            return _main_found(running, event, now)
        case GroupEmpty() if running.state is State.KILLING:
            # The main process may be a zombie still: its status is worth the wait.
            return _clean(running) if running.main is None else (replace(running, empty=True), [])
        case GroupEmpty():
            return running, []
        case Elapsed():
            return _elapsed(running, event.timer, now)


# --- news about the main program ------------------------------------------------------------------------------


def _main_found(running: Running, event: MainFound, now: float) -> Outcome:
    if running.state is not State.STARTING:
        return running, []
    if event.pid is None:
        return _kill(running, [Note(text=f"its main process is not known: {event.reason}")], status=running.status)
    return starting.main_runs(replace(running, main=event.pid, started=now), now)


def _not_spawned(running: Running, event: NotSpawned) -> Outcome:
    note = Note(text=f"could not be started ({event.role}): {event.reason}")
    match event.role:
        case Role.PREPARE | Role.MAIN if running.state in (State.PREPARING, State.STARTING):
            return _kill(running, [note], status=127)
        case Role.CLEANUP if running.state is State.CLEANING:
            after, actions = _next_cleanup(running)
            return after, [note, *actions]
        case Role.STOP if running.state is State.STOPPING:  # then the signal has to do
            signals = [Signal(pid=running.main, number=running.service.stop_signal)] if running.main else []
            return running, [note, *signals]
        case Role.PROBE if running.state in (State.STARTING, State.RUNNING):
            return running, [note, *probes.again(running)]
        case _:
            return running, [note]


# --- ending ---------------------------------------------------------------------------------------------------


def _exited(running: Running, event: Exited, now: float) -> Outcome:
    if event.pid == running.stopper:
        running = replace(running, stopper=None)
        if running.last and running.service.stop_tells and running.state is State.STOPPING:
            return _main_ended(replace(running, main=None, status=event.status), now)
        return running, []
    if event.pid == running.task:
        return _task_ended(replace(running, task=None), event)
    if event.pid != running.main:
        return running, []
    running = replace(running, main=None, status=event.status)
    service = running.service
    if running.state is State.STARTING and event.status == 0:
        if service.pid_file and running.health is Health.NONE:  # it detached, and left its successor's pid there
            return running, [FindMain(path=service.pid_file)]
        if service.readiness is Readiness.EXIT:
            after, actions = starting.become_ready(running)
            return replace(after, state=State.DONE, attempt=0), [*actions, *_quiet()]
    return _main_ended(running, now)


def _main_ended(running: Running, now: float) -> Outcome:
    """The main process is gone: whoever is left in the cgroup goes, too."""
    actions: list[Action] = []
    if running.service.is_container:
        actions.append(Emit(event=events.CONTAINER_EXITED, status=running.status))
    if now - running.started >= STABLE and running.service.readiness is not Readiness.EXIT:  # that one hung, and failed
        running = replace(running, attempt=0)
    if running.state is State.KILLING:
        if not running.empty:
            return running, actions
        after, more = _clean(running)
        return after, [*actions, *more]
    return _kill(running, actions, status=running.status)


def _task_ended(running: Running, event: Exited) -> Outcome:
    service = running.service
    if running.state is State.PREPARING:
        if event.status != 0:
            note = Note(text=f"prepare command {running.step + 1} ended with {describe(event.status)}")
            return _kill(running, [note], status=event.status)
        following = running.step + 1
        bound = Arm(timer=Timer.STEP, seconds=service.start_timeout)
        if following < len(service.prepare):
            return replace(running, step=following), [bound, Run(role=Role.PREPARE, argv=service.prepare[following])]
        return replace(running, state=State.STARTING), [bound, Run(role=Role.MAIN, argv=service.argv)]
    if running.state is State.CLEANING:
        after, actions = _next_cleanup(running)
        if event.status != 0:
            actions.insert(0, Note(text=f"cleanup command {running.step + 1} ended with {describe(event.status)}"))
        return after, actions
    return running, []


def _quiet() -> list[Action]:
    return [Disarm(timer=timer) for timer in _ALL_TIMERS]


def _end_probe(running: Running) -> list[Action]:
    return [KillProbe(pid=running.probe)] if running.probe is not None else []


def _kill(running: Running, before: list[Action], *, status: int | None) -> Outcome:
    """End it for good: kill its cgroup, and wait until that is empty."""
    actions = [*before, *_end_probe(running), *_quiet(), KillGroup(), Arm(timer=Timer.KILL, seconds=KILL_BOUND)]
    return replace(running, state=State.KILLING, status=status, ready=False, probe=None, health=_down(running)), actions


def _down(running: Running) -> Health:
    return Health.UNHEALTHY if running.health is Health.UNHEALTHY else Health.NONE


def _stop(running: Running, following: Next) -> Outcome:
    """The operator or a shutdown ends it. A stop outlasts a restart that was asked for before."""
    service = running.service
    match running.state:
        case State.WAITING | State.FAILED | State.STOPPED | State.BACKOFF:
            if following is Next.RESTART:
                return starting.start(replace(running, attempt=0))
            return replace(running, state=State.STOPPED, ready=False, next=Next.STOP, health=Health.NONE), _quiet()
        case State.DONE:
            return _kill(replace(running, next=following), [], status=running.status)
        case State.KILLING | State.CLEANING | State.STOPPING:
            return replace(running, next=following), []
        case State.PREPARING:
            return _kill(replace(running, next=following), [], status=running.status)
        case State.STARTING | State.RUNNING:
            asked = replace(running, next=following, state=State.STOPPING, ready=False, probe=None)
            actions = [*_end_probe(running), *_quiet(), Arm(timer=Timer.STOP, seconds=service.stop_timeout)]
            if service.stop is not None:
                return asked, [*actions, Run(role=Role.STOP, argv=service.stop)]
            if running.main is None:
                return _kill(asked, _end_probe(running), status=running.status)
            return asked, [*actions, Signal(pid=running.main, number=service.stop_signal)]


def _clean(running: Running) -> Outcome:
    """The cgroup is empty: run the cleanup commands."""
    running = replace(running, main=None, task=None, stopper=None, empty=False)
    undone = running.service.readiness is Readiness.EXIT and running.status != 0
    if not running.service.cleanup or undone:  # what was never done is not undone: it may be somebody else's by now
        return _ended(running)
    actions: list[Action] = [*_quiet(), Arm(timer=Timer.STEP, seconds=CLEANUP_BOUND)]
    actions.append(Run(role=Role.CLEANUP, argv=running.service.cleanup[0]))
    return replace(running, state=State.CLEANING, step=0), actions


def _next_cleanup(running: Running) -> Outcome:
    following = running.step + 1
    if following >= len(running.service.cleanup):
        return _ended(replace(running, task=None))
    actions: list[Action] = [Arm(timer=Timer.STEP, seconds=CLEANUP_BOUND)]
    actions.append(Run(role=Role.CLEANUP, argv=running.service.cleanup[following]))
    return replace(running, step=following, task=None), actions


def _ended(running: Running) -> Outcome:
    """Nothing of it is left. What now?"""
    service, status = running.service, running.status
    if running.next is Next.STOP:
        return replace(running, state=State.STOPPED, health=Health.NONE), _quiet()
    if running.next is Next.RESTART:
        after, actions = starting.start(replace(running, attempt=0, restarts=running.restarts + 1))
        return after, [*_quiet(), *actions]
    wanted = (
        running.next is Next.BACKOFF
        or service.restart is Restart.ALWAYS
        or (service.restart is Restart.ON_FAILURE and status != 0)
    )
    spent = service.restart_limit is not None and running.attempt >= service.restart_limit
    if wanted and not spent:
        wait = Arm(timer=Timer.BACKOFF, seconds=backoff(running.attempt))
        waiting = replace(running, state=State.BACKOFF, attempt=running.attempt + 1, restarts=running.restarts + 1)
        return waiting, [*_quiet(), wait]
    if status == 0 and not wanted:
        return replace(running, state=State.DONE), _quiet()
    actions = _quiet()
    if not service.is_container:
        actions.append(Emit(event=events.SERVICE_FAILED, status=status))
    if spent:
        actions.append(Note(text=f"given up after {running.attempt} starts in a row"))
    return replace(running, state=State.FAILED), actions


# --- time -----------------------------------------------------------------------------------------------------


def _elapsed(running: Running, timer: Timer, now: float) -> Outcome:
    state = running.state
    match timer:
        case Timer.STEP if state in (State.PREPARING, State.STARTING):
            seconds = running.service.start_timeout
            return _kill(running, [Note(text=f"not ready after {seconds:g} s")], status=None)
        case Timer.STEP if state is State.CLEANING:
            late: list[Action] = [Note(text=f"cleanup command {running.step + 1} took too long"), KillGroup()]
            after, actions = _next_cleanup(running)
            return after, [*late, *actions]
        case Timer.SETTLE if state in (State.STARTING, State.RUNNING):
            return _settled(running)
        case Timer.STOP if state is State.STOPPING:
            note = Note(text=f"did not stop within {running.service.stop_timeout:g} s: killed")
            return _kill(running, [note], status=running.status)
        case Timer.KILL if state is State.KILLING:
            after, actions = _clean(running)
            return after, [Note(text="some of its processes can't be killed: they hang in the kernel"), *actions]
        case Timer.BACKOFF if state is State.BACKOFF:
            return starting.start(running)
        case Timer.PROBE if state in (State.STARTING, State.RUNNING) and running.probe is None:
            probe = running.service.probe
            return (running, [Run(role=Role.PROBE, argv=probes.argv(probe, running))]) if probe else (running, [])
        case Timer.PROBE_BOUND if running.probe is not None:
            killed: list[Action] = [KillProbe(pid=running.probe)]
            after, actions = _probe_result(replace(running, probe=None), now, good=False)
            return after, [*killed, *actions]
        case _:
            return running, []


def _settled(running: Running) -> Outcome:
    actions: list[Action] = []
    if running.state is State.STARTING and running.service.readiness in (Readiness.SETTLED, Readiness.NOTIFY):
        running, actions = starting.become_ready(running)
    if running.service.is_container and not running.service.probe and running.health is Health.STARTING:
        running = replace(running, health=Health.HEALTHY)
        actions.append(Emit(event=events.CONTAINER_HEALTHY))
    return running, actions


# --- health ---------------------------------------------------------------------------------------------------


def _probe_ended(running: Running, event: Exited, now: float) -> Outcome:
    if event.pid != running.probe:
        return running, []
    return _probe_result(replace(running, probe=None), now, good=event.status == 0, yet=event.status != NOT_YET)


def _probe_result(running: Running, now: float, *, good: bool, yet: bool = True) -> Outcome:
    if running.state not in (State.STARTING, State.RUNNING):
        return running, [Disarm(timer=Timer.PROBE_BOUND)]
    after, actions = probes.count(running, now, good=good, yet=yet)
    if after.health is not Health.UNHEALTHY:
        return after, actions
    ended, more = _stop(after, Next.BACKOFF)
    return ended, [*actions, *more]
