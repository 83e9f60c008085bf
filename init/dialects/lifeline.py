"""What is taken from a refused configuration on the very first boot: a way in, and nothing else.

Host name, users with their SSH keys, and network, each only if nothing is wrong with it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from init.dialects.diagnostic import Diagnostic, Severity
from init.formats.machine import Machine

_SECTIONS = {
    "hostname": ("hostname", "fqdn"),
    "users": ("users", "ssh_authorized_keys", "user", "groups", "disable_root"),
    "network": ("network", "berth.network"),
}
WAYS_IN = frozenset(name for names in _SECTIONS.values() for name in names)


def lifeline(machine: Machine, base: Machine, found: tuple[Diagnostic, ...], network_file: str | None) -> Machine:
    """Return `base` with those sections of the refused `machine` in which no error was found.

    `network_file` is the name of the separate network document, if there is one.
    """
    errors = [each for each in found if each.severity is Severity.ERROR]
    result: dict[str, Any] = {}
    if not _touches(errors, "hostname"):
        result |= {"hostname": machine.hostname, "fqdn": machine.fqdn}
    if not _touches(errors, "users"):
        users = tuple(replace(user, password_hash=None, lock_password=True) for user in machine.users)
        result |= {
            "users": users,
            "groups": machine.groups,
            "root_keys": machine.root_keys,
            "disable_root": machine.disable_root,
        }
    bad_file = network_file is not None and any(each.place.file == network_file for each in errors)
    if not bad_file and not _touches(errors, "network"):
        result["network"] = machine.network
    return replace(base, instance_id=machine.instance_id, install=None, **result)


def _touches(errors: list[Diagnostic], section: str) -> bool:
    """Tell whether an error lies in a section, or nowhere in particular."""
    starts = _SECTIONS[section]
    return any(
        each.path == start or each.path.startswith((f"{start}.", f"{start}[")) for each in errors for start in starts
    )
