"""The first half of a service's life, pure: from a start to a main program that is ready. See `init.pid1.service`."""

from __future__ import annotations

from dataclasses import replace

from init.formats import events
from init.formats.service import Readiness
from init.pid1 import probes
from init.pid1.lifecycle import (
    ALIVE,
    Action,
    Arm,
    Disarm,
    Emit,
    Health,
    KillGroup,
    Next,
    Notified,
    Role,
    Run,
    Running,
    Spawned,
    State,
    Timer,
)  # fmt: skip

SETTLE = 2.0  # seconds after its start: without a check, what still runs is healthy (docs/containers.md)

Outcome = tuple[Running, list[Action]]


def start(running: Running) -> Outcome:
    """Begin from the beginning: the first `prepare` command, or the main program."""
    service = running.service
    fresh = replace(
        running,
        step=0,
        main=None,
        task=None,
        stopper=None,
        empty=False,
        next=Next.POLICY,
        ready=False,
        health=Health.NONE,
        probe=None,
        misses=0,
    )
    actions: list[Action] = [Disarm(timer=Timer.BACKOFF), Arm(timer=Timer.STEP, seconds=service.start_timeout)]
    if service.prepare:
        return replace(fresh, state=State.PREPARING), [*actions, Run(role=Role.PREPARE, argv=service.prepare[0])]
    return replace(fresh, state=State.STARTING), [*actions, Run(role=Role.MAIN, argv=service.argv)]


def spawned(running: Running, event: Spawned, now: float) -> Outcome:
    """A program runs: remember its pid. `now` is in seconds, as everywhere here."""
    match event.role:
        case Role.PREPARE | Role.CLEANUP:
            return replace(running, task=event.pid), []
        case Role.STOP:
            return replace(running, stopper=event.pid), []
        case Role.PROBE:
            bound = probes.bound(running.service.probe, running) if running.service.probe else SETTLE
            return replace(running, probe=event.pid), [Arm(timer=Timer.PROBE_BOUND, seconds=bound)]
        case Role.MAIN if running.state not in ALIVE:  # it ended before it began: nothing of it may live on
            return running, [KillGroup()]
        case Role.MAIN:
            running = replace(running, main=event.pid, started=now)
            if running.state is not State.STARTING:  # a stop came first: it is in the cgroup that gets killed
                return running, []
            service = running.service
            told_later = service.pid_file or (service.is_container and service.readiness is Readiness.NOTIFY)
            return (running, []) if told_later else main_runs(running, now)


def main_runs(running: Running, now: float) -> Outcome:
    """The main process is known: tell it, and begin to watch it."""
    service = running.service
    actions: list[Action] = []
    if service.is_container:
        actions.append(Emit(event=events.CONTAINER_STARTED))
    running, more = probes.begin(running, now)
    actions += more
    if service.readiness is Readiness.SETTLED or (service.is_container and not service.probe):
        actions.append(Arm(timer=Timer.SETTLE, seconds=SETTLE))
    if service.readiness is Readiness.STARTED:
        running, more = become_ready(running)
        actions += more
    return running, actions


def become_ready(running: Running) -> Outcome:
    """It said that it is ready, or its kind is as soon as it runs."""
    actions: list[Action] = [Disarm(timer=Timer.STEP)]
    if not running.service.is_container:
        actions.append(Emit(event=events.SERVICE_READY))
    return replace(running, state=State.RUNNING, ready=True), actions


def notified(running: Running, event: Notified, now: float) -> Outcome:
    """The program told of itself (sd_notify(3)): its main process, or that it is ready."""
    actions: list[Action] = []
    if running.state not in (State.STARTING, State.RUNNING):
        return running, actions
    if event.main_pid is not None and event.main_pid != running.main:
        first = running.service.pid_file is not None and running.state is State.STARTING
        running = replace(running, main=event.main_pid, started=now)
        if first:
            running, actions = main_runs(running, now)
    if event.ready and running.state is State.STARTING and running.service.readiness is Readiness.NOTIFY:
        if running.service.is_container:  # what was started is a client: now the container itself runs
            running, actions = main_runs(replace(running, started=now), now)
            if running.service.probe is None:
                return running, actions  # it settles
        running, more = become_ready(running)
        actions += more
    return running, actions
