"""Solves a recipe's sets of packages, and says in names why there is no answer."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from builder.errors import LockError
from builder.lock.closure import Unsolvable, reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from builder.lock.model import LockedPackage
    from builder.lock.universe import Universe
    from builder.recipe.model import PackageRequest, Waiver

# What Berth replaces: its presence means that a dependency should have been waived.
_FORBIDDEN = ("systemd",)


class Solver(Protocol):
    """Chooses packages. `name` is shown to people."""

    name: str

    def solve(self, universe: Universe, requests: Sequence[str], waive: Sequence[Waiver]) -> tuple[LockedPackage, ...]:
        """Return a set, sorted by name, with all `requests` and what they need. Raises Unsolvable."""


def solve_parts(
    solver: Solver, universe: Universe, parts: Mapping[str, Sequence[PackageRequest]], waive: Sequence[Waiver]
) -> tuple[LockedPackage, ...]:
    """Solve all parts of a recipe and return their packages, each with the names of its parts.

    `root` and all kernels are solved together, each image for itself: an image is a file system of its own, and may
    hold what the root refuses. Raises LockError with the place of the request that has no answer.
    """
    together = [name for name in parts if not name.startswith("image-")]
    groups = [together, *([name] for name in parts if name.startswith("image-"))]
    members: dict[str, set[str]] = {}
    chosen: dict[str, LockedPackage] = {}
    for group in groups:
        requests = [request for name in group for request in parts[name]]
        solution = _solve_one(solver, universe, requests, waive)
        chosen |= {package.name: package for package in solution}
        _assign(group, parts, solution, waive, members)
    return tuple(
        replace(chosen[name], parts=tuple(sorted(members.get(name, ()))))
        for name in sorted(chosen)
        if members.get(name)
    )


def _assign(
    group: Sequence[str],
    parts: Mapping[str, Sequence[PackageRequest]],
    solution: Sequence[LockedPackage],
    waive: Sequence[Waiver],
    members: dict[str, set[str]],
) -> None:
    """Note for each package which parts lead to it; what the root has is not counted for a kernel again."""
    root = reach(solution, [request.name for request in parts["root"]], waive) if "root" in group else {}
    for name in group:
        for package in reach(solution, [request.name for request in parts[name]], waive):
            if name == "root" or package not in root:
                members.setdefault(package, set()).add(name)


def _solve_one(
    solver: Solver, universe: Universe, requests: Sequence[PackageRequest], waive: Sequence[Waiver]
) -> tuple[LockedPackage, ...]:
    for request in requests:
        if universe.candidate(request.name) is None:
            raise _unknown(universe, request)
    names = list(dict.fromkeys(request.name for request in requests))
    try:
        solution = solver.solve(universe, names, waive)
    except Unsolvable as failure:
        guilty = [request for request in requests if request.name in failure.blame] or list(requests)
        raise LockError(
            f"these packages cannot be together: {failure.message}",
            place=guilty[0].place,
            hint="ask for another package, or waive a dependency that the image can do without (`build.waive`)",
        ) from None
    _refuse_forbidden(solution, requests, waive)
    return solution


def _unknown(universe: Universe, request: PackageRequest) -> LockError:
    providers = universe.providers(request.name)
    if providers:
        names = ", ".join(package.name for package in providers[:8])
        return LockError(f"{request.name} is a virtual package", place=request.place, hint=f"ask for one of: {names}")
    close = difflib.get_close_matches(request.name, universe.names(), n=3, cutoff=0.7)
    hint = f"did you mean {' or '.join(close)}?" if close else "is it in this suite, and under this name?"
    return LockError(f"there is no package {request.name}", place=request.place, hint=hint)


def _refuse_forbidden(
    solution: Sequence[LockedPackage], requests: Sequence[PackageRequest], waive: Sequence[Waiver]
) -> None:
    have = {package.name for package in solution}
    for name in _FORBIDDEN:
        if name not in have:
            continue
        why = reach(solution, [request.name for request in requests], waive)
        chain = [name]
        while why.get(chain[-1]):
            chain.append(why[chain[-1]])
        place = next((request.place for request in requests if request.name == chain[-1]), requests[0].place)
        raise LockError(
            f"{name} would be part of the image: {' is needed by '.join(chain)}",
            place=place,
            hint=f"waive it: build.waive: [{{package: {chain[1]}, depends: {name}, reason: …}}]"
            if len(chain) > 1
            else "take it out of build.packages: Berth has a PID 1 of its own",
        )
