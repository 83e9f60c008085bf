"""The command line of podman for one declared container. Pure.

Measured with podman 5.4 under PID 1 of our own: detached with the log driver `passthrough`, only conmon stays (2 MB),
and the container writes straight into the pipe that was podman's standard output. Variables are handed on by
name, for a command line can be read by every user.
"""

from __future__ import annotations

import json

from init.containers.addresses import NETWORK, NONE_YET, numbers, of_container
from init.containers.archived import is_archive
from init.containers.bundle import volume_source
from init.containers.order import PATH
from init.formats.imagestore import full_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.containers.baked import Baked
    from init.formats.machine import Container, Machine, Port, Volume

PODMAN = "/usr/bin/podman"
# Sends a signal to the container and ends as it did: conmon leaves its status by its id. Words: folder, signal.
STOP = """\
kill -"$1" "$(cat "$0/pid")" || exit
ended=/run/libpod/exits/$(cat "$0/cid")
until [ -s "$ended" ]; do sleep 0.05; done
exit "$(cat "$ended")"
"""
# variables that podman itself, its helpers or Go would act on
_OWN = frozenset(("PATH", "HOME", "USER", "TMPDIR", "NOTIFY_SOCKET", "NOTIFY_FD", "LISTEN_PID", "LISTEN_FDS"))
_OWN_PREFIXES = ("GO", "LD_", "XDG_", "CONTAINER", "CONMON", "PODMAN", "REGISTRY_", "STORAGE_", "DBUS_", "_")


def run(machine: Machine, index: int, baked: Baked, given: Mapping[str, int] = NONE_YET) -> tuple[str, ...]:
    """Return `podman run …` for the container at `index` of the machine's list; `given`: numbers they have already."""
    container = machine.containers[index]
    folder = f"{PATH}/{container.name}"
    argv = [
        PODMAN, "run", "--detach", "--replace", f"--name={container.name}", "--restart=no", "--log-driver=passthrough",
        f"--cgroup-parent=/berth/{container.name}", f"--conmon-pidfile={folder}/conmon.pid", f"--pidfile={folder}/pid",
        f"--cidfile={folder}/cid", "--http-proxy=false", "--no-healthcheck",
        f"--stop-timeout={max(1, round(container.stop_timeout))}",
    ]  # fmt: skip
    argv += _network(machine, container, numbers((each.name for each in machine.containers), given))
    argv += _process(container)
    argv += _rights(container)
    argv += _limits(container)
    argv += [f"--volume={_volume(volume)}" for volume in container.volumes if volume.source]
    memory = [volume for volume in container.volumes if not volume.source]
    argv += [f"--tmpfs={_with_options(volume.target, volume.options)}" for volume in memory]
    argv += [f"--tmpfs={text}" for text in container.tmpfs]
    argv += [f"--label={key}={value}" for key, value in container.labels]
    image, pull = reference(container, baked)
    argv += [f"--pull={pull}"]
    entrypoint = container.entrypoint
    if entrypoint is not None:
        argv.append(f"--entrypoint={json.dumps(list(entrypoint))}")
    return (*argv, image, *(container.command or ()))


def reference(container: Container, baked: Baked) -> tuple[str, str]:
    """Return the image's reference and when podman may pull it. One that is here is never asked for."""
    if is_archive(container.image):
        return archive_reference(container.name), "never"
    if baked.find(container.image) is not None:
        return full_name(container.image), "never"
    return container.image, container.pull


def archive_reference(name: str) -> str:
    """Return the name that the image of container `name` gets when it is loaded from an archive."""
    return f"localhost/berth-archive/{name.lower()}:latest"


def folders(container: Container) -> tuple[str, ...]:
    """Return the folders that have to be there: podman, unlike docker, makes no source of a volume."""
    return tuple(volume_source(volume) for volume in container.volumes if volume.source and not _is_device(volume))


def passed_on(container: Container) -> tuple[tuple[str, str], ...]:
    """Return the container's variables that podman takes from its own environment."""
    return tuple(pair for pair in container.environment if not _is_own(pair[0]))


def _is_own(name: str) -> bool:
    return name in _OWN or name.startswith(_OWN_PREFIXES) or name.lower().endswith("_proxy")


def _is_device(volume: Volume) -> bool:
    return volume.source.startswith(("/dev/", "/proc/", "/sys/", "/run/"))


def _network(machine: Machine, container: Container, number: Mapping[str, int]) -> list[str]:
    if container.network != "bridge":
        return [f"--network={container.network}"]
    address = of_container(number[container.name])
    options = [f"--network={NETWORK}:ip={address.ipv4},ip={address.ipv6},mac={address.mac}"]
    options += [f"--publish={_port(port)}" for port in container.ports]
    options += [f"--dns={server}" for server in container.dns]
    for each in machine.containers:
        if each.name != container.name and each.network == "bridge":
            place = of_container(number[each.name])
            options += [f"--add-host={each.name}:{place.ipv4}", f"--add-host={each.name}:{place.ipv6}"]
    options += [f"--add-host={text.replace('=', ':', 1)}" for text in container.extra_hosts]
    if not container.dns:
        options.append("--volume=/etc/resolv.conf:/etc/resolv.conf:ro")
    return options


def _port(port: Port) -> str:
    address = f"[{port.address.strip('[]')}]" if ":" in port.address else port.address
    return f"{address}:{port.host}:{port.container}/{port.protocol}".removeprefix(":")


def _process(container: Container) -> list[str]:
    options = [f"--env={name}={value}" if _is_own(name) else f"--env={name}" for name, value in container.environment]
    if container.network != "host":
        options.append(f"--hostname={container.hostname or container.name[:63]}")
    if container.user is not None:
        options.append(f"--user={container.user}")
    if container.working_dir is not None:
        options.append(f"--workdir={container.working_dir}")
    if container.stop_signal is not None:
        options.append(f"--stop-signal={container.stop_signal}")
    if container.init:
        options.append("--init")
    return options


def _rights(container: Container) -> list[str]:
    options = ["--read-only", "--read-only-tmpfs=false"] if container.read_only else []
    if container.privileged:
        options.append("--privileged")
    options += [f"--cap-add={name}" for name in container.cap_add]
    options += [f"--cap-drop={name}" for name in container.cap_drop]
    options += [f"--device={text}" for text in container.devices]
    options += [f"--sysctl={name}={value}" for name, value in container.sysctls]
    return options


def _limits(container: Container) -> list[str]:
    options = [f"--ulimit={name}={soft}:{hard}" for name, soft, hard in container.ulimits]
    if container.memory is not None:
        # as much swap as memory would double it: the two together are the bound
        options += [f"--memory={container.memory}b", f"--memory-swap={container.memory}b"]
    if container.cpus is not None:
        options.append(f"--cpus={container.cpus:g}")
    if container.pids is not None:
        options.append(f"--pids-limit={container.pids}")
    return options


def _volume(volume: Volume) -> str:
    options = list(volume.options)
    if volume.read_only and "ro" not in options:
        options.append("ro")
    return _with_options(f"{volume_source(volume)}:{volume.target}", tuple(options))


def _with_options(text: str, options: tuple[str, ...]) -> str:
    return f"{text}:{','.join(options)}" if options else text
