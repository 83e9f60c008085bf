"""`berth.containers`: the keys of a Compose service, and Berth's own `required`, `http` and `tcp`.

Source: compose-spec, chapters on services. A container's own restart default is `always`, not Compose's `no`: what is
declared for a machine is meant to run.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from typing import Any

from init.dialects.depends import depends
from init.dialects.diagnostic import Report
from init.dialects.healthcheck import HEALTHCHECK, read_healthcheck
from init.dialects.mounts import PORT, VOLUME
from init.dialects.position import Mapping, Node, Scalar, Sequence, is_null
from init.dialects.record import Fields, Key, Record
from init.dialects.shape import (
    INVALID,
    Boolean,
    Choice,
    Custom,
    Duration,
    Integer,
    Listing,
    Number,
    Size,
    Text,
    expected,
    wrong,
)
from init.formats.machine import Container

NAME = Text(  # docker takes none of one character, and a configuration is for each engine
    what="a name of 2 to 63 characters: letters, digits, `-`, `_` and `.`, the first a letter or digit",
    pattern=r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,62}",
)
_HOST = r"([A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+(:[0-9]{1,5})?|[A-Za-z0-9-]+:[0-9]{1,5}|localhost)"
IMAGE = Text(  # a reference as the OCI distribution specification has it
    what="an image: a baked one's name, `archive:/PATH`, or a registry reference in small letters",
    pattern=rf"archive:/\S+|(?!archive:)({_HOST}/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{{0,127}})?(@[a-z0-9]+:[0-9a-f]{{32,}})?",
)


def _words(node: Node, path: str, report: Report) -> Any:
    """A command: a list, or text that is split as a shell would."""
    if isinstance(node, Sequence):
        return Listing(Text()).read(node, path, report)
    text = Text(what="a list, or text").read(node, path, report)
    if text is INVALID:
        return INVALID
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return wrong("a quotation mark without its partner", node, path, report)


def pairs(node: Node, path: str, report: Report) -> Any:
    """`environment`, `labels`, `sysctls`: a map, or a list of `KEY=VALUE`. Returns pairs, the last of a key wins."""
    found: dict[str, str] = {}
    if isinstance(node, Mapping):
        for key, value in node.entries:
            if is_null(value):
                found[key.text] = ""
            elif isinstance(value, Scalar):
                found[key.text] = value.text
            else:
                expected("text", value, f"{path}.{key.text[:60]}", report)
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            text = Text(what="`KEY=VALUE`").read(item, f"{path}[{index}]", report)
            if text is INVALID:
                continue
            key_text, equals, rest = text.partition("=")
            if not equals:
                report.warn(
                    item.place,
                    f"{path}[{index}]",
                    "a name without `=VALUE` takes nothing: there is no outside to take it from",
                )
                continue
            found[key_text] = rest
    else:
        return expected("a map, or a list of `KEY=VALUE`", node, path, report)
    return tuple(found.items())


def _restart(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and (found := re.fullmatch(r"on-failure:([0-9]{1,6})", node.text)):
        return ("on-failure", int(found[1]))
    word = Choice(("no", "always", "on-failure", "unless-stopped")).read(node, path, report)
    return word if word is INVALID else (word, None)


def _ulimits(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Mapping):
        return expected("a map of limits", node, path, report)
    result = []
    limit = Integer(least=-1)
    for key, value in node.entries:
        here = f"{path}.{key.text[:60]}"
        if isinstance(value, Mapping):
            fields = Record(
                keys={"soft": Key(shape=limit, required=True), "hard": Key(shape=limit, required=True)}
            ).read(value, here, report)
            if fields is not INVALID and "soft" in fields and "hard" in fields:
                result.append((key.text, fields.get("soft"), fields.get("hard")))
            continue
        number = limit.read(value, here, report)
        if number is not INVALID:
            result.append((key.text, number, number))
    return tuple(result)


def _hosts(node: Node, path: str, report: Report) -> Any:
    """`extra_hosts`: a map, or a list of `host:ip` or `host=ip`. Returns `host:ip`."""
    if isinstance(node, Mapping):
        found = pairs(node, path, report)
        return found if found is INVALID else tuple(f"{host}:{address}" for host, address in found)
    items = Listing(Text(what="HOST:ADDRESS", pattern=r"[^\s:=]+[:=]\S+")).read(node, path, report)
    if items is INVALID:
        return INVALID
    return tuple(item if "=" not in item.split(":", 1)[0] else item.replace("=", ":", 1) for item in items)


_LIMITS = Record(
    keys={
        "cpus": Key(shape=Number(least=0.01), doc="processors"),
        "memory": Key(shape=Size(least=4 * 1024**2), doc="bytes"),
        "pids": Key(shape=Integer(least=1), doc="processes"),
    }
)
_DEPLOY = Record(
    extensions=True,
    keys={
        "resources": Key(
            shape=Record(
                extensions=True,
                keys={
                    "limits": Key(shape=_LIMITS),
                    "reservations": Key(ignored="a machine runs what is declared and reserves nothing"),
                },
            )
        ),
        **{
            name: Key(ignored="this belongs to a cluster")
            for name in ("mode", "replicas", "endpoint_mode", "labels", "placement", "update_config", "rollback_config")
        },
        "restart_policy": Key(ignored="write `restart`"),
    },
)
_LIST = Listing(Text(), single=True)

_IGNORED = {
    "env_file": "write `environment`: no file beside the configuration is on the machine",
    "label_file": "write `labels`",
    "annotations": "no engine here reads them",
    "expose": "it publishes nothing; write `ports`",
    "networks": "a container is on the bridge; see `network_mode`",
    "security_opt": "the engine's own profile is used",
    "group_add": "write the ids into the image",
    "userns_mode": "containers run in the machine's user namespace",
    "domainname": "write a full `hostname`",
    "container_name": "the container has the name of its key",
    "platform": "the machine's own",
    "runtime": "the recipe's engine decides",
    "isolation": "it belongs to Windows",
    "logging": "PID 1 keeps the logs; see `berthctl logs`",
    "device_cgroup_rules": "write `devices`",
    "gpus": "no GPU is passed on",
    "dns_search": "names are searched for as on the machine",
    "dns_opt": "the resolver's options are the machine's",
    "mac_address": "the engine chooses it",
    "ipc": "private",
    "pid": "private",
    "uts": "private",
    "cgroup": "private",
    "cgroup_parent": "each container has a cgroup of its own below `berth`",
    "stdin_open": "a declared container has no terminal",
    "tty": "a declared container has no terminal",
    "attach": "its output goes to the logs",
    "profiles": "each declared container runs",
    "scale": "declare it twice under two names",
    "secrets": "write a file with `write_files` and mount it",
    "configs": "write a file with `write_files` and mount it",
    "extends": "use a YAML anchor",
    "post_start": "write it into the image's entrypoint",
    "pre_stop": "write it into the image's entrypoint",
    "links": "containers on the bridge reach each other by name",
    "external_links": "containers on the bridge reach each other by name",
    "volumes_from": "name the volumes in both containers",
    "credential_spec": "it belongs to Windows",
    "develop": "it belongs to development",
    "provider": "it belongs to Docker Compose",
    "models": "it belongs to Docker Compose",
    "use_api_socket": "mount the engine's socket as a volume if it is meant",
    "storage_opt": "the engine's own",
    "cpu_shares": "write `cpus`",
    "cpu_quota": "write `cpus`",
    "cpu_period": "write `cpus`",
    "cpuset": "write `cpus`",
    "mem_reservation": "write `mem_limit`",
    "memswap_limit": "write `mem_limit`",
    "mem_swappiness": "the machine's own",
    "oom_kill_disable": "a container that needs more than its limit is killed and started again",
    "oom_score_adj": "the engine's own",
    "shm_size": "64 MiB",
    "blkio_config": "no limits of disk traffic",
}

SERVICE = Record(
    what="a map that describes a container",
    extensions=True,
    elsewhere={
        "memory": "`mem_limit`",
        "pids": "`pids_limit`",
        "health": "`healthcheck`",
        "env": "`environment`",
        "cmd": "`command`",
    },
    keys={
        "image": Key(shape=IMAGE, required=True, doc="a baked image, `archive:PATH`, or a reference in a registry"),
        "required": Key(shape=Boolean(), doc="the release gate waits for it to be healthy"),
        "command": Key(shape=Custom(_words), doc="replaces the image's command"),
        "entrypoint": Key(shape=Custom(_words), doc="replaces the image's entrypoint"),
        "environment": Key(shape=Custom(pairs), doc="a map, or a list of `KEY=VALUE`"),
        "ports": Key(shape=Listing(PORT), doc="`HOST:CONTAINER`, with an address before and `/udp` behind"),
        "volumes": Key(shape=Listing(VOLUME), doc="`NAME:/PATH` or `/HOST:/PATH`, with `:ro` behind"),
        "tmpfs": Key(shape=_LIST, doc="paths in memory"),
        "restart": Key(
            shape=Custom(_restart, {"type": "string"}),
            doc="`no`, `always` (the default), `on-failure[:N]`, `unless-stopped`",
            null=False,
        ),
        "depends_on": Key(
            shape=depends(NAME), doc="containers that have to run before; with `condition: service_healthy`, healthy"
        ),
        "healthcheck": Key(shape=Custom(read_healthcheck, HEALTHCHECK.schema()), doc="how its health is asked"),
        "network_mode": Key(shape=Choice(("bridge", "host", "none")), doc="its network; `bridge` by default"),
        "hostname": Key(
            shape=Text(pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?", what="a host name"),
            doc="its host name",
        ),
        "user": Key(shape=Text(pattern=r"[\w.-]+(:[\w.-]+)?", what="USER or USER:GROUP"), doc="who runs it"),
        "working_dir": Key(shape=Text(pattern=r"/.*", what="an absolute path"), doc="where it starts"),
        "read_only": Key(shape=Boolean(), doc="its root cannot be written"),
        "privileged": Key(shape=Boolean(), doc="all that root may do on the machine"),
        "cap_add": Key(shape=_LIST, doc="capabilities more than the engine gives"),
        "cap_drop": Key(shape=_LIST, doc="capabilities less"),
        "devices": Key(
            shape=Listing(Text(pattern=r"/dev/\S+", what="/dev/NAME[:/dev/NAME[:rwm]]")), doc="devices of the machine"
        ),
        "dns": Key(shape=_LIST, doc="its name servers"),
        "extra_hosts": Key(shape=Custom(_hosts), doc="`HOST:ADDRESS` lines for its hosts file"),
        "labels": Key(shape=Custom(pairs), doc="labels for the engine"),
        "sysctls": Key(shape=Custom(pairs), doc="kernel settings of its own namespaces"),
        "ulimits": Key(shape=Custom(_ulimits), doc="limits of its processes"),
        "deploy": Key(shape=_DEPLOY, doc="`resources.limits` is acted on"),
        "cpus": Key(shape=Number(least=0.01), doc="processors"),
        "mem_limit": Key(shape=Size(least=4 * 1024**2), doc="bytes of memory"),
        "pids_limit": Key(shape=Integer(least=1), doc="processes"),
        "stop_signal": Key(
            shape=Text(pattern=r"(SIG)?[A-Z0-9+-]+|[0-9]{1,2}", what="a signal"), doc="how it is asked to stop; SIGTERM"
        ),
        "stop_grace_period": Key(shape=Duration(), doc="time until it is killed; 10s"),
        "init": Key(shape=Boolean(), doc="a small PID 1 in the container; true by default"),
        "pull_policy": Key(
            shape=Choice(("always", "missing", "if_not_present", "never")), doc="when a registry is asked; `missing`"
        ),
        **{name: Key(ignored=reason) for name, reason in _IGNORED.items()},
    },
)


def make_container(name: str, fields: Fields, report: Report) -> Container:
    """Return the container of one map whose keys were read."""
    restart, limit = fields.get("restart", ("always", None))
    limits = _limits(fields, report)
    pull = fields.get("pull_policy", "missing")
    needs = fields.get("depends_on", ())
    return Container(
        name=name,
        image=fields.get("image", ""),
        entrypoint=fields.get("entrypoint"),
        command=fields.get("command"),
        environment=fields.get("environment", ()),
        ports=tuple(port for group in fields.get("ports", ()) for port in group),
        volumes=fields.get("volumes", ()),
        restart=restart,
        restart_limit=limit,
        required=fields.get("required", False),
        health=fields.get("healthcheck"),
        network=fields.get("network_mode", "bridge"),
        hostname=fields.get("hostname"),
        user=fields.get("user"),
        working_dir=fields.get("working_dir"),
        read_only=fields.get("read_only", False),
        privileged=fields.get("privileged", False),
        cap_add=_capabilities(fields.get("cap_add", ())),
        cap_drop=_capabilities(fields.get("cap_drop", ())),
        tmpfs=fields.get("tmpfs", ()),
        devices=fields.get("devices", ()),
        dns=fields.get("dns", ()),
        extra_hosts=fields.get("extra_hosts", ()),
        labels=fields.get("labels", ()),
        sysctls=fields.get("sysctls", ()),
        ulimits=fields.get("ulimits", ()),
        memory=limits[0],
        cpus=limits[1],
        pids=limits[2],
        stop_signal=fields.get("stop_signal"),
        stop_timeout=fields.get("stop_grace_period", 10.0),
        depends_on=tuple(each for each, _ in needs),
        depends_healthy=tuple(each for each, healthy in needs if healthy),
        init=fields.get("init", True),
        pull="missing" if pull == "if_not_present" else pull,
    )


def _capabilities(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name.upper().removeprefix("CAP_") for name in names)


def _limits(fields: Fields, report: Report) -> tuple[int | None, float | None, int | None]:
    """Return memory, cpus, pids from the short keys and `deploy.resources.limits`, which have to agree."""
    deploy = fields.get("deploy")
    resources = deploy.get("resources") if deploy is not None else None
    deeper = resources.get("limits") if resources is not None else None
    result: list[Any] = []
    for short, long in (("mem_limit", "memory"), ("cpus", "cpus"), ("pids_limit", "pids")):
        one = fields.get(short)
        two = deeper.get(long) if deeper is not None else None
        if one is not None and two is not None and one != two:
            report.error(fields.place(short), fields.below(short), f"`deploy.resources.limits.{long}` says otherwise")
        result.append(one if one is not None else two)
    return (result[0], result[1], result[2])
