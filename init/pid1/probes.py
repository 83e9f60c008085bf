"""A service's health, pure: what one probe's result means.

Until the first success a probe is asked more often than `interval`, so that a container is known to be healthy soon
after it is: by one child that asks until it hears yes, or, where each question needs a child of its own, after 2 s,
doubling. Misses count only once an `interval`, and not within `start_period`; `retries` counted misses in a row make
it unhealthy. Times are seconds.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats import events
from init.pid1.lifecycle import Action, Arm, Disarm, Emit, Health, Note, Running, Timer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.service import Probe

FIRST = 2.0  # a probe that starts a program takes the processor from a container that starts
WAITING_FIRST = 0.1
WAITING_AGAIN = 1.0  # after a waiting probe that ended without a yes


def argv(probe: Probe, running: Running) -> tuple[str, ...]:
    """Return the child to run now."""
    return probe.waiting if probe.waiting and running.health is Health.STARTING else probe.argv


def bound(probe: Probe, running: Running) -> float:
    """Return how long that child may take."""
    return probe.timeout + (probe.patience if probe.waiting and running.health is Health.STARTING else 0.0)


def begin(running: Running, now: float) -> tuple[Running, list[Action]]:
    """The main process runs: from now on its health is asked, or, without a probe, settles."""
    probe = running.service.probe
    if probe is None and not running.service.is_container:
        return running, []
    running = replace(running, health=Health.STARTING, counted=now, misses=0, probe_wait=FIRST)
    if probe is None:
        return running, []
    return running, [Arm(timer=Timer.PROBE, seconds=WAITING_FIRST if probe.waiting else min(FIRST, probe.interval))]


def again(running: Running) -> list[Action]:
    """Ask later, after a probe that could not be started: where no process can be had, nobody has missed anything."""
    probe = running.service.probe
    return [Arm(timer=Timer.PROBE, seconds=probe.interval)] if probe else []


def count(running: Running, now: float, *, good: bool, yet: bool = True) -> tuple[Running, list[Action]]:
    """Return the state after a probe that ended well or not; its health may be unhealthy then.

    Where there was nothing to ask `yet`, that is no miss, for as long as a start may take.
    """
    probe = running.service.probe
    actions: list[Action] = [Disarm(timer=Timer.PROBE_BOUND)]
    if probe is None:
        return running, actions
    if good:
        if running.health is not Health.HEALTHY and running.service.is_container:
            actions.append(Emit(event=events.CONTAINER_HEALTHY))
        running = replace(running, misses=0, health=Health.HEALTHY)
        return running, [*actions, Arm(timer=Timer.PROBE, seconds=probe.interval)]
    due = running.health is Health.HEALTHY or now - running.counted >= probe.interval
    due = due and (yet or now - running.started >= running.service.start_timeout)
    if now - running.started >= probe.start_period and due:
        running = replace(running, misses=running.misses + 1, counted=now)
    if running.misses >= max(probe.retries, 1):
        if running.service.is_container:
            actions.append(Emit(event=events.CONTAINER_UNHEALTHY))
        actions.append(Note(text=f"unhealthy after {running.misses} probes: started again"))
        return replace(running, health=Health.UNHEALTHY), actions
    wait = probe.interval
    if running.health is Health.STARTING and probe.waiting:
        wait = min(WAITING_AGAIN, probe.interval)
    elif running.health is Health.STARTING:
        wait = min(running.probe_wait, probe.interval)
        running = replace(running, probe_wait=running.probe_wait * 2)
    return running, [*actions, Arm(timer=Timer.PROBE, seconds=wait)]
