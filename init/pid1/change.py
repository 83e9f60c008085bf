"""What another configuration would change on a running machine, pure: each change, and when it takes effect.

Now: accounts and their keys, names, files, kernel settings, containers and what they are pulled with. All else (the
network, mounts, what runs at a boot or once) waits for the next boot, for it was done at a point of this one that does
not come back.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from init.formats.machine import Machine

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = "now"
NEXT_BOOT = "next boot"
LIVE = frozenset(
    (
        "hostname", "fqdn", "manage_etc_hosts", "timezone", "groups", "users", "root_keys", "disable_root",
        "ssh_password", "files", "sysctls", "modules", "containers", "registries", "ca_certificates",
    )
)  # fmt: skip
_NAMES = {"files": "path", "registries": "host"}  # what tells the items of a list apart, where it isn't `name`
_LISTS = ("groups", "users", "files", "containers", "registries")
_PAIRS = ("sysctls", "environment", "ssh_host_keys")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One difference: `key` is the machine's field, with the item's name; `what` is added, changed or removed."""

    key: str
    what: str
    when: str

    def to_json(self) -> dict[str, str]:
        """Return the form of `berthctl config plan --json`."""
        return {"key": self.key, "change": self.what, "when": self.when}


def changes(old: Machine, new: Machine) -> tuple[Change, ...]:
    """Return what differs, in the order of `Machine`."""
    found: list[Change] = []
    for each in fields(Machine):
        name = each.name
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        when = NOW if name in LIVE else NEXT_BOOT
        if name in _LISTS or name in _PAIRS:
            found += _items(name, by_name(name, before), by_name(name, after), when)
        else:
            found.append(Change(key=name, what="changed", when=when))
    return tuple(found)


def _items(field: str, before: Mapping[str, object], after: Mapping[str, object], when: str) -> list[Change]:
    found = []
    for name in dict.fromkeys((*before, *after)):
        if before.get(name) == after.get(name):
            continue
        what = "added" if name not in before else "removed" if name not in after else "changed"
        # What was written or set is not taken back: nobody knows what was there before.
        stays = what == "removed" and field in ("files", "sysctls")
        found.append(Change(key=f"{field}.{name}", what=what, when=NEXT_BOOT if stays else when))
    if not found and field != "containers":  # they keep their numbers, in whatever order they stand
        found.append(Change(key=field, what="changed", when=when))  # the order alone
    return found


def by_name(field: str, values: tuple[object, ...]) -> dict[str, object]:
    """Return the items of a list by their names."""
    if field in _PAIRS:
        return {str(value[0]): value for value in values}  # type: ignore[index]
    return {str(getattr(value, _NAMES.get(field, "name"))): value for value in values}


def in_force(old: Machine, new: Machine) -> Machine:
    """Return what is in force when everything that takes effect now has done so."""
    kept = {each.name: getattr(old, each.name) for each in fields(Machine) if each.name not in LIVE}
    return replace(new, **kept)


def stopping(old: Machine, new: Machine) -> tuple[str, ...]:
    """Return the containers that have to stop: those whose change is told, and that are not new."""
    told = {each.key: each.what for each in changes(old, new)}
    names = (container.name for container in old.containers)
    return tuple(name for name in names if f"containers.{name}" in told)
