"""A solver with nothing but Python: for the first tools tree, and for healing its lock.

It decides what has one answer first and asks alternatives afterwards, the first of them first; where two
packages refuse each other it goes back to the last alternative. apt remains the reference (see `apt.py` and
`docs/adr/0001-solver.md`); a test compares the two on every shipped recipe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.lock.depends import conflict_between, needed_groups, parse_group, provided_version
from builder.lock.universe import fulfilling

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.lock.model import LockedPackage
    from builder.lock.universe import Universe
    from builder.recipe.model import Waiver

_MOST_STEPS = 5000  # choices tried before giving up; the shipped recipes need about thirty


class Unsolvable(Exception):
    """No choice works. `blame` are the names whose versions or refusals stood in the way."""

    def __init__(self, message: str, blame: Iterable[str]) -> None:
        super().__init__(message)
        self.message = message
        self.blame = frozenset(blame)


@dataclass(slots=True)
class _State:
    chosen: dict[str, LockedPackage]
    why: dict[str, str]  # name → the name that asked for it, "" for the recipe
    open_groups: list[tuple[str, str]]  # (who asks, group)

    def copy(self) -> _State:
        return _State(dict(self.chosen), dict(self.why), list(self.open_groups))


class PythonSolver:
    """Solves within Python. Holds no state: one object serves all."""

    name = "python"

    def solve(self, universe: Universe, requests: Sequence[str], waive: Sequence[Waiver]) -> tuple[LockedPackage, ...]:
        """Return a set, sorted by name, with all `requests` and what they need. Raises Unsolvable."""
        return close(universe, requests, waive)


def close(universe: Universe, requests: Sequence[str], waive: Sequence[Waiver]) -> tuple[LockedPackage, ...]:
    """Return a set, sorted by name, with all `requests` and what they need. Raises Unsolvable."""
    state = _State({}, {}, [("", name) for name in requests])
    stack: list[tuple[_State, list[LockedPackage], str]] = []
    first_failure: Unsolvable | None = None
    for _ in range(_MOST_STEPS):
        try:
            choice = _propagate(universe, waive, state)
            if choice is None:
                return tuple(state.chosen[name] for name in sorted(state.chosen))
            who, options = choice
        except Unsolvable as failure:
            first_failure = first_failure or failure
            while stack and not stack[-1][1]:
                stack.pop()
            if not stack:
                raise first_failure from None
            saved, options, who = stack.pop()
            state = saved.copy()
        stack.append((state.copy(), options[1:], who))
        try:
            _add(waive, state, options[0], who)
        except Unsolvable as failure:
            first_failure = first_failure or failure
            state.open_groups.append((who, _NEVER))  # makes the next turn fail and go back
    raise Unsolvable(f"no answer after {_MOST_STEPS} attempts", first_failure.blame if first_failure else ())


_NEVER = "berth-never-there"


def _propagate(universe: Universe, waive: Sequence[Waiver], state: _State) -> tuple[str, list[LockedPackage]] | None:
    """Add all that has one answer. Return who asks and the options of the first open choice, or None at the end."""
    while True:
        choices: list[tuple[str, str]] = []
        progressed = False
        groups, state.open_groups = state.open_groups, []
        for at, (who, group) in enumerate(groups):
            if _is_met(state.chosen, group):
                continue
            options = _options(universe, group)
            if not options:
                state.open_groups = groups[at:]
                raise _nothing_fulfils(universe, state, who, group)
            if len(options) == 1 or who == "":
                _add(waive, state, options[0], who)
                progressed = True
            else:
                choices.append((who, group))
        fresh = state.open_groups
        state.open_groups = choices + fresh
        if not progressed:
            if not state.open_groups:
                return None
            who, group = state.open_groups[0]
            return who, _options(universe, group)


def _is_met(chosen: dict[str, LockedPackage], group: str) -> bool:
    for relation in parse_group(group):
        package = chosen.get(relation.name)
        if package is not None and relation.accepts(package.version):
            return True
    return any(
        provided_version(package, relation)
        for relation in parse_group(group)
        for package in chosen.values()
        if package.provides
    )


def _options(universe: Universe, group: str) -> list[LockedPackage]:
    found: dict[str, LockedPackage] = {}
    for relation in parse_group(group):
        for package in fulfilling(universe, relation):
            found.setdefault(package.name, package)
    return list(found.values())


def _add(waive: Sequence[Waiver], state: _State, package: LockedPackage, who: str) -> None:
    if package.name in state.chosen:
        return
    for other in state.chosen.values():
        clash = conflict_between(package, other) or conflict_between(other, package)
        if clash:
            raise Unsolvable(
                f"{package.name} ({_chain(state, who)}) and {other.name} ({_chain(state, state.why[other.name])}) "
                f"refuse to be together: {clash}",
                (package.name, other.name),
            )
    state.chosen[package.name] = package
    state.why[package.name] = who
    state.open_groups.extend((package.name, group) for group in needed_groups(package, waive))


def _chain(state: _State, who: str) -> str:
    names = []
    while who:
        names.append(who)
        who = state.why.get(who, "")
    return "needed by " + ", needed by ".join(names) if names else "asked for by the recipe"


def _nothing_fulfils(universe: Universe, state: _State, who: str, group: str) -> Unsolvable:
    blame = {who} - {""}
    have = []
    for relation in parse_group(group):
        candidate = universe.candidate(relation.name)
        if candidate is not None:
            blame.add(candidate.name)
            have.append(f"{candidate.name} {candidate.version}")
    there = "there is " + " and ".join(have) if have else "there is no such package"
    if not who:
        return Unsolvable(f"the recipe asks for {group}: {there}", blame)
    return Unsolvable(f"{who} ({_chain(state, state.why.get(who, ''))}) needs {group}: {there}", blame)


def problems(packages: Sequence[LockedPackage], waive: Sequence[Waiver]) -> list[Unsolvable]:
    """Return what is wrong with a finished set: an empty list for a set whose every need is met."""
    chosen = {package.name: package for package in packages}
    found = []
    for package in packages:
        for group in needed_groups(package, waive):
            if not _is_met(chosen, group):
                names = {relation.name for relation in parse_group(group)} & set(chosen)
                found.append(Unsolvable(f"{package.name} {package.version} needs {group}", names | {package.name}))
        if package.conflicts:
            for other in packages:
                clash = conflict_between(package, other)
                if clash:
                    found.append(
                        Unsolvable(
                            f"{package.name} {package.version} refuses {clash}, which is there",
                            {package.name, other.name},
                        )
                    )
    return found


def reach(packages: Iterable[LockedPackage], requests: Iterable[str], waive: Sequence[Waiver]) -> dict[str, str]:
    """Return the names of `packages` that `requests` lead to, each with the name that asked for it first."""
    by_name = {package.name: package for package in packages}
    why: dict[str, str] = {}
    queue = [(name, "") for name in requests if name in by_name]
    for name, who in queue:
        if name in why:
            continue
        why[name] = who
        for group in needed_groups(by_name[name], waive):
            queue.extend((found, name) for found in _meeting(by_name, group))
    return why


def _meeting(by_name: dict[str, LockedPackage], group: str) -> list[str]:
    """Return the name that meets `group`: the first alternative that is there, a real package before a provider."""
    for relation in parse_group(group):
        package = by_name.get(relation.name)
        if package is not None and relation.accepts(package.version):
            return [package.name]
        for other in by_name.values():
            if other.provides and provided_version(other, relation):
                return [other.name]
    return []
