"""What can be chosen from: for each name the one version that would be taken.

A lock takes the newest version among the suites (as apt does where no pin says otherwise), so a solver has to
choose among names alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from builder.lock.depends import provided_version
from builder.lock.version import order

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.lock.depends import Relation
    from builder.lock.index import PackageIndex
    from builder.lock.model import LockedPackage


class Universe(Protocol):
    """Where a solver looks names up."""

    def candidate(self, name: str) -> LockedPackage | None:
        """Return the version of `name` that would be taken, or None where there is no such package."""

    def providers(self, name: str) -> tuple[LockedPackage, ...]:
        """Return the candidates that provide the virtual name, sorted by name."""

    def names(self) -> frozenset[str]:
        """Return all real names, to look for the one that was meant."""


class Suites:
    """The universe of some suites together. Where two have the same version, the earlier suite gives it."""

    def __init__(self, indexes: Sequence[PackageIndex], architecture: str) -> None:
        """Choose among `indexes` for one architecture (`all` always fits)."""
        self._indexes = tuple(indexes)
        self._fitting = {architecture, "all"}
        self._candidates: dict[str, LockedPackage | None] = {}

    def candidate(self, name: str) -> LockedPackage | None:
        """Return the newest version of `name`, or None."""
        if name not in self._candidates:
            best: LockedPackage | None = None
            for index in self._indexes:
                for package in index.packages(name):
                    if package.architecture not in self._fitting:
                        continue
                    if best is None or order(package.version) > order(best.version):
                        best = package
            self._candidates[name] = best
        return self._candidates[name]

    def providers(self, name: str) -> tuple[LockedPackage, ...]:
        """Return the candidates that provide the virtual name, sorted by name."""
        found = sorted({real for index in self._indexes for real in index.provided.get(name, ())})
        packages = (self.candidate(real) for real in found)
        return tuple(package for package in packages if package is not None and _gives(package, name))

    def names(self) -> frozenset[str]:
        """Return all real names."""
        return frozenset(name for index in self._indexes for name in index.records)


class Pinned:
    """A universe in which some names stay at the version that a lock has."""

    def __init__(self, below: Universe, pinned: Mapping[str, LockedPackage]) -> None:
        """Lay `pinned` over `below`."""
        self._below = below
        self._pinned = dict(pinned)

    def candidate(self, name: str) -> LockedPackage | None:
        """Return the pinned version of `name`, else that of the universe below."""
        return self._pinned.get(name) or self._below.candidate(name)

    def providers(self, name: str) -> tuple[LockedPackage, ...]:
        """Return the candidates that provide the virtual name, sorted by name."""
        found = {package.name: package for package in self._below.providers(name) if package.name not in self._pinned}
        found.update({package.name: package for package in self._pinned.values() if _gives(package, name)})
        return tuple(found[real] for real in sorted(found))

    def names(self) -> frozenset[str]:
        """Return all real names."""
        return self._below.names() | frozenset(self._pinned)


def _gives(package: LockedPackage, name: str) -> bool:
    return any(text.split("(")[0].split(":")[0].strip() == name for text in package.provides)


def fulfilling(universe: Universe, relation: Relation) -> tuple[LockedPackage, ...]:
    """Return the candidates that fulfil `relation`: the package of that name first, then those that provide it."""
    real = universe.candidate(relation.name)
    found = [real] if real is not None and relation.accepts(real.version) else []
    found += [
        package
        for package in universe.providers(relation.name)
        if package.name != relation.name and provided_version(package, relation)
    ]
    return tuple(found)
