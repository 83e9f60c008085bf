"""What of a machine's configuration may be shown, and what of it is a secret: one rule, for whoever shows it.

The table below says of every text in `Machine` what of it people may read. A field that it doesn't name is hidden, so
that a new one tells nothing before somebody has thought about it. In what may be read, too, three things are hidden
wherever they stand, for they are secrets by their form: a URL's user, password, query and fragment, private keys, and
hashes of passwords.
"""

from __future__ import annotations

import re

from init.formats import codec

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HIDDEN = "(hidden)"
READABLE = {
    "Machine": "instance_id hostname fqdn manage_etc_hosts timezone ntp_servers ntp_pools ca_certificates final_message"
    " sysctls modules",
    "Group": "name members",
    "User": "name gecos home shell primary_group groups",
    "WrittenFile": "path owner group",
    "Route": "to via",
    "Link": "name kind match_mac match_name mac addresses nameservers search members parameters vlan_link",
    "Network": "nameservers search",
    "Port": "protocol address",
    "Volume": "source target options",
    "HealthCheck": "http tcp",
    "Container": "name image restart network hostname user working_dir cap_add cap_drop tmpfs devices dns extra_hosts"
    " sysctls ulimits stop_signal depends_on depends_healthy pull",
    "Registry": "host username ca",
    "Mount": "device target filesystem",
    "Swap": "filename",
    "Update": "repository channel policy window root",
    "Install": "disk then wipe",
    "PowerState": "mode message",
    "PhoneHome": "post",
}
# Options of mount(8) whose value is no secret: those of network file systems take user names and passwords.
_MOUNT_OPTIONS = frozenset(
    (
        "addr", "commit", "compress", "data", "dir_mode", "dmask", "errors", "file_mode", "fmask", "gid", "huge",
        "iocharset", "max_batch_time", "min_batch_time", "mode", "nfsvers", "nr_blocks", "nr_inodes", "offset", "pri",
        "proto", "retrans", "rsize", "sec", "size", "subvol", "subvolid", "timeo", "uid", "umask", "vers", "wsize",
    )
)  # fmt: skip
_WEB = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)(?:([^\s/?#]*)@)?([^\s?#]*)(?:\?([^\s#]*))?(#\S*)?")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.S)
_HASH = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy|md5|sha1|argon2[a-z]*)\$[./A-Za-z0-9$=,+-]+")
_OPTION = re.compile(r"(-[A-Za-z]|--[a-z][a-z0-9-]*)(=.*)?", re.S)
_PROGRAM = re.compile(r"[A-Za-z0-9_./+-]+(?=\s|\Z)")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def redacted(value: Any) -> dict[str, Any]:
    """Return a machine, or a part of it, as `codec.encode` does, its secrets replaced by `HIDDEN`."""
    cls = type(value).__name__
    return {name: _shown(cls, name, getattr(value, name)) for name in codec.encode(value)}


def address(url: str) -> str:
    """Return a URL without its user, password, and what its query and fragment say."""
    return _WEB.sub(_address, url)


def origin(url: str) -> str:
    """Return the scheme and host of a URL alone: that of a web hook has the secret in its path."""
    scheme, slashes, rest = address(url).partition("//")
    host, slash, path = rest.partition("/")
    return scheme + slashes + host + slash + _hidden(path) if slashes else HIDDEN


def text(words: str) -> str:
    """Return what may be read without what is a secret by its form."""
    return _HASH.sub(HIDDEN, _PRIVATE_KEY.sub(HIDDEN, address(words)))


def _shown(cls: str, name: str, item: Any) -> Any:
    rule = _RULES.get(f"{cls}.{name}")
    if rule is not None:
        return rule(item) if item else _plain(item)
    return _plain(item, text if name in READABLE.get(cls, "").split() else _hidden)


def _plain(item: Any, rule: Callable[[str], str] = str) -> Any:
    if isinstance(item, str):
        return rule(item)
    if isinstance(item, tuple):
        return [_plain(each, rule) for each in item]
    return redacted(item) if hasattr(item, "__dataclass_fields__") else item


def _hidden(value: object) -> str:
    return HIDDEN if value else ""


def _address(found: re.Match[str]) -> str:
    scheme, user, rest, query, fragment = found.groups()
    shown = scheme + (f"{HIDDEN}@" if user is not None else "") + rest
    if query is not None:
        names = [part.partition("=") for part in query.split("&")]
        shown += "?" + "&".join(f"{name}={HIDDEN}" if equals else _hidden(name) for name, equals, _ in names)
    return shown + ("#" + _hidden(fragment[1:]) if fragment else "")


def _values(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
    return [[text(name), _hidden(value)] for name, value in pairs]


def _host_keys(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
    public = ("_public", "_certificate")
    return [[text(name), text(value) if name.endswith(public) else HIDDEN] for name, value in pairs]


def _public_keys(keys: tuple[str, ...]) -> list[str]:
    """Keep keys and comments; what an option is set to (`command="…"`) can be anything."""
    return [text(_QUOTED.sub(f'"{HIDDEN}"', key)) for key in keys]


def _arguments(words: tuple[str, ...]) -> list[str]:
    """Keep the options' names: what follows one, or stands by itself, can be a password."""
    return [_argument(word) for word in words]


def _argument(word: str) -> str:
    option = _OPTION.fullmatch(word)
    if option is None:
        return _hidden(word)
    return option[1] + (f"={HIDDEN}" if option[2] else "")


def _command(words: tuple[str, ...]) -> list[str]:
    """Keep the program's name, and the options' names."""
    program = words[0] if _PROGRAM.fullmatch(words[0]) else _line(words[0])
    return [program, *_arguments(words[1:])]


def _line(line: str) -> str:
    """Keep the first word of a line for the shell, where it is a program's name."""
    program = _PROGRAM.match(line)
    return f"{program[0]} {HIDDEN}" if program else _hidden(line)


def _mount_options(options: tuple[str, ...]) -> list[str]:
    found = []
    for option in options:
        name, equals, value = option.partition("=")
        found.append(text(option) if not equals or name in _MOUNT_OPTIONS else f"{text(name)}={_hidden(value)}")
    return found


_RULES: dict[str, Callable[[Any], Any]] = {
    "Machine.environment": _values,
    "Machine.root_keys": _public_keys,
    "Machine.ssh_host_keys": _host_keys,
    "User.ssh_authorized_keys": _public_keys,
    "Command.argv": _command,
    "HealthCheck.test": _command,
    "Container.entrypoint": _command,
    "Container.command": _arguments,  # of the image's own program, where the container names none
    "Container.environment": _values,
    "Container.labels": _values,
    "Mount.options": _mount_options,
    "PhoneHome.url": origin,
}
