"""The machine's configuration as one value: every dialect compiles to it, PID 1 acts on it.

Durations are seconds, sizes bytes, times of day UTC. Secrets (`password_hash`, registry passwords, host keys)
stand in it; whoever shows it to people asks `init.formats.redact`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from init.formats import codec

DOCUMENT_MOST = 2 << 20
"""Bytes: of a source's documents together, of a document unpacked, and of what its `write_files` hold, unpacked."""
ENCODED_MOST = 4 << 20
"""Bytes of a machine as JSON: what the documents' limits leave open is how much longer JSON is than they are."""
REPORT_MOST = 10 << 20
"""Bytes that PID 1 takes from the config child: a machine, and its documents twice in base64, with room to spare."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A group. `members` are user names."""

    name: str
    gid: int | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A person's or a program's account. A `uid` of None takes the next free one from 1000."""

    name: str
    uid: int | None = None
    gecos: str = ""
    home: str = ""
    shell: str = "/bin/sh"
    primary_group: str | None = None
    groups: tuple[str, ...] = ()
    password_hash: str | None = None
    lock_password: bool = True
    ssh_authorized_keys: tuple[str, ...] = ()
    create_home: bool = True
    system: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenFile:
    """A file from `write_files`; `content` is base64 text, for the value has to survive JSON."""

    path: str
    content: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    append: bool = False
    defer: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command: `argv`, and whether it is one line for the shell (`argv` is then that line alone)."""

    argv: tuple[str, ...]
    shell: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A static route. `to` is a CIDR (`0.0.0.0/0` and `::/0` are the defaults)."""

    to: str
    via: str | None = None
    metric: int | None = None
    on_link: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """One interface. `kind` is `physical`, `bond`, `bridge` or `vlan`.

    A physical link is found by `match_mac`, else by `match_name` (a glob over kernel and path names), else by `name`.
    `name` is what it is called afterwards when `rename` is set.
    """

    name: str
    kind: str = "physical"
    match_mac: str | None = None
    match_name: str | None = None
    rename: bool = False
    mac: str | None = None
    mtu: int | None = None
    dhcp4: bool = False
    dhcp6: bool = False
    accept_ra: bool | None = None
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    optional: bool = False
    members: tuple[str, ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()
    vlan_id: int | None = None
    vlan_link: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """All links. `default_dhcp`: every physical link that no `links` entry matches runs DHCP."""

    default_dhcp: bool = True
    links: tuple[Link, ...] = ()
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A published port. An empty `address` is all addresses, both families. `protocol` is `tcp` or `udp`."""

    host: int
    container: int
    protocol: str = "tcp"
    address: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Volume:
    """A mount into a container. `source` without `/` names a volume: `/var/lib/berth/volumes/NAME`; `""` is a tmpfs."""

    source: str
    target: str
    read_only: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class HealthCheck:
    """Exactly one of `http` (URL), `tcp` (HOST:PORT) and `test` (argv run inside) is given; durations in seconds."""

    http: str | None = None
    tcp: str | None = None
    test: tuple[str, ...] = ()
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One declared container, the same in every recipe. `command` and `entrypoint` of None are the image's."""

    name: str
    image: str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()
    ports: tuple[Port, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart: str = "always"  # `no`, `on-failure`, `always`, `unless-stopped`
    restart_limit: int | None = None
    required: bool = False
    health: HealthCheck | None = None
    network: str = "bridge"  # `bridge`, `host`, `none`
    hostname: str | None = None
    user: str | None = None
    working_dir: str | None = None
    read_only: bool = False
    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    tmpfs: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    memory: int | None = None  # bytes
    cpus: float | None = None
    pids: int | None = None
    stop_signal: str | None = None
    stop_timeout: float = 10.0
    depends_on: tuple[str, ...] = ()
    depends_healthy: tuple[str, ...] = ()  # of `depends_on`, those that have to be healthy, not only to run
    init: bool = True
    pull: str = "missing"  # `always`, `missing`, `never`


@dataclass(frozen=True, kw_only=True, slots=True)
class Registry:
    """How to reach one private registry. `ca` is PEM text."""

    host: str
    username: str | None = None
    password: str | None = None
    ca: str | None = None
    insecure: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A file system to mount, as in fstab(5)."""

    device: str
    target: str
    filesystem: str = "auto"
    options: tuple[str, ...] = ("defaults", "nofail")


@dataclass(frozen=True, kw_only=True, slots=True)
class Swap:
    """A swap file; `size` in bytes."""

    filename: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """The gates' bounds in seconds: containers healthy within `within`, the loop alive for `settle`."""

    within: float = 300.0
    settle: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Update:
    """Where releases come from. `policy` is `manual`, `now` or `window`; `root` is TUF root metadata as text."""

    repository: str | None = None
    channel: str = "stable"
    policy: str = "manual"
    window: str | None = None
    root: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Install:
    """Unattended installation. `disk`: `only-empty`, `smallest`, `largest`, a path, or `serial:…`."""

    disk: str
    then: str = "poweroff"  # `poweroff`, `reboot`, `stay`
    wipe: str | None = None  # the serial whose data may be destroyed


@dataclass(frozen=True, kw_only=True, slots=True)
class PowerState:
    """What to do when the configuration is done. `mode` is `poweroff`, `reboot` or `halt`; `delay` in seconds.

    With a `condition`, only where that command ends with 0.
    """

    mode: str
    delay: float = 0.0
    message: str = ""
    condition: Command | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PhoneHome:
    """Where to report that the machine is up."""

    url: str
    post: tuple[str, ...] = ()
    tries: int = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One machine's whole configuration."""

    instance_id: str = "nocloud"
    hostname: str = "berth"
    fqdn: str | None = None
    manage_etc_hosts: str = "true"  # `true`, `false`, `localhost`
    timezone: str = "UTC"
    groups: tuple[Group, ...] = ()
    users: tuple[User, ...] = ()
    root_keys: tuple[str, ...] = ()
    disable_root: bool = True
    ssh_password: bool = False
    ssh_host_keys: tuple[tuple[str, str], ...] = ()  # (`ed25519_private`, text)
    files: tuple[WrittenFile, ...] = ()
    bootcmd: tuple[Command, ...] = ()
    runcmd: tuple[Command, ...] = ()
    mounts: tuple[Mount, ...] = ()
    swap: Swap | None = None
    ntp_enabled: bool = True
    ntp_servers: tuple[str, ...] = ()
    ntp_pools: tuple[str, ...] = ()
    ca_certificates: tuple[str, ...] = ()
    ca_remove_defaults: bool = False
    grow_state: bool = True
    power_state: PowerState | None = None
    final_message: str | None = None
    phone_home: PhoneHome | None = None
    random_seed: str | None = None  # base64
    sysctls: tuple[tuple[str, str], ...] = ()
    modules: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()  # proxies and the like, for every service
    network: Network = field(default_factory=Network)
    containers: tuple[Container, ...] = ()
    registries: tuple[Registry, ...] = ()
    health: Health = field(default_factory=Health)
    update: Update = field(default_factory=Update)
    install: Install | None = None


def encode(machine: Machine) -> dict[str, Any]:
    """Return the machine as JSON values; what has its default is left out."""
    return codec.encode(machine)


def decode(value: Any) -> Machine:
    """Return the machine that `encode` gave; raise ValueError with the path of what is wrong."""
    return codec.decode(Machine, value)
