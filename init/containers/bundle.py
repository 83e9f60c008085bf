"""The configuration of one container as an OCI runtime reads it (OCI runtime specification 1.0, config.json). No I/O.

What the image says and what the container says meet here, by Docker's rules: an entrypoint of the container drops
the image's command; variables of the container win. Capabilities are podman's default set, which is smaller than
Docker's: there is no device cgroup, so MKNOD is not among them, and the root is mounted `nodev`.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.containers import seccomp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from init.formats.machine import Container, Volume

VOLUMES_PATH = "/var/lib/berth/volumes"
INIT_INSIDE = "/dev/init"  # below /dev, a tmpfs: nothing of the image's own tree is touched
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID",
    "SYS_CHROOT",
)  # fmt: skip
ALL_CAPABILITIES = (
    "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN",
    "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE",
    "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST",
    "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
    "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "WAKE_ALARM",
)  # fmt: skip
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/dev/block",
    "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux",
)  # fmt: skip
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
# in a network of its own: `ping` needs no capability, and a user who is not root may serve port 80
DEFAULT_SYSCTLS = (("net.ipv4.ping_group_range", "0 2147483647"), ("net.ipv4.ip_unprivileged_port_start", "0"))
_OPTIONS = frozenset(
    ("ro", "rw", "noexec", "exec", "nosuid", "suid", "nodev", "dev", "noatime", "rshared", "shared", "rslave", "slave",
     "rprivate", "private", "rbind", "bind")
)  # fmt: skip


class BundleError(ValueError):
    """The container and its image don't give something that can be started. The text says what to change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageConfig:
    """The part of an image's configuration that matters to run it."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = "/"
    stop_signal: str | None = None
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Who runs in the container, as numbers, and where their home is."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What the machine contributes: where the files lie and which namespace was made.

    `network` is a path below /proc of a network namespace, None shares the machine's. `files` are (source, target)
    pairs of single files that are put over the image's own.
    """

    root: str
    network: str | None
    files: tuple[tuple[str, str], ...] = ()
    init: str | None = None
    hostname: str = ""


def image_config(document: dict[str, Any]) -> ImageConfig:
    """Read an image's configuration document; what has a wrong type counts as absent."""
    run = document.get("config")
    run = run if isinstance(run, dict) else {}

    def texts(key: str) -> tuple[str, ...]:
        value = run.get(key)
        return tuple(str(item) for item in value) if isinstance(value, (list, dict)) else ()

    return ImageConfig(
        entrypoint=texts("Entrypoint"),
        command=texts("Cmd"),
        environment=texts("Env"),
        user=str(run.get("User") or ""),
        working_dir=str(run.get("WorkingDir") or "/"),
        stop_signal=str(run["StopSignal"]) if run.get("StopSignal") else None,
        volumes=texts("Volumes"),
    )


def arguments(container: Container, image: ImageConfig) -> tuple[str, ...]:
    """Return what is started: entrypoint and command, the container's over the image's."""
    if container.entrypoint is not None:
        argv = container.entrypoint + (container.command or ())
    else:
        argv = image.entrypoint + (image.command if container.command is None else container.command)
    if not argv:
        raise BundleError(f"{container.name}: neither the image {container.image} nor the config says what to start")
    return argv


def runtime_spec(container: Container, image: ImageConfig, account: Account, place: Place) -> dict[str, Any]:
    """Return config.json as a value."""
    argv = arguments(container, image)
    if place.init is not None:
        argv = (INIT_INSIDE, "--", *argv)
    capabilities = [f"CAP_{name}" for name in capability_names(container)]
    held = capabilities if account.uid == 0 else []
    spec: dict[str, Any] = {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": account.uid, "gid": account.gid, "additionalGids": list(account.groups)},
            "args": list(argv),
            "env": _environment(container, image, account, place),
            "cwd": container.working_dir or image.working_dir,
            "capabilities": {"bounding": capabilities, "effective": held, "permitted": held},
            "rlimits": [
                {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard} for name, soft, hard in container.ulimits
            ],
            "noNewPrivileges": False,
        },
        "root": {"path": place.root, "readonly": container.read_only},
        "mounts": _mounts(container, place),
        "linux": {
            "namespaces": _namespaces(place),
            "sysctl": _sysctls(container),
            "maskedPaths": [] if container.privileged else list(_MASKED),
            "readonlyPaths": [] if container.privileged else list(_READ_ONLY),
        },
    }
    if container.network != "host":
        spec["hostname"] = place.hostname
    if not container.privileged:
        spec["linux"]["seccomp"] = seccomp.profile(capability_names(container))
    return spec


def capability_names(container: Container) -> tuple[str, ...]:
    """Return the capabilities without their prefix, sorted."""
    if container.privileged:
        return ALL_CAPABILITIES
    added = {_capability(name) for name in container.cap_add}
    dropped = {_capability(name) for name in container.cap_drop}
    held = set(ALL_CAPABILITIES) if "ALL" in added else set() if "ALL" in dropped else set(CAPABILITIES)
    held |= added - {"ALL"}
    held -= dropped - {"ALL"}
    unknown = held - set(ALL_CAPABILITIES)
    if unknown:
        raise BundleError(f"{container.name}: there is no capability {', '.join(sorted(unknown))}")
    return tuple(sorted(held))


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _environment(container: Container, image: ImageConfig, account: Account, place: Place) -> list[str]:
    pairs = [DEFAULT_PATH, f"HOSTNAME={place.hostname}", f"HOME={account.home}", *image.environment]
    values: dict[str, str] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        values[name] = value
    values.update(container.environment)
    return [f"{name}={value}" for name, value in values.items() if name]


def _namespaces(place: Place) -> list[dict[str, str]]:
    kinds = ["pid", "ipc", "mount", "cgroup"] + (["uts"] if place.network is not None else [])
    namespaces = [{"type": kind} for kind in kinds]
    if place.network is not None:
        namespaces.append({"type": "network", "path": place.network})
    return namespaces


def _sysctls(container: Container) -> dict[str, str]:
    preset = {} if container.network == "host" else dict(DEFAULT_SYSCTLS)
    return {**preset, **dict(container.sysctls)}


def _mount(target: str, kind: str, source: str, *options: str) -> dict[str, Any]:
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def _mounts(container: Container, place: Place) -> list[dict[str, Any]]:
    sys_mode = "rw" if container.privileged else "ro"
    safe = ("nosuid", "noexec", "nodev")
    mounts = [_mount("/proc", "proc", "proc", *safe)]
    if container.privileged:
        mounts.append(_mount("/dev", "bind", "/dev", "rbind", "rw", "rslave"))
    else:
        mounts.append(_mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=64k"))
        terminals = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")
        mounts.append(_mount("/dev/pts", "devpts", "devpts", *terminals))
        mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", *safe))
        mounts.append(_mount("/dev/shm", "tmpfs", "shm", *safe, "mode=1777", "size=64m"))  # noqa: S108 - a mount point
    if container.network == "host":
        mounts.append(_mount("/sys", "bind", "/sys", "rbind", "rslave", sys_mode, *safe))
    else:
        mounts.append(_mount("/sys", "sysfs", "sysfs", *safe, sys_mode))
        mounts.append(_mount("/sys/fs/cgroup", "cgroup", "cgroup", *safe, "relatime", sys_mode))
    mounts += [_mount(target, "bind", source, "bind", "rw") for source, target in place.files]
    if place.init is not None:
        mounts.append(_mount(INIT_INSIDE, "bind", place.init, "bind", "ro", "nosuid", "nodev"))
    mounts += [_device(text) for text in container.devices]
    mounts += [_tmpfs(text) for text in container.tmpfs]
    mounts += [_volume(volume) for volume in container.volumes]
    return mounts


def _device(text: str) -> dict[str, Any]:
    source, _, rest = text.partition(":")
    target = rest.partition(":")[0] or source
    return _mount(target, "bind", source, "rbind", "rw", "nosuid", "noexec")


def _tmpfs(text: str) -> dict[str, Any]:
    target, _, options = text.partition(":")
    given = [option for option in options.split(",") if option]
    return _mount(target, "tmpfs", "tmpfs", "nosuid", "nodev", *given)


def volume_source(volume: Volume) -> str:
    """Return the path on the machine that a volume names; "" for a tmpfs."""
    if not volume.source or volume.source.startswith("/"):
        return volume.source
    return f"{VOLUMES_PATH}/{volume.source}"


def _volume(volume: Volume) -> dict[str, Any]:
    options = [option for option in volume.options if option in _OPTIONS]
    source = volume_source(volume)
    if not source:
        return _mount(volume.target, "tmpfs", "tmpfs", "nosuid", "nodev", *volume.options)
    if volume.read_only and "ro" not in options:
        options.append("ro")
    return _mount(volume.target, "bind", source, "rbind", "nodev", *options)
