"""What PID 1 supervises: one value per service, whether a daemon of the base, an engine, or a container."""

from __future__ import annotations

from dataclasses import dataclass

from init.formats.bare import StrEnum


class Readiness(StrEnum):
    """How a service says that it is ready."""

    STARTED = "started"  # it runs
    EXIT = "exit"  # it ended with status 0 (a one-shot)
    NOTIFY = "notify"  # READY=1 on its NOTIFY_SOCKET, sd_notify(3)
    SETTLED = "settled"  # it still runs 2 s after its start


class Restart(StrEnum):
    """When a service that ended is started again."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A health check as PID 1 runs it: `argv` is a child that exits 0 when healthy. Durations in seconds.

    It exits with `exitstatus.NOT_YET` where there is nothing to ask yet: on a slow machine a container takes longer to
    begin than its check allows for answers, and would never come up if that were a miss.

    `waiting`, where there is one, is run until the first success instead: it asks again and again for `patience`
    seconds, so that a child's start is paid once and the first yes is known at once.
    """

    argv: tuple[str, ...]
    interval: float
    timeout: float
    retries: int
    start_period: float
    waiting: tuple[str, ...] = ()
    patience: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """cgroup v2 limits; None leaves the kernel's. Memory in bytes, cpus in processors."""

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """One supervised program.

    A start runs `prepare` commands in order (each has to end with 0 within `start_timeout`), then `argv` as the
    service itself. A stop sends `stop_signal` to the main process (or runs `stop`), waits `stop_timeout` seconds,
    kills the whole cgroup, then runs `cleanup`, whose failures are only logged.
    """

    name: str
    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    prepare: tuple[tuple[str, ...], ...] = ()
    cleanup: tuple[tuple[str, ...], ...] = ()
    stop: tuple[str, ...] | None = None
    stop_tells: bool = False  # `stop` ends when the service has, with its status; at a shutdown the rest is then killed
    after: tuple[str, ...] = ()  # started when these are ready; stopped before them. `network` is a target
    after_healthy: tuple[str, ...] = ()  # of these, the containers that have to be healthy as well
    readiness: Readiness = Readiness.STARTED
    restart: Restart = Restart.ALWAYS
    restart_limit: int | None = None
    start_timeout: float = 90.0
    stop_signal: int = 15
    stop_timeout: float = 10.0
    limits: Limits = Limits()
    probe: Probe | None = None
    pid_file: str | None = None  # where `argv` leaves the pid of a main process that it detached from
    is_container: bool = False
    image: str = ""  # containers only, for status and events
    required: bool = False
    delegate: bool = False  # it makes cgroups of its own below `/sys/fs/cgroup/berth/NAME`
