"""Berth's own keys: below `berth:` in a `#cloud-config`, at the top of a `#berth` document."""

from __future__ import annotations

import json
import re
from typing import Any

from init.dialects.containers import NAME, SERVICE, make_container, pairs
from init.dialects.diagnostic import Report
from init.dialects.neighbours import check_containers
from init.dialects.position import Mapping, Node
from init.dialects.record import Fields, Key, Named, Record
from init.dialects.shape import INVALID, Anything, Boolean, Choice, Custom, Duration, Listing, Text, wrong
from init.formats.machine import Health, Install, Registry, Update

_HOST = Text(what="a registry's host, with its port", pattern=r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_PEM = Text(
    what="PEM text that begins with `-----BEGIN`",
    check=lambda text: None if "-----BEGIN" in text and "-----END" in text else "expected PEM text",
)
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun"
_TIME = r"([01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW = Text(what="a time span such as `Sun 03:00-05:00` (UTC)", pattern=rf"(({_DAYS}) )?{_TIME}-{_TIME}")

REGISTRY = Record(
    keys={
        "username": Key(shape=Text(empty=False), doc="who asks"),
        "password": Key(shape=Text(empty=False), doc="and with what"),
        "ca": Key(shape=_PEM, doc="the certificate that its certificate is signed by"),
        "insecure": Key(shape=Boolean(), doc="HTTP, or a certificate that nobody checks"),
    }
)


def _disk(node: Node, path: str, report: Report) -> Any:
    text = Text(what="a disk").read(node, path, report)
    if text is INVALID or text in ("only-empty", "smallest", "largest") or re.fullmatch(r"/dev/\S+|serial:\S.*", text):
        return text
    return wrong("expected `only-empty`, `smallest`, `largest`, `/dev/…` or `serial:…`", node, path, report)


INSTALL = Record(
    keys={
        "disk": Key(shape=Custom(_disk, {"type": "string"}), required=True, doc="where to"),
        "then": Key(shape=Choice(("poweroff", "reboot", "stay")), doc="what to do afterwards; `poweroff`"),
        "wipe": Key(shape=Text(empty=False), doc="the serial of the disk whose data may be destroyed"),
    }
)


def _public(url: str) -> str | None:
    """Every user of the machine may read where its releases come from; they are signed, so nothing is lost by it."""
    return "releases are fetched without a user and password" if re.match(r"https?://[^/?#]*@", url) else None


def _root(text: str) -> str | None:
    """Whether somebody signed it the updater finds out; what is not even JSON would only be found out then."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return None if isinstance(found, dict) else "expected the text of a `root.json`, which is a JSON object"


UPDATE = Record(
    keys={
        "repository": Key(
            shape=Text(what="a URL", pattern=r"(https?|file)://\S+", check=_public), doc="where releases come from"
        ),
        "channel": Key(
            shape=Text(pattern=r"[a-z0-9][a-z0-9._-]{0,62}", what="a channel's name"), doc="`stable` by default"
        ),
        "policy": Key(shape=Choice(("manual", "now", "window")), doc="when a release is taken; `manual`"),
        "window": Key(shape=_WINDOW, doc="the time span of the policy `window`, UTC"),
        "root": Key(
            shape=Text(what="TUF root metadata as text", empty=False, check=_root),
            doc="what the first update is checked against",
        ),
    }
)
HEALTH = Record(
    keys={
        "within": Key(shape=Duration(least=1), doc="required containers are healthy within this time; 5m"),
        "settle": Key(shape=Duration(least=1), doc="the loop is alive for this time; 30s"),
    }
)
_ABSOLUTE_PROXY = Custom(pairs, {"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}})

BERTH = Record(
    what="a map of Berth's keys",
    extensions=True,
    keys={
        "containers": Key(
            shape=Named(value=SERVICE, name=NAME, null=True, what="a map from name to container"),
            doc="what this machine runs",
        ),
        "registries": Key(
            shape=Named(value=REGISTRY, name=_HOST, what="a map from host to credentials"),
            doc="how private registries are reached",
        ),
        "install": Key(shape=INSTALL, doc="unattended installation from the live ISO"),
        "update": Key(shape=UPDATE, doc="where releases come from and when they are taken"),
        "health": Key(shape=HEALTH, doc="the bounds of the gates"),
        "network": Key(shape=Anything(), doc="network configuration, version 1 or 2 of cloud-init"),
        "sysctls": Key(shape=Custom(pairs, {"type": "object"}), doc="kernel settings"),
        "modules": Key(
            shape=Listing(Text(pattern=r"[A-Za-z0-9_-]+( .*)?", what="a module's name, with its parameters")),
            doc="kernel modules to load",
        ),
        "environment": Key(
            shape=_ABSOLUTE_PROXY, doc="variables for every service: HTTPS_PROXY, NO_PROXY and the like"
        ),
    },
)


def make_berth(fields: Fields, report: Report) -> dict[str, Any]:
    """Return the fields of `Machine` that Berth's keys give."""
    result: dict[str, Any] = {}
    if "containers" in fields:
        result["containers"] = _containers(fields, report)
    if "registries" in fields:
        result["registries"] = tuple(_registry(host, each) for host, each in fields.get("registries").items())
    if "install" in fields and "disk" in fields.get("install"):
        each = fields.get("install")
        result["install"] = Install(disk=each.get("disk"), then=each.get("then", "poweroff"), wipe=each.get("wipe"))
    if "update" in fields:
        result["update"] = _update(fields.get("update"), report)
    if "health" in fields:
        each, default = fields.get("health"), Health()
        result["health"] = Health(within=each.get("within", default.within), settle=each.get("settle", default.settle))
    for name in ("sysctls", "modules", "environment"):
        if name in fields:
            result[name] = fields.get(name)
    return result


def _containers(fields: Fields, report: Report) -> Any:
    node = fields.node.get("containers")
    assert isinstance(node, Mapping)
    places = {key.text: key.place for key, _ in node.entries}
    declared = {name: each for name, each in fields.get("containers").items() if each is not None}
    containers = tuple(make_container(name, each, report) for name, each in declared.items())
    check_containers(containers, declared, places, report)
    return containers


def _registry(host: str, fields: Fields) -> Registry:
    return Registry(
        host=host,
        username=fields.get("username"),
        password=fields.get("password"),
        ca=fields.get("ca"),
        insecure=fields.get("insecure", False),
    )


def _update(fields: Fields, report: Report) -> Update:
    if fields.get("policy") == "window" and "window" not in fields:
        report.error(
            fields.place("policy"), fields.below("window"), "the policy `window` needs a `window`", code="missing"
        )
    policy = fields.get("policy", "manual")
    if policy == "manual" and "window" in fields:
        message = "nothing is taken by itself, in this window or outside: the policy is `manual`"
        report.warn(fields.place("window"), fields.below("window"), message, hint="write `policy: window` beside it")
    if policy != "manual" and "repository" not in fields:
        message = "no release is ever taken: there is no `repository`"
        hint = "write one; if the recipe has it, `berth check --recipe NAME` sees that"
        report.warn(fields.place("policy"), fields.below("policy"), message, hint=hint)
    default = Update()
    return Update(
        repository=fields.get("repository"),
        channel=fields.get("channel", default.channel),
        policy=fields.get("policy", default.policy),
        window=fields.get("window"),
        root=fields.get("root"),
    )
