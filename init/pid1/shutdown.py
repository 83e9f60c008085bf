"""The way down, as a pure machine: state + event → state + actions. It always ends in reboot(2).

    state      does                                                            leaves by
    up         –                                                               Asked → services
    services   stops all services in reverse order, each with its time-out     at rest, or its bound → killing
    killing    SIGTERM, then SIGKILL to whatever else still runs               all gone, or 3 s → leaving
    leaving    lets go of files; keeps seed and clock; syncs; unmounts state   done → flushing
    flushing   says `shutdown.clean`, lets the events out                      out, or 1 s → off
    off        reboot(2)                                                       –

Whatever fails on the way, the next state comes: state is unmounted, or read-only where it is held, or left to a disk
that does not answer. Who asks a third time has no patience: services are killed at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from init.formats import events
from init.formats.bare import StrEnum

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE = 3  # requests until services are killed at once
TERM_BOUND = 0.5  # what is no service (a log-in, an orphan) has so long between SIGTERM and SIGKILL
KILL_BOUND = 3.0
FLUSH_BOUND = 1.0
SLACK = 10.0  # beyond the services' own time-outs: kill and cleanup
WAYS = ("poweroff", "reboot", "halt")


class State(StrEnum):
    """Where the machine is on its way down; the table above."""

    UP = "up"
    SERVICES = "services"
    KILLING = "killing"
    LEAVING = "leaving"
    FLUSHING = "flushing"
    OFF = "off"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shutdown:
    """The way down. `how` is one of `WAYS`; `asked` counts the requests."""

    state: State = State.UP
    how: str = "poweroff"
    asked: int = 0
    termed: bool = False  # SIGTERM went to the rest


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """Somebody wants the machine down. `bound`: the longest that its services may need, in seconds."""

    how: str
    why: str
    bound: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AtRest:
    """No service runs any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NobodyLeft:
    """No process but PID 1 is left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """State is let go of; `unmounted`: entirely, or there was none on a disk."""

    unmounted: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Flushed:
    """The events are out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Late:
    """The bound of a state has passed."""

    state: State


Event = Asked | AtRest | NobodyLeft | Left | Flushed | Late


@dataclass(frozen=True, kw_only=True, slots=True)
class StopServices:
    """Stop all services; answered by `AtRest`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignalAll:
    """A signal to every process but PID 1; answered by `NobodyLeft` once that is so."""

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LeaveState:
    """Close logs, keep seed and clock, sync, unmount or remount read-only; answered by `Left`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flush:
    """Let the events out; answered by `Flushed`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerOff:
    """reboot(2)."""

    how: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Bound:
    """Send `Late` after so many seconds."""

    state: State
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Emit:
    """Say an event."""

    event: str
    fields: Mapping[str, object]


Action = StopServices | SignalAll | LeaveState | Flush | PowerOff | Bound | Emit
Outcome = tuple[Shutdown, list[Action]]

_TERM = 15
_KILL = 9


def step(shutdown: Shutdown, event: Event) -> Outcome:
    """Return where the machine is after the event, and what to do. What comes out of turn changes nothing."""
    state = shutdown.state
    match event:
        case Asked():
            return _asked(shutdown, event)
        case AtRest() if state is State.SERVICES:
            return _kill(shutdown)
        case NobodyLeft() if state is State.KILLING:
            return replace(shutdown, state=State.LEAVING), [LeaveState()]
        case Left() if state is State.LEAVING:
            clean = Emit(event=events.SHUTDOWN_CLEAN, fields={"state_unmounted": event.unmounted})
            bound = Bound(state=State.FLUSHING, seconds=FLUSH_BOUND)
            return replace(shutdown, state=State.FLUSHING), [clean, bound, Flush()]
        case Flushed() if state is State.FLUSHING:
            return replace(shutdown, state=State.OFF), [PowerOff(how=shutdown.how)]
        case Late(state=late) if late is state:
            return _late(shutdown)
        case _:
            return shutdown, []


def _asked(shutdown: Shutdown, event: Asked) -> Outcome:
    count = shutdown.asked + 1
    if shutdown.state is State.UP:
        how = event.how if event.how in WAYS else "poweroff"
        begun = Emit(event=events.SHUTDOWN_BEGUN, fields={"why": event.why})
        bound = Bound(state=State.SERVICES, seconds=event.bound + SLACK)
        after = replace(shutdown, state=State.SERVICES, how=how, asked=count)
        return after, [begun, bound, StopServices()]
    if shutdown.state is State.SERVICES and count >= PATIENCE:
        return _kill(replace(shutdown, asked=count))
    return replace(shutdown, asked=count), []


def _kill(shutdown: Shutdown) -> Outcome:
    bound = Bound(state=State.KILLING, seconds=TERM_BOUND)
    return replace(shutdown, state=State.KILLING, termed=True), [bound, SignalAll(number=_TERM)]


def _late(shutdown: Shutdown) -> Outcome:
    match shutdown.state:
        case State.SERVICES:
            return _kill(shutdown)
        case State.KILLING if shutdown.termed:
            bound = Bound(state=State.KILLING, seconds=KILL_BOUND)
            return replace(shutdown, termed=False), [bound, SignalAll(number=_KILL)]
        case State.KILLING:
            return replace(shutdown, state=State.LEAVING), [LeaveState()]
        case State.FLUSHING:
            return replace(shutdown, state=State.OFF), [PowerOff(how=shutdown.how)]
        case _:
            return shutdown, []
