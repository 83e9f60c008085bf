"""From the identity keys that were read to host name, groups and users of `Machine`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from init.dialects.diagnostic import Report
from init.dialects.identity import Entry
from init.dialects.record import Fields
from init.formats import wayin
from init.formats.machine import Group, User

DEFAULT_USER = "berth"
DEFAULT_UID = 1000


def make_names(fields: Fields, fallback: str | None) -> dict[str, Any]:
    """Return `hostname` and `fqdn`; `fallback` is the data source's name."""
    if fields.get("preserve_hostname"):
        return {}
    hostname, fqdn = fields.get("hostname") or fallback, fields.get("fqdn")
    if fqdn is None and hostname is not None and "." in hostname:
        fqdn = hostname
    short = (fqdn or hostname or "").split(".")[0]
    if not short:
        return {}
    if fields.get("prefer_fqdn_over_hostname") and fqdn:
        short = fqdn
    return {"hostname": short} if fqdn is None else {"hostname": short, "fqdn": fqdn}


def make_people(fields: Fields, data_source_keys: tuple[str, ...], report: Report) -> dict[str, Any]:
    """Return `users`, `groups` and `root_keys`."""
    keys = tuple(dict.fromkeys((*fields.get("ssh_authorized_keys", ()), *data_source_keys)))
    default = _default_user(fields, keys)
    wanted = fields.get("users")
    if wanted is None:
        asked = keys or "password" in fields or "user" in fields
        wanted = (Entry("default", fields.node.place, fields.below("users")),) if asked else ()
    users: dict[str, User] = {}
    for entry in wanted:
        user = _user(entry.user, default, entry.path, report)
        if user is None:
            continue
        if user.name in users:
            report.error(entry.place, entry.path, "a user of this name stands above already", code="duplicate")
        elif user.uid is not None and any(other.uid == user.uid for other in users.values()):
            _say_that_the_uid_is_taken(user, entry, report)
        users.setdefault(user.name, user)
        if user.name == "root" and user.ssh_authorized_keys and fields.get("disable_root") is not False:
            _say_that_root_stays_out(entry.user, entry.path, report)
    if fields.get("ssh_authorized_keys") and default.name not in users:
        message = "nobody gets these keys: the default user is not in `users`"
        report.warn(
            fields.place("ssh_authorized_keys"),
            fields.below("ssh_authorized_keys"),
            message,
            hint="add `- default` to `users`",
        )
    for name, password in fields.get("chpasswd", ()):
        known = users.get(name) or User(name=name)
        if name not in users and name != "root":
            report.error(
                fields.place("chpasswd"),
                fields.below("chpasswd"),
                "a password for a user who is not in `users`",
                code="value",
            )
            continue
        users[name] = replace(known, password_hash=password or None, lock_password=not password)
    root = users.get("root")
    result: dict[str, Any] = {"users": tuple(users.values()), "groups": _groups(fields)}
    if root is not None and root.ssh_authorized_keys:
        result["root_keys"] = root.ssh_authorized_keys
    return {name: value for name, value in result.items() if value}


def _say_that_the_uid_is_taken(user: User, entry: Entry, report: Report) -> None:
    own = isinstance(entry.user, Fields) and "uid" in entry.user
    place, path = (entry.user.place("uid"), f"{entry.path}.uid") if own else (entry.place, entry.path)
    hint = f"{DEFAULT_UID} is the default user's" if user.uid == DEFAULT_UID else "leave it out for the next free one"
    report.error(place, path, "a user who stands above has this uid already", hint=hint, code="duplicate")


def _say_that_root_stays_out(entry: Fields, path: str, report: Report) -> None:
    message = "these keys open nothing: `disable_root` is true where nothing else is said"
    hint = "write `disable_root: false`, or log in as another user of the group `berth`"
    report.warn(entry.place("ssh_authorized_keys"), f"{path}.ssh_authorized_keys", message, hint=hint)


def _default_user(fields: Fields, keys: tuple[str, ...]) -> User:
    password = fields.get("password")
    user = User(
        name=DEFAULT_USER,
        uid=DEFAULT_UID,
        gecos="Berth",
        primary_group=DEFAULT_USER,
        ssh_authorized_keys=keys,
        password_hash=password or None,
        lock_password=not password,
    )
    changes = fields.get("user")
    if isinstance(changes, str):
        return replace(user, name=changes, primary_group=None)
    if isinstance(changes, Fields):
        made = _from_map(changes)
        uid = made.uid if made.uid is not None else DEFAULT_UID
        primary = made.primary_group or (DEFAULT_USER if made.name == DEFAULT_USER else None)
        all_keys = tuple(dict.fromkeys((*keys, *made.ssh_authorized_keys)))
        made = replace(made, uid=uid, primary_group=primary, ssh_authorized_keys=all_keys)
        return replace(made, password_hash=password, lock_password=False) if password else made
    return user


def _user(entry: Any, default: User, path: str, report: Report) -> User | None:
    if isinstance(entry, str):
        return default if entry == "default" else User(name=entry)
    if "name" not in entry:
        return None
    user = _from_map(entry)
    if user.shell != wayin.SHELL and user.shell not in wayin.NO_SHELLS:
        where, hint = entry.node.place, f"a recipe can add the package of {user.shell}"
        report.warn(where, f"{path}.shell", f"an image without this shell takes {wayin.SHELL} in its place", hint=hint)
    if user.password_hash is not None and user.lock_password and "lock_passwd" not in entry:
        hint = "write `lock_passwd: false` for a log-in at the console"
        report.note(entry.node.place, path, "the password is not usable: `lock_passwd` is true by default", hint=hint)
    return user


def _from_map(fields: Fields) -> User:
    password = fields.get("hashed_passwd") or fields.get("passwd") or None
    primary = fields.get("primary_group")
    if primary is None and fields.get("no_user_group"):
        primary = "users"
    system = fields.get("system", False)
    return User(
        name=fields.get("name", DEFAULT_USER),
        uid=fields.get("uid"),
        gecos=fields.get("gecos", ""),
        home=fields.get("homedir", ""),
        shell=fields.get("shell", "/bin/sh"),
        primary_group=primary,
        groups=tuple(dict.fromkeys(fields.get("groups", ()))),
        password_hash=password,
        lock_password=fields.get("lock_passwd", True),
        ssh_authorized_keys=tuple(dict.fromkeys(fields.get("ssh_authorized_keys", ()))),
        create_home=not fields.get("no_create_home", system),
        system=system,
    )


def _groups(fields: Fields) -> tuple[Group, ...]:
    members: dict[str, dict[str, None]] = {}
    for name, names in fields.get("groups", ()):
        members.setdefault(name, {}).update(dict.fromkeys(names))
    return tuple(Group(name=name, members=tuple(names)) for name, names in members.items())
