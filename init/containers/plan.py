"""From declared containers and the recipe's engine to what PID 1 supervises. Pure: no I/O, one answer for one input.

| engine | the service's own process        | image fetched by      | limits set by | stop                            |
|--------|----------------------------------|-----------------------|---------------|---------------------------------|
| crun   | `container run`, becomes crun    | `prepare`             | PID 1         | the signal, passed on by crun   |
| podman | `podman run -d`, leaves conmon   | `prepare`, or podman  | podman        | the signal to the container     |
| docker | `container run`, a small client  | `prepare`             | dockerd       | SIGTERM to the client           |
| none   | –                                | –                     | –             | –                               |

PID 1 alone decides about restarts, and a start always makes the container anew: one kept from before may stand on a
layer of the other slot.
"""

from __future__ import annotations

from dataclasses import replace

from init.containers import podman
from init.containers.addresses import NONE_YET
from init.containers.archived import is_archive
from init.containers.baked import Baked
from init.containers.order import PATH
from init.formats.bare import signal
from init.formats.release import PROGRAM
from init.formats.service import Limits, Probe, Readiness, Restart, Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.formats.machine import Container, Machine
    from init.formats.release import Release

CONTAINERD_SERVICE = "containerd"
DOCKER_SERVICE = "docker"
# seconds that the program of a probe may take to start: it bounds the question itself, and a machine that is busy
# (three boots at once under emulation) must not make its containers unhealthy by that alone
_PROBE_START = 5.0
_PATIENCE = 60.0  # seconds that one child asks a container that starts; an interval may be longer
FETCH_TIMEOUT = 1800.0  # seconds that fetching and unpacking an image may take before it is tried again


def services(
    machine: Machine,
    release: Release,
    baked: Baked = Baked(),  # noqa: B008 - a frozen value
    given: Mapping[str, int] = NONE_YET,
) -> tuple[Service, ...]:
    """Return the engine's daemons and one service for each container, in the order of the config.

    `given`: the numbers that containers have already (see `addresses`).
    """
    engine = release.engine
    if engine == "none":
        return ()
    daemons = _docker_daemons(machine) if engine == "docker" else ()
    containers = tuple(_container(machine, index, engine, baked, given) for index in range(len(machine.containers)))
    return (*daemons, *containers)


def is_fetched(container: Container, baked: Baked) -> bool:
    """Tell whether a container's image comes from a registry, so that its first start needs the network."""
    return not is_archive(container.image) and baked.find(container.image) is None


def _container(machine: Machine, index: int, engine: str, baked: Baked, given: Mapping[str, int]) -> Service:
    container = machine.containers[index]
    remote = is_fetched(container, baked)
    after = list(container.depends_on)
    if engine == "docker":
        after.append(DOCKER_SERVICE)
    if remote:
        after.append("network")
    service = Service(
        name=container.name,
        argv=(*PROGRAM, "container", "run", container.name),
        after=tuple(after),
        after_healthy=container.depends_healthy,
        readiness=Readiness.STARTED if container.health else Readiness.SETTLED,
        restart=_RESTARTS[container.restart],
        restart_limit=container.restart_limit,
        start_timeout=FETCH_TIMEOUT if _prepared(container, baked) else 90.0,
        stop_timeout=container.stop_timeout,
        probe=_probe(container, engine),
        is_container=True,
        image=container.image,
        required=container.required,
    )
    if engine == "podman":
        return _through_podman(service, machine, container, podman.run(machine, index, baked, given))
    return {"crun": _through_crun, "docker": _through_docker}[engine](service, container, baked)


_RESTARTS = {
    "no": Restart.NO,
    "on-failure": Restart.ON_FAILURE,
    "always": Restart.ALWAYS,
    "unless-stopped": Restart.ALWAYS,  # a stop by hand is PID 1's own, and it does not undo it
}


def _prepared(container: Container, baked: Baked) -> bool:
    return baked.find(container.image) is None


def _through_crun(service: Service, container: Container, baked: Baked) -> Service:
    fetch = ((*PROGRAM, "container", "fetch", container.name),) if _prepared(container, baked) else ()
    published = bool(container.ports) and container.network == "bridge"
    return replace(
        service,
        prepare=fetch,
        cleanup=((*PROGRAM, "container", "unpublish", container.name),) if published else (),
        stop_signal=signal_number(container.stop_signal),
        limits=Limits(memory=container.memory, cpus=container.cpus, pids=container.pids),
    )


def _through_podman(service: Service, machine: Machine, container: Container, argv: tuple[str, ...]) -> Service:
    prepare = [("/usr/bin/busybox", "mkdir", "-p", f"{PATH}/{container.name}", *podman.folders(container))]
    if is_archive(container.image):
        prepare.append((*PROGRAM, "container", "fetch", container.name))
    number = signal_number(container.stop_signal)
    return replace(
        service,
        argv=argv,
        environment=(*machine.environment, *podman.passed_on(container)),
        prepare=tuple(prepare),
        # conmon passes no signal on; a `podman stop` takes a second before it does anything
        stop=("/usr/bin/busybox", "sh", "-c", podman.STOP, f"{PATH}/{container.name}", str(number)),
        # the cleanup that conmon starts takes two seconds, for what no boot after this one looks at
        stop_tells=True,
        pid_file=f"{PATH}/{container.name}/conmon.pid",
        delegate=True,
    )


def _through_docker(service: Service, container: Container, baked: Baked) -> Service:
    return replace(
        service,
        prepare=((*PROGRAM, "container", "fetch", container.name),) if _prepared(container, baked) else (),
        # its process is a client, which says when dockerd has started the container: that may take long
        readiness=Readiness.NOTIFY,
        delegate=True,
        stop_timeout=service.stop_timeout + 2.0,
    )


def _docker_daemons(machine: Machine) -> tuple[Service, ...]:
    containerd = Service(
        name=CONTAINERD_SERVICE,
        argv=("/usr/bin/containerd", "--config", "/etc/containerd/config.toml"),
        environment=machine.environment,
        readiness=Readiness.NOTIFY,
        start_timeout=180.0,
        delegate=True,
    )
    docker = Service(
        name=DOCKER_SERVICE,
        argv=("/usr/sbin/dockerd", "--containerd=/run/containerd/containerd.sock", "--host=unix:///run/docker.sock"),
        environment=machine.environment,
        prepare=((*PROGRAM, "container", "link-images"),),
        after=(CONTAINERD_SERVICE,),
        readiness=Readiness.NOTIFY,
        start_timeout=240.0,
        stop_timeout=20.0,
        delegate=True,
    )
    return containerd, docker


def _probe(container: Container, engine: str) -> Probe | None:
    health = container.health
    if health is None:
        return None
    if health.http is not None:
        what: tuple[str, ...] = ("http", container.name, str(health.timeout), health.http)
    elif health.tcp is not None:
        what = ("tcp", container.name, str(health.timeout), health.tcp)
    else:
        what = ("exec", container.name, str(health.timeout), engine, *health.test)
    patience = min(health.interval, _PATIENCE)
    return Probe(
        argv=(*PROGRAM, "probe", *what),
        waiting=(*PROGRAM, "probe", "wait", str(patience), *what) if what[0] != "exec" else (),
        patience=patience,
        interval=health.interval,
        timeout=health.timeout + _PROBE_START,
        retries=health.retries,
        start_period=health.start_period,
    )


def signal_number(name: str | None) -> int:
    """Return a signal's number from `SIGTERM`, `TERM`, `15` or `RTMIN+3`; SIGTERM for None and what is unknown."""
    if name is None:
        return int(signal.SIGTERM)
    text = name.upper().removeprefix("SIG")
    if text.isdecimal() and 1 <= int(text) <= 64:
        return int(text)
    base, plus, offset = text.partition("+")
    if base == "RTMIN" and plus and offset.isdecimal():
        return int(signal.SIGRTMIN) + int(offset)
    return int(getattr(signal, f"SIG{text}", signal.SIGTERM))
