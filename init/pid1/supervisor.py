"""All services together, pure: which may start, which may stop, in what order.

A waiting service starts when everything in its `after` is ready: another service that is up (or a one-shot that is
done), or a target (`network`); and when the containers in its `after_healthy` are healthy. A name that nobody declared
holds nothing up. At a shutdown the order is reversed: a service is asked to stop as soon as nothing that came after it
lives any more; all that may stop, stop at once, each with its own time-out.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from init.formats.service import Readiness, Restart
from init.pid1 import lifecycle
from init.pid1 import service as machine
from init.pid1.lifecycle import ALIVE, AT_REST, Health, Running, State

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from init.formats.service import Service

NETWORK = "network"
TARGETS = frozenset((NETWORK,))
OFTEN = 2  # starts in a row that did not last, before it counts as a fault


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """An action of one service's machine."""

    name: str
    action: lifecycle.Action


@dataclass(frozen=True, kw_only=True, slots=True)
class Supervisor:
    """Every service by name, and the targets that were reached. `closing`: nothing starts any more."""

    services: Mapping[str, Running] = field(default_factory=dict)
    targets: frozenset[str] = frozenset()
    closing: bool = False


Outcome = tuple[Supervisor, list[Ask]]


def load(supervisor: Supervisor, services: Iterable[Service], now: float) -> Outcome:
    """Take on services, and start those that may. A name that is there already keeps what runs.

    A container's next start is by the new words, though: podman's tell it of the other containers.
    """
    known = dict(supervisor.services)
    for service in services:
        old = known.setdefault(service.name, Running(service=service, since=now))
        if service.is_container and old.service.argv != service.argv:
            known[service.name] = replace(old, service=replace(old.service, argv=service.argv))
    asks = []
    for name in sorted(in_cycle(known)):
        running = known[name]
        known[name] = replace(running, service=replace(running.service, after=(), after_healthy=()))
        asks.append(Ask(name=name, action=lifecycle.Note(text="waits for itself through `after`: started at once")))
    after, more = _settle(replace(supervisor, services=known), now)
    return after, asks + more


def reach(supervisor: Supervisor, target: str, now: float) -> Outcome:
    """A target is reached: start what waited for it."""
    return _settle(replace(supervisor, targets=supervisor.targets | {target}), now)


def forget(supervisor: Supervisor, names: Iterable[str]) -> Supervisor:
    """Drop services that are at rest, so that others of their names may be taken on."""
    gone = {name for name in names if name in supervisor.services and supervisor.services[name].state in AT_REST}
    return replace(supervisor, services={name: each for name, each in supervisor.services.items() if name not in gone})


def deliver(supervisor: Supervisor, name: str, event: lifecycle.Event, now: float) -> Outcome:
    """Hand an event to one service. Starts and restarts mean nothing while the machine goes down."""
    running = supervisor.services.get(name)
    if running is None:
        return supervisor, []
    if supervisor.closing and isinstance(event, lifecycle.Start | lifecycle.Again):
        return supervisor, []
    after, actions = machine.step(running, event, now)
    asks = [Ask(name=name, action=action) for action in actions]
    services = dict(supervisor.services)
    services[name] = after
    supervisor, more = _settle(replace(supervisor, services=services), now)
    return supervisor, asks + more


def close(supervisor: Supervisor, now: float) -> Outcome:
    """Begin to stop everything, in reverse order."""
    return _settle(replace(supervisor, closing=True), now)


def at_rest(supervisor: Supervisor) -> bool:
    """Tell whether nothing runs any more and nothing will start."""
    return all(running.state in AT_REST for running in supervisor.services.values())


def _settle(supervisor: Supervisor, now: float) -> Outcome:
    """Start (or when closing, stop) whatever may be, until nothing changes."""
    services = dict(supervisor.services)
    asks: list[Ask] = []
    changed = True
    while changed:
        changed = False
        for name, running in services.items():
            event = _due(supervisor, services, running)
            if event is None:
                continue
            after, actions = machine.step(running, event, now)
            services[name] = after
            asks += [Ask(name=name, action=action) for action in actions]
            changed = True
    return replace(supervisor, services=services), asks


def _due(supervisor: Supervisor, services: Mapping[str, Running], running: Running) -> lifecycle.Event | None:
    if supervisor.closing:
        if running.state in (State.WAITING, State.BACKOFF):
            return lifecycle.Stop(last=True)
        if running.state not in ALIVE and not (running.state is State.DONE and running.ready):
            return None
        if running.next is lifecycle.Next.STOP and running.state is not State.DONE:
            return None
        name = running.service.name
        held = any(name in other.service.after and other.state in ALIVE for other in services.values())
        return None if held else lifecycle.Stop(last=True)
    if running.state is not State.WAITING:
        return None
    service = running.service
    ready = all(_satisfied(supervisor, services, name) for name in service.after)
    well = all(healthy(services[name]) for name in service.after_healthy if name in services)
    return lifecycle.Start() if ready and well else None


def _satisfied(supervisor: Supervisor, services: Mapping[str, Running], name: str) -> bool:
    if name in services:
        return services[name].ready
    return name in supervisor.targets or name not in TARGETS


def in_cycle(services: Mapping[str, Running]) -> set[str]:
    """Return the services that wait, through others, for themselves."""

    def reaches(start: str) -> bool:
        seen: set[str] = set()
        todo = [name for name in services[start].service.after if name in services]
        while todo:
            name = todo.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                todo += [further for further in services[name].service.after if further in services]
        return False

    return {name for name in services if reaches(name)}


def healthy(running: Running) -> bool:
    """Tell whether the release gate may count a container as healthy: it is, or it did its work and ended well.

    One with a check is to answer: if it ended, it does not, and no status makes up for that.
    """
    did_its_work = running.state is State.DONE and running.status == 0 and running.service.probe is None
    return running.health is Health.HEALTHY or did_its_work


def containers(supervisor: Supervisor) -> list[Running]:
    """Return the containers, by name."""
    return [running for _, running in sorted(supervisor.services.items()) if running.service.is_container]


def waiting(supervisor: Supervisor) -> tuple[str, ...]:
    """Return one sentence for each required container that is not healthy."""
    return tuple(
        f"container {name} is {running.state}, not healthy"
        for name, running in supervisor.services.items()
        if running.service.required and not healthy(running)
    )


def is_up(supervisor: Supervisor) -> bool:
    """Tell whether every service has come as far as it was to come: it is ready, or has failed for good."""
    return all(
        healthy(running)
        if running.service.is_container
        else running.ready or running.state in AT_REST - {State.WAITING}
        for running in supervisor.services.values()
    )


def wrong(supervisor: Supervisor) -> dict[str, str]:
    """Return one sentence for each service, by name, that failed, ends again and again, or is unhealthy."""
    said = {}
    for name, running in supervisor.services.items():
        if running.state is State.FAILED and not _is_advice(running):
            said[name] = f"{name} failed ({lifecycle.describe(running.status)})"
        elif running.health is Health.UNHEALTHY:
            said[name] = f"{name} is unhealthy"
        elif running.attempt > OFTEN and running.health is not Health.HEALTHY:
            said[name] = f"{name} ends again and again ({lifecycle.describe(running.status)})"
    return said


def _is_advice(running: Running) -> bool:
    """Tell whether nobody waits for a service to end well: it is started once, and that is all."""
    service = running.service
    return service.restart is Restart.NO and service.readiness is Readiness.STARTED and not service.is_container


def stop_bound(supervisor: Supervisor) -> float:
    """Return the longest time, in seconds, that the services' stop time-outs add up to along `after`."""
    services = supervisor.services
    known: dict[str, float] = {}

    def bound(name: str, above: frozenset[str]) -> float:
        if name not in known:
            others = (other for other in services[name].service.after if other in services and other not in above)
            longest = max((bound(other, above | {name}) for other in others), default=0.0)
            known[name] = services[name].service.stop_timeout + longest
        return known[name]

    return max((bound(name, frozenset((name,))) for name in services), default=0.0)
