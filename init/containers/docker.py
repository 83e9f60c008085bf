"""Runs one declared container through dockerd, spoken to over its socket: make, attach, start, wait.

The `docker` command would stay resident with 25 MB for each container and takes two seconds to start under emulation;
this takes none of both. The container's output comes back over the attached stream and goes to the service's log.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import sys

from init.containers import archived
from init.containers.addresses import GATEWAY, NETWORK, PREFIX4, SUBNET4, of_container
from init.containers.bundle import volume_source
from init.containers.dockerapi import Api, ApiError
from init.containers.order import PATH, Order
from init.containers.podman import archive_reference
from init.containers.reference import parse
from init.formats.imagestore import full_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from init.formats.machine import Container, Volume

_CPU = 1_000_000_000  # `NanoCpus` for one processor


def run(order: Order, *, baked: bool) -> int:
    """Run the container to its end and return its exit status. Raise ApiError where dockerd refuses.

    SIGTERM and SIGINT are passed on as the signal that the container or its image asks for.
    """
    api = Api()
    container = order.container
    image = full_name(container.image) if baked else _name_here(container)
    api.delete(f"/containers/{container.name}?force=1&v=0", missing_ok=True)
    several = len(order.numbers) > 1
    if several and container.network == "bridge":
        _ensure_network(api)
    body = document(order, image, own_network=several)
    identity = str(api.post(f"/containers/create?name={container.name}", body)["Id"])
    stream = api.attach(f"/containers/{identity}/attach?stream=1&stdout=1&stderr=1")
    stop = f"/containers/{identity}/kill?signal={container.stop_signal or _stop_signal(api, identity)}"

    def pass_on(_number: int, _frame: object) -> None:
        with contextlib.suppress(ApiError, OSError):
            Api().post(stop)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    api.post(f"/containers/{identity}/start")
    _note_pid(api, container.name, identity)
    _say_ready()
    stream.copy(sys.stdout.fileno(), sys.stderr.fileno())
    return int(api.post(f"/containers/{identity}/wait")["StatusCode"])


def fetch(order: Order) -> None:
    """Make the container's image known to dockerd. Raise ApiError."""
    api = Api()
    if archived.is_archive(order.container.image):
        try:
            _load(api, order.container)
        except ApiError as error:
            if not api.exists(f"/images/{_escaped(archive_reference(order.container.name))}/json"):
                raise
            archived.tell_kept(order.container.image, error)
    else:
        _pull(api, order)


def execute(name: str, command: list[str], seconds: float) -> int:
    """Run a command in the container and return its exit status, 1 where dockerd refuses."""
    api = Api(timeout=seconds)
    try:
        made = api.post(f"/containers/{name}/exec", {"Cmd": command, "AttachStdout": True, "AttachStderr": True})
        output = api.attach(f"/exec/{made['Id']}/start", {"Detach": False, "Tty": False})
        output.copy(sys.stdout.fileno(), sys.stderr.fileno())
        return int(api.get(f"/exec/{made['Id']}/json")["ExitCode"])
    except (ApiError, OSError) as error:
        sys.stderr.write(f"unhealthy: {error}\n")
        return 1


def document(order: Order, image: str, *, own_network: bool) -> dict[str, Any]:
    """Return the body of `POST /containers/create` (Docker Engine API 1.43). Pure."""
    container = order.container
    body: dict[str, Any] = {
        "Image": image,
        "Env": [f"{name}={value}" for name, value in container.environment],
        "Labels": dict(container.labels),
        "ExposedPorts": {f"{port.container}/{port.protocol}": {} for port in container.ports},
        "HostConfig": _host(container, own_network=own_network),
        "Healthcheck": {"Test": ["NONE"]},
    }
    if container.network == "host":
        pass
    elif container.hostname or len(container.name) <= 63:
        body["Hostname"] = container.hostname or container.name
    optional = {
        "Entrypoint": None if container.entrypoint is None else list(container.entrypoint),
        "Cmd": None if container.command is None else list(container.command),
        "User": container.user,
        "WorkingDir": container.working_dir,
        "StopSignal": container.stop_signal,
    }
    body.update({key: value for key, value in optional.items() if value is not None})
    if own_network and container.network == "bridge":
        address = of_container(order.number)
        endpoint = {"IPAMConfig": {"IPv4Address": address.ipv4}, "MacAddress": address.mac}
        body["NetworkingConfig"] = {"EndpointsConfig": {NETWORK: endpoint}}
    return body


def _host(container: Container, *, own_network: bool) -> dict[str, Any]:
    network = container.network if container.network != "bridge" else NETWORK if own_network else "bridge"
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in container.ports if container.network == "bridge" else ():
        place = {"HostIp": port.address, "HostPort": str(port.host)}
        bindings.setdefault(f"{port.container}/{port.protocol}", []).append(place)
    mounted = {volume.target: ",".join(volume.options) for volume in container.volumes if not volume.source}
    tmpfs = {text.partition(":")[0]: text.partition(":")[2] for text in container.tmpfs}
    host: dict[str, Any] = {
        "NetworkMode": network,
        "PortBindings": bindings,
        "Binds": [_bind(volume) for volume in container.volumes if volume.source],
        "Tmpfs": {**mounted, **tmpfs},
        "RestartPolicy": {"Name": "no"},
        "LogConfig": {"Type": "none"},
        "CgroupParent": f"/berth/{container.name}",
        "Init": container.init,
        "ReadonlyRootfs": container.read_only,
        "Privileged": container.privileged,
        "CapAdd": list(container.cap_add),
        "CapDrop": list(container.cap_drop),
        "Dns": list(container.dns),
        "ExtraHosts": [text.replace("=", ":", 1) for text in container.extra_hosts],
        "Sysctls": dict(container.sysctls),
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in container.ulimits],
        "Devices": [_device(text) for text in container.devices],
    }
    if container.memory is not None:
        host.update({"Memory": container.memory, "MemorySwap": container.memory})
    if container.cpus is not None:
        host["NanoCpus"] = int(container.cpus * _CPU)
    if container.pids is not None:
        host["PidsLimit"] = container.pids
    return host


def _bind(volume: Volume) -> str:
    options = [option for option in volume.options if option != "rw"]
    if volume.read_only and "ro" not in options:
        options.append("ro")
    text = f"{volume_source(volume)}:{volume.target}"
    return f"{text}:{','.join(options)}" if options else text


def _device(text: str) -> dict[str, str]:
    source, _, rest = text.partition(":")
    target, _, rights = rest.partition(":")
    return {"PathOnHost": source, "PathInContainer": target or source, "CgroupPermissions": rights or "rwm"}


def _name_here(container: Container) -> str:
    return archive_reference(container.name) if archived.is_archive(container.image) else container.image


def _pull(api: Api, order: Order) -> None:
    """Pull what is not there, or, with `pull: always`, what may have changed; that may fail where one is there."""
    container = order.container
    present = api.exists(f"/images/{container.image}/json")
    if present and container.pull != "always":
        return
    if container.pull == "never":
        raise ApiError(f"the image {container.image} is not here, and `pull: never` says not to fetch it")
    reference = parse(container.image)
    credentials = next((each for each in order.registries if each.host == reference.host and each.username), None)
    headers = {}
    if credentials is not None:
        known = {"username": credentials.username, "password": credentials.password, "serveraddress": credentials.host}
        headers["X-Registry-Auth"] = base64.urlsafe_b64encode(json.dumps(known).encode()).decode()
    name, _, _ = container.image.partition("@")
    wanted = container.image if "@" in container.image or ":" in name.rpartition("/")[2] else f"{name}:latest"
    sys.stderr.write(f"berth: fetching {container.image}\n")
    try:
        api.follow(f"/images/create?fromImage={_escaped(wanted)}", headers)
    except ApiError as error:
        if not present:
            raise
        archived.tell_kept(container.image, error)


def _escaped(text: str) -> str:
    """What `urllib.parse.quote` does, for the letters that a reference can hold; its module costs 3 MB."""
    return text.replace(":", "%3A").replace("/", "%2F").replace("@", "%40")


def _load(api: Api, container: Container) -> None:
    """Load an archive and give its image the name that the container is made from."""
    path = archived.path_of(container.image)
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - without pathlib
            lines = api.upload("/images/load?quiet=1", stream)
    except FileNotFoundError as error:
        raise ApiError(archived.gone(path)) from error
    for line in reversed(lines):
        kind, _, name = str(line.get("stream", "")).strip().partition(": ")
        if kind in ("Loaded image", "Loaded image ID"):
            repository = archive_reference(container.name).rpartition(":")[0]
            api.post(f"/images/{_escaped(name)}/tag?repo={_escaped(repository)}&tag=latest")
            return
    raise ApiError(f"dockerd found no image in {path}; it loads what `docker save` writes")


def _say_ready() -> None:
    """Tell PID 1 that the container runs, sd_notify(3): only from now on its health means something."""
    path = os.environ.get("NOTIFY_SOCKET")
    if path:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller, contextlib.suppress(OSError):
            teller.sendto(b"READY=1", path)


def _ensure_network(api: Api) -> None:
    """Make the containers' own network, where names and fixed addresses work; one that is there stays."""
    if api.exists(f"/networks/{NETWORK}"):
        return
    body = {
        "Name": NETWORK,
        "Driver": "bridge",
        "CheckDuplicate": True,
        "IPAM": {"Driver": "default", "Config": [{"Subnet": f"{SUBNET4}/{PREFIX4}", "Gateway": GATEWAY.ipv4}]},
    }
    try:
        api.post("/networks/create", body)
    except ApiError:
        if not api.exists(f"/networks/{NETWORK}"):  # another container's start was faster
            raise


def _stop_signal(api: Api, identity: str) -> str:
    return str(api.get(f"/containers/{identity}/json")["Config"].get("StopSignal") or "SIGTERM")


def _note_pid(api: Api, name: str, identity: str) -> None:
    """Leave the container's pid where health probes look for it."""
    pid = int(api.get(f"/containers/{identity}/json")["State"]["Pid"])
    os.makedirs(f"{PATH}/{name}", mode=0o711, exist_ok=True)  # noqa: PTH103
    with open(f"{PATH}/{name}/pid", "w") as stream:  # noqa: PTH123
        stream.write(str(pid))
