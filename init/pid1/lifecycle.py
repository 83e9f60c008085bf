"""The words of a service's machine: its states, events, actions, and what is known of a service (see `service`)."""

from __future__ import annotations

from dataclasses import dataclass

from init.formats.bare import StrEnum
from init.formats.service import Service


class State(StrEnum):
    """Where a service stands; the table above."""

    WAITING = "waiting"
    PREPARING = "preparing"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    KILLING = "killing"
    CLEANING = "cleaning"
    BACKOFF = "backoff"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


ALIVE = frozenset((State.PREPARING, State.STARTING, State.RUNNING, State.STOPPING, State.KILLING, State.CLEANING))
AT_REST = frozenset((State.WAITING, State.DONE, State.FAILED, State.STOPPED))


class Health(StrEnum):
    """What is known of a service's health."""

    NONE = "none"  # it doesn't run
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Next(StrEnum):
    """What follows when the service has ended and is cleaned."""

    POLICY = "policy"  # its restart policy says
    STOP = "stop"
    RESTART = "restart"  # at once: the operator's wish
    BACKOFF = "backoff"  # again, whatever the policy: it was unhealthy


class Role(StrEnum):
    """What a process of the service is for."""

    PREPARE = "prepare"
    MAIN = "main"
    STOP = "stop"
    CLEANUP = "cleanup"
    PROBE = "probe"


class Timer(StrEnum):
    """The timers of a service; each is armed at most once."""

    STEP = "step"  # bounds a command, or the time until it is ready
    SETTLE = "settle"
    STOP = "stop"
    KILL = "kill"
    BACKOFF = "backoff"
    PROBE = "probe"  # when to ask again
    PROBE_BOUND = "probe-bound"


# --- events ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What it depends on is ready, or the operator wants it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """The operator or a shutdown ends it; it stays ended. `last`: the machine goes down, nothing of it comes again."""

    last: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """The operator wants it stopped and started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spawned:
    """A process that was asked for runs."""

    role: Role
    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NotSpawned:
    """A process that was asked for could not be made."""

    role: Role
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Exited:
    """A process of the service ended; `status` is its exit status, or minus the signal that ended it."""

    role: Role
    pid: int
    status: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Notified:
    """A datagram came on its NOTIFY_SOCKET, sd_notify(3)."""

    ready: bool = False
    main_pid: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MainFound:
    """The answer to `FindMain`: the pid that stands in the file, or None and why."""

    pid: int | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupEmpty:
    """Nothing is left in the cgroup that was killed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Elapsed:
    """A timer ran out."""

    timer: Timer


Event = Start | Stop | Again | Spawned | NotSpawned | Exited | Notified | MainFound | GroupEmpty | Elapsed


# --- actions --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """Start a process in the service's cgroup (a probe: in its own); answered by `Spawned` or `NotSpawned`."""

    role: Role
    argv: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signal:
    """Send a signal to one process of the service."""

    pid: int
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KillGroup:
    """Kill all that is in the service's cgroup; answered by `GroupEmpty`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KillProbe:
    """Kill the running probe and what it started."""

    pid: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FindMain:
    """Read the file in which a program that detached left the pid of its main process; `MainFound` answers."""

    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """Set a timer, in place of one of the same name."""

    timer: Timer
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Disarm:
    """Forget a timer; one that is not set is fine."""

    timer: Timer


@dataclass(frozen=True, kw_only=True, slots=True)
class Emit:
    """Tell the world: an event of `init.formats.events`; `status` where its kind has one."""

    event: str
    status: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Note:
    """A line for the service's own log."""

    text: str


Action = Run | Signal | KillGroup | KillProbe | FindMain | Arm | Disarm | Emit | Note


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A service and all that is known of it. `ready` stays true for a one-shot that is done."""

    service: Service
    state: State = State.WAITING
    step: int = 0  # index into `prepare` or `cleanup`
    main: int | None = None
    task: int | None = None  # pid of the prepare or cleanup command
    stopper: int | None = None  # pid of the `stop` command
    empty: bool = False  # killing: the cgroup is empty, the main process's status has not come yet
    next: Next = Next.POLICY
    last: bool = False  # it was asked to stop because the machine goes down
    ready: bool = False
    restarts: int = 0
    attempt: int = 0  # starts in a row that did not last
    started: float = 0.0  # when the main program was started
    since: float = 0.0  # when the state was entered
    status: int | None = None  # how the main program last ended
    health: Health = Health.NONE
    probe: int | None = None
    probe_wait: float = 0.0  # the pause before the next probe while there was no success yet
    misses: int = 0
    counted: float = 0.0  # when a miss was last counted


def describe(status: int | None) -> str:
    """Say an exit status for people."""
    if status is None:
        return "no status"
    return f"status {status}" if status >= 0 else f"signal {-status}"
