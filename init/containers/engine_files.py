"""The files that engines and our own start program read, from the machine's config. Pure; PID 1 writes them.

They lie in memory (`/etc`, `/run`) and are made anew at each boot, but for podman's networks: podman looks for
them in one folder only, and an operator's own have to stay, so that folder is on state.
"""

from __future__ import annotations

import binascii  # `base64` imports `re`, and PID 1 needs neither
import json

from init.containers import order
from init.containers.addresses import BRIDGE, GATEWAY, NETWORK, NONE_YET, PREFIX4, PREFIX6, SUBNET4, SUBNET6, numbers
from init.containers.bundle import DEFAULT_SYSCTLS
from init.formats.release import IMAGES_PATH
from init.formats.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from init.formats.machine import Machine, Registry
    from init.formats.release import Release

    Files = tuple[tuple[str, bytes, int], ...]  # path, content, mode

PODMAN_NETWORKS = "/var/lib/containers/networks"
AUTH_FILE = "/run/containers/0/auth.json"
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def engine_files(machine: Machine, release: Release, given: Mapping[str, int] = NONE_YET) -> Files:
    """Return every file as (path, content, mode). Folders above them are made with mode 0755.

    `given`: the numbers that containers have already (see `addresses`).
    """
    if release.engine == "none":
        return ()
    files = _orders(machine, release.engine, given)
    if release.engine == "podman":
        files += _podman(machine)
    elif release.engine == "docker":
        files += _docker(machine)
    return files


def _orders(machine: Machine, engine: str, given: Mapping[str, int]) -> Files:
    names = tuple(container.name for container in machine.containers)
    number = numbers(names, given)
    images = tuple(container.image for container in machine.containers)
    return tuple(
        (
            order.path_of(container.name),
            order.encode(
                order.Order(
                    container=container,
                    number=number[container.name],
                    engine=engine,
                    numbers=tuple((name, number[name]) for name in names),
                    images=images,
                    registries=machine.registries,
                    environment=machine.environment,
                    ca_certificates=machine.ca_certificates,
                )
            ),
            0o600,
        )
        for container in machine.containers
    )


def _podman(machine: Machine) -> Files:
    files = [
        ("/etc/containers/policy.json", _json(_POLICY), 0o644),
        ("/etc/containers/storage.conf", _STORAGE.encode(), 0o644),
        ("/etc/containers/containers.conf", _CONTAINERS.encode(), 0o644),
        ("/etc/containers/registries.conf", _registries(machine.registries).encode(), 0o644),
        (f"{PODMAN_NETWORKS}/{NETWORK}.json", _json(_network()), 0o644),
    ]
    files += _certificates(machine.registries, "/etc/containers/certs.d")
    if any(registry.username for registry in machine.registries):
        files.append((AUTH_FILE, _json(credentials(machine.registries)), 0o600))
    return tuple(files)


_STORAGE = f"""\
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"

[storage.options]
additionalimagestores = ["{IMAGES_PATH}"]
"""
_SYSCTLS = ", ".join(f'"{name}={value}"' for name, value in DEFAULT_SYSCTLS)
_CONTAINERS = f"""\
[containers]
default_sysctls = [{_SYSCTLS}]

[network]
network_backend = "netavark"
network_config_dir = "{PODMAN_NETWORKS}"

[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
"""


def _registries(registries: tuple[Registry, ...]) -> str:
    lines = ['unqualified-search-registries = ["docker.io"]', 'short-name-mode = "permissive"']
    for registry in registries:
        if registry.insecure:
            lines += ["", "[[registry]]", f"location = {json.dumps(registry.host)}", "insecure = true"]
    return "\n".join(lines) + "\n"


def _certificates(registries: tuple[Registry, ...], folder: str) -> Files:
    return tuple(
        (f"{folder}/{registry.host}/ca.crt", registry.ca.encode(), 0o644) for registry in registries if registry.ca
    )


def credentials(registries: tuple[Registry, ...]) -> dict[str, Any]:
    """Return the `auths` document that podman and docker read."""
    auths = {}
    for registry in registries:
        if registry.username is not None:
            pair = f"{registry.username}:{registry.password or ''}"
            auths[registry.host] = {"auth": binascii.b2a_base64(pair.encode(), newline=False).decode()}
    return {"auths": auths}


def _network() -> dict[str, Any]:
    """Return podman's own record of the containers' network. Addresses are given by us: no DNS server has to run."""
    return {
        "name": NETWORK,
        "id": sha256(NETWORK.encode()).hexdigest(),
        "driver": "bridge",
        "network_interface": BRIDGE,
        "created": "2025-01-01T00:00:00Z",
        "subnets": [
            {"subnet": f"{SUBNET4}/{PREFIX4}", "gateway": GATEWAY.ipv4},
            {"subnet": f"{SUBNET6}/{PREFIX6}", "gateway": GATEWAY.ipv6},
        ],
        "ipv6_enabled": True,
        "internal": False,
        "dns_enabled": False,
        "ipam_options": {"driver": "host-local"},
    }


def _docker(machine: Machine) -> Files:
    daemon = {
        "data-root": "/var/lib/docker",
        "storage-driver": "overlay2",
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-level": "warn",
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "userland-proxy": False,
        "shutdown-timeout": 5,
        "insecure-registries": [registry.host for registry in machine.registries if registry.insecure],
    }
    return (
        ("/etc/docker/daemon.json", _json(daemon), 0o644),
        ("/etc/containerd/config.toml", _CONTAINERD.encode(), 0o644),
        *_certificates(machine.registries, "/etc/docker/certs.d"),
    )


_CONTAINERD = """\
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
# dockerd keeps images and networks itself: what only Kubernetes or other snapshotters use stays off
disabled_plugins = [
  "io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[debug]
level = "warn"

[grpc]
address = "/run/containerd/containerd.sock"
"""


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"
