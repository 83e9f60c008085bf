"""A service's health, pure: what one probe's result means.

Until the first success a probe is asked more often than `interval` (2 s, doubling), so that a container is known to
be healthy soon after it is; but misses count only once an `interval`, and not within `start_period`. `retries` counted
misses in a row make it unhealthy. Times are seconds.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats import events
from init.pid1.lifecycle import Action, Arm, Disarm, Emit, Health, Note, Running, Timer

FIRST = 2.0  # a probe that starts a program takes the processor from a container that starts


def begin(running: Running, now: float) -> tuple[Running, list[Action]]:
    """The main process runs: from now on its health is asked, or, without a probe, settles."""
    probe = running.service.probe
    if probe is None and not running.service.is_container:
        return running, []
    running = replace(running, health=Health.STARTING, counted=now, misses=0, probe_wait=FIRST)
    return running, [Arm(timer=Timer.PROBE, seconds=min(FIRST, probe.interval))] if probe else []


def count(running: Running, now: float, *, good: bool) -> tuple[Running, list[Action]]:
    """Return the state after a probe that ended well or not; its health may be unhealthy then."""
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
    if now - running.started >= probe.start_period and due:
        running = replace(running, misses=running.misses + 1, counted=now)
    if running.misses >= max(probe.retries, 1):
        if running.service.is_container:
            actions.append(Emit(event=events.CONTAINER_UNHEALTHY))
        actions.append(Note(text=f"unhealthy after {running.misses} probes: started again"))
        return replace(running, health=Health.UNHEALTHY), actions
    wait = probe.interval
    if running.health is Health.STARTING:
        wait = min(running.probe_wait, probe.interval)
        running = replace(running, probe_wait=running.probe_wait * 2)
    return running, [*actions, Arm(timer=Timer.PROBE, seconds=wait)]
