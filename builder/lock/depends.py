"""The relations between packages, as they stand in control files (Debian Policy, chapter 7)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from builder.lock.version import Operator, satisfies

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.lock.model import LockedPackage
    from builder.recipe.model import Waiver

_RELATION = re.compile(
    r"([a-z0-9A-Z][a-zA-Z0-9.+-]*)(?::([a-z0-9-]+))?\s*(?:\(\s*(<<|<=|=|>=|>>|<|>)\s*([^)\s]+)\s*\))?$"
)
_OLD = {"<": "<=", ">": ">="}  # what the two obsolete operators mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """One name with an optional bound on its version. `qualifier` is what stands after a colon (`any`)."""

    name: str
    qualifier: str = ""
    operator: Operator | None = None
    version: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.operator} {self.version})" if self.operator else self.name

    def accepts(self, version: str) -> bool:
        """Tell whether `version` of the named package is within the bound."""
        return self.operator is None or satisfies(version, self.operator, self.version)


@lru_cache(maxsize=65536)
def parse_group(text: str) -> tuple[Relation, ...]:
    """Return the alternatives of one group, `a (>= 1) | b`, in order. Raises ValueError."""
    relations = []
    for alternative in text.split("|"):
        match = _RELATION.match(alternative.strip())
        if not match:
            raise ValueError(f"not a relation between packages: {alternative.strip()!r}")
        operator = cast("Operator | None", _OLD.get(match[3], match[3]))
        relations.append(Relation(name=match[1], qualifier=match[2] or "", operator=operator, version=match[4] or ""))
    return tuple(relations)


def split_groups(field: str) -> tuple[str, ...]:
    """Return the groups of a whole field, verbatim."""
    return tuple(group for part in field.split(",") if (group := " ".join(part.split())))


def provided_version(package: LockedPackage, relation: Relation) -> bool:
    """Tell whether `package` fulfils `relation` by its own name or by what it provides."""
    if package.name == relation.name:
        return relation.accepts(package.version)
    return any(
        given.name == relation.name
        and (relation.operator is None or (bool(given.version) and relation.accepts(given.version)))
        for text in package.provides
        for given in parse_group(text)
    )


def conflict_between(one: LockedPackage, other: LockedPackage) -> str | None:
    """Return the relation by which `one` refuses to be together with `other`, or None."""
    if one.name == other.name:
        return None  # a package may conflict with a name that it provides itself
    for text in one.conflicts:
        for relation in parse_group(text):
            if provided_version(other, relation):
                return str(relation)
    return None


def is_waived(package: str, group: str, waive: Iterable[Waiver]) -> bool:
    """Tell whether the recipe does without this group. A waiver's `package` may be a pattern (`linux-image-*`)."""
    names = {relation.name for relation in parse_group(group)}
    return any(waiver.depends in names and fnmatchcase(package, waiver.package) for waiver in waive)


def needed_groups(package: LockedPackage, waive: Sequence[Waiver]) -> tuple[str, ...]:
    """Return the groups of dependencies of `package` that are not waived, verbatim."""
    return tuple(group for group in package.depends if not is_waived(package.name, group, waive))
