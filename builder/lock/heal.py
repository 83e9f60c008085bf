"""Heals a lock whose files the mirror no longer has, and changes nothing else.

1. What is gone is replaced by the same name in a newer version; if every dependency and refusal is met by the set
   that results, that is the answer: no solver is needed.
2. Else names are solved again with all packages that are still to be had pinned at the locked version. A pinned package
   that stands in the way (a new version of another one wants a newer one of it) loses its pin, and the next attempt is
   made, until it works or nothing is pinned.

The first step and, without a tools tree, the second need nothing but Python: the lock of the tools tree itself is
healed so. What is found is verified like any lock, and older Release files than the lock's own are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import Place
from builder.lock.anchor import anchor
from builder.lock.closure import PythonSolver, Unsolvable, problems, reach
from builder.lock.depends import needed_groups, parse_group
from builder.lock.difference import LockDifference, compare_locks
from builder.lock.model import Lock, LockedPackage
from builder.lock.solve import solve_parts
from builder.lock.universe import Pinned, Universe
from builder.lock.version import order
from builder.recipe.model import PackageRequest, Waiver

if TYPE_CHECKING:
    from builder.lock.archive import Archive
    from builder.lock.solve import Solver


@dataclass(frozen=True, kw_only=True, slots=True)
class Healed:
    """A lock that can be fetched again, what moved, and how it was found: `versions` (step 1) or `solver` (step 2)."""

    lock: Lock
    difference: LockDifference
    how: str


def heal(
    lock: Lock,
    archive: Archive,
    gone: Iterable[LockedPackage],
    *,
    solver: Callable[[], Solver] | None = None,
    healed_from: str = "",
    file: str = "",
) -> Healed:
    """Return a lock like `lock` in which nothing of `gone` is left.

    `solver` is called only when step 1 is not enough; without it Python solves. `healed_from` is the SHA-256
    of the lock file that the result stands for, `file` that file's name for messages. Raises LockError.
    """
    place = Place(file=file or f"{lock.recipe}.lock")
    waive = tuple(Waiver(package=one.package, depends=one.depends, reason="", place=place) for one in lock.waived)
    lost = {package.name for package in gone}
    kept = {name: package for name, package in lock.by_name().items() if name not in lost}
    packages, how = _same_names(lock, archive.universe, kept, waive), "versions"
    if packages is None:
        chosen = solver() if solver is not None else PythonSolver()
        packages, how = _solved_again(lock, archive.universe, kept, waive, chosen, place=place), "solver"
    healed = _anchored(lock, archive, packages, healed_from)
    return Healed(lock=healed, difference=compare_locks(lock, healed), how=how)


def _same_names(
    lock: Lock, universe: Universe, kept: dict[str, LockedPackage], waive: Sequence[Waiver]
) -> tuple[LockedPackage, ...] | None:
    """Step 1. None if a name is gone, or a need of the resulting set is not met."""
    packages = []
    for package in lock.packages:
        new = kept.get(package.name) or universe.candidate(package.name)
        if new is None or order(new.version) < order(package.version):
            return None
        packages.append(replace(new, parts=package.parts))
    for part in _solved_together(lock):
        members = [package for package in packages if part & set(package.parts)]
        if problems(members, waive):
            return None
    return _still_needed(lock, packages, waive)


def _solved_together(lock: Lock) -> list[set[str]]:
    names = [part.name for part in lock.parts]
    together = {name for name in names if not name.startswith("image-")}
    return [together, *({name} for name in names if name.startswith("image-"))]


def _still_needed(
    lock: Lock, packages: Sequence[LockedPackage], waive: Sequence[Waiver]
) -> tuple[LockedPackage, ...] | None:
    """Return `packages` if each is still needed, else None: a new version may need less."""
    for part in _solved_together(lock):
        members = [package for package in packages if part & set(package.parts)]
        requests = [name for one in lock.parts if one.name in part for name in one.requests]
        if len(reach(members, requests, waive)) != len(members):
            return None
    return tuple(packages)


def _solved_again(
    lock: Lock,
    universe: Universe,
    kept: dict[str, LockedPackage],
    waive: Sequence[Waiver],
    solver: Solver,
    *,
    place: Place,
) -> tuple[LockedPackage, ...]:
    """Step 2. The Python solver finds which pins have to go; `solver` then gives the answer."""
    parts = {part.name: [PackageRequest(name=name, place=place) for name in part.requests] for part in lock.parts}
    pinned = dict(kept)
    while True:
        offered = Pinned(universe, pinned)
        in_the_way = _pins_in_the_way(lock, offered, pinned, waive)
        if in_the_way is None:
            return solve_parts(solver, offered, parts, waive)
        if not in_the_way:
            if not pinned:
                return solve_parts(solver, universe, parts, waive)  # raises, with the reason in words
            in_the_way = set(pinned)
        for name in in_the_way:
            del pinned[name]


def _pins_in_the_way(
    lock: Lock, offered: Universe, pinned: dict[str, LockedPackage], waive: Sequence[Waiver]
) -> set[str] | None:
    """Return the pins to take off next, None if an answer exists with all of them."""
    try:
        for part in _solved_together(lock):
            requests = [name for one in lock.parts if one.name in part for name in one.requests]
            PythonSolver().solve(offered, list(dict.fromkeys(requests)), waive)
    except Unsolvable as failure:
        blamed = set(failure.blame) & set(pinned)
        return blamed | _wanted_newer(failure.blame, offered, pinned, waive)
    return None


def _wanted_newer(
    blame: Iterable[str], offered: Universe, pinned: dict[str, LockedPackage], waive: Sequence[Waiver]
) -> set[str]:
    """Return pinned names that a blamed package names in a dependency which the pinned version does not meet."""
    found = set()
    for name in blame:
        package = offered.candidate(name)
        for group in needed_groups(package, waive) if package is not None else ():
            for relation in parse_group(group):
                pin = pinned.get(relation.name)
                if pin is not None and not relation.accepts(pin.version):
                    found.add(pin.name)
    return found


def _anchored(lock: Lock, archive: Archive, packages: Sequence[LockedPackage], healed_from: str) -> Lock:
    found = anchor(packages, archive, lock.releases)
    return replace(
        lock,
        epoch=max(release.date for release in archive.releases),
        releases=found.releases,
        packages=found.packages,
        healed_from=healed_from,
    )


def what_instead(gone: Iterable[LockedPackage], universe: Universe) -> str:
    """Say, one line a file, what the mirror no longer has and what it has instead."""
    lines = []
    for package in sorted(gone, key=lambda package: package.name):
        now = universe.candidate(package.name)
        if now is None:
            instead = "no package of this name any more"
        elif now.version == package.version:
            instead = "the same version with other bytes, or its index is ahead of its files"
        else:
            instead = f"{now.version}"
        lines.append(f"  {package.name} {package.version} → {instead}")
    return "\n".join(lines)
