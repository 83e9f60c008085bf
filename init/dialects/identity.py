"""Host name, users, groups, keys, passwords (cloud-init's modules set_hostname, users_groups, ssh, set_passwords)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from init.dialects.diagnostic import Place, Report
from init.dialects.files import WRITABLE, is_below
from init.dialects.passwords import HINT, is_hash, is_lock, key_problem
from init.dialects.position import Mapping, Node, Scalar, Sequence, is_null, shown
from init.dialects.record import Key, Record, below
from init.dialects.shape import INVALID, Boolean, Choice, Custom, Integer, Listing, Text, expected, wrong

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOSTNAME = Text(what="a host name (letters, digits and `-`, labels of at most 63)", pattern=rf"{_LABEL}(\.{_LABEL})*")
USER_NAME = Text(what="a user's name", pattern=r"[a-z_][a-z0-9_-]{0,31}")
GROUP_NAME = Text(what="a group's name", pattern=r"[a-z_][a-z0-9_-]{0,31}")


def _public_key(node: Node, path: str, report: Report) -> Any:
    text = Text(what="a public key", empty=False).read(node, path, report)
    if text is INVALID:
        return INVALID
    problem = key_problem(text)
    return text.strip() if problem is None else wrong(problem, node, path, report)


def _hash(node: Node, path: str, report: Report) -> Any:
    text = Text(what="the hash of a password").read(node, path, report)
    if text is INVALID or is_hash(text):
        return text
    if is_lock(text):
        return ""
    return wrong("this is not the hash of a password", node, path, report, hint=HINT)


def _names(node: Node, path: str, report: Report) -> Any:
    """A list of group names, a comma list, or a map whose values are null."""
    if isinstance(node, Mapping):
        return tuple(key.text for key, _ in node.entries)
    if isinstance(node, Scalar):
        text = Text(what="group names").read(node, path, report)
        if text is INVALID:
            return INVALID
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        bad = [name for name in names if not re.fullmatch(GROUP_NAME.pattern or "", name)]
        return wrong("not a list of group names", node, path, report) if bad else names
    return Listing(GROUP_NAME).read(node, path, report)


def _sudo(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and node.value() is not False:
        hint = "put the user into the group `berth`: its members may use every verb of `berthctl`"
        report.warn(node.place, path, "there is no sudo on the machine", hint=hint)
    elif isinstance(node, Sequence):
        Listing(Text()).read(node, path, report)
        report.warn(node.place, path, "there is no sudo on the machine", hint="put the user into the group `berth`")
    elif isinstance(node, Mapping):
        return expected("text, a list or false", node, path, report)
    return None


KEYS = Listing(Custom(_public_key, {"type": "string"}), what="a list of public keys")
_CLEAR = f"a password in clear is not taken, and the account stays without one; {HINT}, and give it as `hashed_passwd`"
_GECOS = Text(check=lambda text: "a `:` or a line break cannot be part of this" if re.search(r"[:\n]", text) else None)

USER = Record(
    what="`default`, a name, or a map that describes a user",
    hyphens=True,
    keys={
        "name": Key(shape=USER_NAME, required=True, doc="the log-in name"),
        "uid": Key(shape=Integer(most=65533), doc="the next free one from 1000 by default"),
        "gecos": Key(shape=_GECOS, doc="the person's name"),
        "homedir": Key(shape=Text(pattern=r"/[^:\n]*", what="an absolute path"), doc="/home/NAME by default"),
        "shell": Key(shape=Text(pattern=r"/[^:\s]*", what="an absolute path"), doc="/bin/sh by default"),
        "primary_group": Key(shape=GROUP_NAME, doc="a group of the user's name by default"),
        "groups": Key(shape=Custom(_names), doc="further groups"),
        "lock_passwd": Key(shape=Boolean(words=True), doc="no log-in by password; true by default"),
        "passwd": Key(shape=Custom(_hash, {"type": "string"}), doc="the hash of the password"),
        "hashed_passwd": Key(shape=Custom(_hash, {"type": "string"}), doc="the hash of the password"),
        "plain_text_passwd": Key(ignored=_CLEAR),
        "ssh_authorized_keys": Key(shape=KEYS, doc="public keys that may log in"),
        "sudo": Key(shape=Custom(_sudo), doc="accepted with a warning: there is no sudo"),
        "system": Key(shape=Boolean(), doc="a uid below 1000, and no home"),
        "no_create_home": Key(shape=Boolean(), doc="the home is not made"),
        "no_user_group": Key(shape=Boolean(), doc="the primary group is `users`"),
        "create_groups": Key(ignored="groups that are missing are made"),
        "no_log_init": Key(ignored="there is no log of log-ins to grow"),
        "ssh_import_id": Key(ignored="no key is fetched from elsewhere; write it under `ssh_authorized_keys`"),
        "ssh_redirect_user": Key(ignored="keys of the data source are the default user's alone"),
        "doas": Key(ignored="there is no doas on the machine; put the user into the group `berth`"),
        "selinux_user": Key(ignored="there is no SELinux policy on the machine"),
        "expiredate": Key(ignored="accounts do not expire; leave the user out instead"),
        "inactive": Key(ignored="accounts do not expire; leave the user out instead"),
        "snapuser": Key(ignored="it belongs to Ubuntu"),
    },
)


DEFAULT_USER = Record(
    what=USER.what, hyphens=True, keys={**USER.keys, "name": replace(USER.keys["name"], required=False)}
)


def _described(shape: Record, node: Node, path: str, report: Report) -> Any:
    """A user's map; a home that has to be made and can't be is said."""
    fields = shape.read(node, path, report)
    if fields is INVALID or "homedir" not in fields or fields.get("system") or fields.get("no_create_home"):
        return fields
    if not is_below(fields.get("homedir"), WRITABLE) and fields.get("homedir") != "/root":
        message = "this place is read-only: the home is not made"
        hint = "put it below `/home` or `/srv`, or write `no_create_home: true` where the image has the folder"
        report.warn(fields.place("homedir"), fields.below("homedir"), message, hint=hint)
    return fields


def _user(node: Node, path: str, report: Report) -> Any:
    """`default`, a name, or a map."""
    if isinstance(node, Scalar):
        return USER_NAME.read(node, path, report)
    return _described(USER, node, path, report)


def _default_user(node: Node, path: str, report: Report) -> Any:
    """A name, or what is other about the default user, who keeps his name where none is given."""
    return (
        USER_NAME.read(node, path, report) if isinstance(node, Scalar) else _described(DEFAULT_USER, node, path, report)
    )


def _named_user(key: Scalar, value: Node, path: str, report: Report) -> Any:
    """One entry of the old form `NAME: {…}`; a name with true is a plain user, one with false or null is none."""
    if isinstance(value, Mapping):
        named = Mapping(((Scalar("name", key.place), key), *value.entries), value.place)
        return _described(USER, named, path, report)
    if is_null(value) or (isinstance(value, Scalar) and value.value() is False):
        return INVALID
    if isinstance(value, Scalar) and value.value() is True:
        return USER_NAME.read(key, path, report)
    return expected("a map that describes a user, or true", value, path, report)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of `users`: `default`, a name, or the keys that describe a user; and where it stands."""

    user: Any
    place: Place
    path: str


def _users(node: Node, path: str, report: Report) -> Any:
    """A list; a comma list of names and a map from name to keys are cloud-init's old forms."""
    if isinstance(node, Sequence):
        where = [f"{path}[{index}]" for index in range(len(node.items))]
        found = [
            Entry(_user(item, here, report), item.place, here) for item, here in zip(node.items, where, strict=True)
        ]
    elif isinstance(node, Scalar):
        names = _names(node, path, report)
        report.note(node.place, path, "write a list of users", code="old-form")
        found = [] if names is INVALID else [Entry(name, node.place, path) for name in names]
    else:
        report.note(node.place, path, "write a list of users: `- name: …`", code="old-form")
        found = [
            Entry(_named_user(key, value, below(path, key.text), report), key.place, below(path, key.text))
            for key, value in node.entries
        ]
    return tuple(entry for entry in found if entry.user is not INVALID)


_USERS = {
    "anyOf": [
        {"type": "array", "items": {"anyOf": [{"type": "string"}, USER.schema()]}},
        {"type": "string"},
        {"type": "object", "additionalProperties": {"anyOf": [{"type": ["boolean", "null"]}, DEFAULT_USER.schema()]}},
    ]
}


def _group(node: Node, path: str, report: Report) -> Any:
    """Return pairs of name and members of one item."""
    if isinstance(node, Scalar):
        names = _names(node, path, report)
        return INVALID if names is INVALID else tuple((name, ()) for name in names)
    return _group_map(node, path, report)


def _group_map(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Mapping):
        return expected("a group's name, or a map from name to members", node, path, report)
    result = []
    for key, value in node.entries:
        if not re.fullmatch(GROUP_NAME.pattern or "", key.text):
            wrong("not a group's name", key, path, report)
            continue
        members = () if is_null(value) else Listing(USER_NAME, single=True).read(value, f"{path}.{key.text}", report)
        if members is not INVALID:
            result.append((key.text, members))
    return tuple(result)


def _groups(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Sequence):
        items = [_group(item, f"{path}[{index}]", report) for index, item in enumerate(node.items)]
        return tuple(pair for item in items if item is not INVALID for pair in item)
    return _group(node, path, report)


def _etc_hosts(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar):
        if node.text == "localhost":
            return "localhost"
        if node.text == "template":
            report.note(node.place, path, "`template` is the old word for true", code="old-form")
            return "true"
        if isinstance(value := node.value(), bool):
            return "true" if value else "false"
    return expected("true, false or `localhost`", node, path, report)


def _ssh_pwauth(node: Node, path: str, report: Report) -> Any:
    if isinstance(node, Scalar) and node.text == "unchanged":
        return None
    return Boolean(words=True).read(node, path, report)


_HOST_KEY = r"(rsa|ecdsa|ed25519)_(private|public|certificate)"
_HOST_KEYS = {
    "type": "object",
    "patternProperties": {f"^{_HOST_KEY}$": {"type": "string"}},
    "additionalProperties": False,
}


def _host_keys(node: Node, path: str, report: Report) -> Any:
    if not isinstance(node, Mapping):
        return expected("a map such as `ed25519_private: …`", node, path, report)
    result = []
    for key, value in node.entries:
        here = f"{path}.{key.text[:60]}"
        if not re.fullmatch(_HOST_KEY, key.text):
            known = "rsa, ecdsa or ed25519 with _private, _public or _certificate"
            report.error(
                key.place, here, f"unknown key {shown(key.text)}", hint=f"expected {known}", code="unknown-key"
            )
            continue
        text = Text(what="a key", empty=False).read(value, here, report)
        if text is not INVALID:
            result.append((key.text, text))
    return tuple(result)


_CHPASSWD_USER = Record(
    keys={
        "name": Key(shape=USER_NAME, required=True),
        "password": Key(shape=Text()),
        "type": Key(shape=Choice(("hash", "text", "RANDOM"))),
    }
)


CHPASSWD = Record(
    keys={
        "expire": Key(ignored="a password does not expire; it is in the configuration and stays"),
        "users": Key(shape=Listing(_CHPASSWD_USER), doc="each with `name` and a hash as `password`"),
        "list": Key(ignored="this form has ended; write `users` with `name` and a hash as `password`"),
    }
)


def _chpasswd(node: Node, path: str, report: Report) -> Any:
    """Return pairs of user and hash."""
    fields = CHPASSWD.read(node, path, report)
    if fields is INVALID:
        return INVALID
    result = []
    for index, each in enumerate(fields.get("users", ())):
        here = f"{path}.users[{index}]"
        password = each.get("password")
        if each.get("type", "hash") != "hash":
            report.warn(each.place("type"), here, f"only hashes are taken; the account stays as it is; {HINT}")
        elif password is None:
            report.error(each.node.place, here, "the key `password` is missing", code="missing")
        elif not is_hash(password) and not is_lock(password):
            report.error(each.place("password"), here, "this is not the hash of a password", hint=HINT, code="value")
        elif "name" in each:
            result.append((each.get("name"), password))
    return tuple(result)


def _password(node: Node, path: str, report: Report) -> Any:
    text = Text().read(node, path, report)
    if text is INVALID or is_hash(text):
        return text
    report.warn(node.place, path, f"a password in clear is not taken; {HINT}")
    return INVALID


IDENTITY: dict[str, Key] = {
    "hostname": Key(shape=HOSTNAME, doc="the machine's name; a full name gives `fqdn`, too"),
    "fqdn": Key(shape=HOSTNAME, doc="the full name; its first label is the host name"),
    "prefer_fqdn_over_hostname": Key(shape=Boolean(words=True), doc="the kernel's host name is the full one"),
    "preserve_hostname": Key(shape=Boolean(words=True), doc="true: the name is not taken from here"),
    "manage_etc_hosts": Key(shape=Custom(_etc_hosts), doc="true (the default), false or `localhost`"),
    "user": Key(
        shape=Custom(_default_user, {"anyOf": [{"type": "string"}, DEFAULT_USER.schema()]}),
        doc="changes the default user",
    ),
    "users": Key(shape=Custom(_users, _USERS), doc="`default`, names, and maps that describe users"),
    "groups": Key(shape=Custom(_groups, {"type": ["string", "array", "object"]}), doc="groups, with their members"),
    "ssh_authorized_keys": Key(shape=KEYS, doc="public keys of the default user"),
    "disable_root": Key(shape=Boolean(words=True), doc="root cannot log in by SSH; true by default"),
    "ssh_pwauth": Key(shape=Custom(_ssh_pwauth), doc="log-in by SSH with a password; false by default"),
    "password": Key(shape=Custom(_password), doc="the hash of the default user's password"),
    "chpasswd": Key(shape=Custom(_chpasswd, CHPASSWD.schema()), doc="hashes of passwords by user"),
    "ssh_keys": Key(
        shape=Custom(_host_keys, _HOST_KEYS), doc="the machine's own keys; made and kept on state otherwise"
    ),
}
