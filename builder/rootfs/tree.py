"""Merges packages into one tree, as dpkg would lay them over one another.

What dpkg does, and what is done here (deb-control(5), dpkg-divert(1), Debian policy 6.6 and 7.6):

| two packages have the same path | result |
|---|---|
| directory and directory | shared; the one with the unusual owner or mode decides |
| directory and a link to a directory | the link stays, what is below goes where it leads |
| two of anything else, one `Replaces` the other's package (and version) | the replacing package's |
| two of anything else, one diverted by the other's script | both, the diverted one under its other name |
| two of anything else | an error |

The order in which packages are given does not matter, for a lock knows none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from builder.errors import BuildError
from builder.rootfs import mergedusr
from builder.rootfs.archive import NOT_DEBIANS
from builder.rootfs.deb import Deb
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.hardlinks import relink, share
from builder.rootfs.replaces import replaces

_FIRST = "base-files"  # essential: its directories are there before any other's
_IMPLIED = "berth"  # the origin of directories that no package ships


@dataclass(frozen=True, kw_only=True, slots=True)
class Diversion:
    """`package` moves what other packages ship at `path` to `to` (paths as in Entry)."""

    package: str
    path: str
    to: str


def merge(debs: Sequence[Deb], diversions: Sequence[Diversion] = ()) -> Tree:
    """Lay all packages over one another; raise BuildError where two claim one path."""
    by_name = {deb.name: deb for deb in debs}
    active = {item.path: item for item in diversions if item.package in by_name}
    nodes = [_diverted(node, active) for deb in debs for node in share(deb.entries)]
    nodes += [_implied_link(path, target) for path, target in mergedusr.LINKS.items()]
    links = {node.path: node for node in nodes if node.kind is Kind.SYMLINK}
    taken: dict[str, Entry] = {}
    for node in nodes:
        placed = _through_links(node, links)
        before = taken.get(placed.path)
        taken[placed.path] = placed if before is None else _decide(before, placed, by_name)
    return Tree(relink(_without_strangers(_with_parents(taken).values(), nodes)))


def _diverted(node: Entry, active: dict[str, Diversion]) -> Entry:
    if node.kind is Kind.DIRECTORY:
        return node
    path, target = (_where(one, node.origin, active) for one in (node.path, node.target))
    return replace(node, path=path, target=target if node.kind is Kind.HARDLINK else node.target)


def _where(path: str, package: str, active: dict[str, Diversion]) -> str:
    item = active.get(path)
    return path if item is None or item.package == package else item.to


def _implied_link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=target, origin=_IMPLIED)


def _through_links(node: Entry, links: dict[str, Entry]) -> Entry:
    """Move a node whose folder is a symbolic link in another package to where the link leads."""
    path = node.path
    for _ in range(40):  # as many as Linux follows
        moved = _one_link(path, links)
        if moved is None:
            return node if path == node.path else replace(node, path=path)
        path = moved
    raise BuildError(
        f"`/{node.path}` of {node.origin} lies behind symbolic links that go in a circle", hint=NOT_DEBIANS
    )


def _one_link(path: str, links: dict[str, Entry]) -> str | None:
    words = path.split("/")
    for count in range(1, len(words)):
        link = links.get("/".join(words[:count]))
        if link is not None:
            return "/".join([*_follow(link), *words[count:]])
    return None


def _follow(link: Entry) -> list[str]:
    words = [] if link.target.startswith("/") else link.path.split("/")[:-1]
    for word in link.target.split("/"):
        if word == "..":
            del words[-1:]
        elif word not in ("", "."):
            words.append(word)
    return mergedusr.resolve("/".join(words)).split("/")


def _decide(one: Entry, two: Entry, debs: dict[str, Deb]) -> Entry:
    if one.kind is Kind.DIRECTORY and two.kind is Kind.DIRECTORY:
        return _shared_directory(one, two)
    kinds = {one.kind, two.kind}
    if kinds == {Kind.DIRECTORY, Kind.SYMLINK}:
        return one if one.kind is Kind.SYMLINK else two
    if _IMPLIED in (one.origin, two.origin):
        return two if one.origin == _IMPLIED else one
    forward = replaces(debs[two.origin], debs[one.origin])
    backward = replaces(debs[one.origin], debs[two.origin])
    if Kind.DIRECTORY not in kinds and forward != backward:
        return two if forward else one
    hint = "dpkg would refuse to install them together: leave one out of the recipe"
    for name in (one.origin, two.origin):
        if b"dpkg-divert" in debs[name].control_files.get("preinst", b""):
            hint = (
                f"leave one out of the recipe: the preinst of {name} calls `dpkg-divert`, but not for this path, "
                "in words that are all literal, and surely on an installation"
            )
    raise BuildError(f"the packages {one.origin} and {two.origin} both bring `/{one.path}`", hint=hint)


def _shared_directory(one: Entry, two: Entry) -> Entry:
    """Choose between two packages' ideas of one directory, whatever the order that they come in."""
    if _FIRST in (one.origin, two.origin):
        return one if one.origin == _FIRST else two
    first, second = sorted((one, two), key=lambda node: node.origin)
    usual = (0o755, 0, 0)
    if (first.mode, first.uid, first.gid) == usual != (second.mode, second.uid, second.gid):
        return second
    return first


def _with_parents(taken: dict[str, Entry]) -> dict[str, Entry]:
    for path in list(taken):
        parent = path
        while parent:
            parent = parent.rpartition("/")[0]
            if parent not in taken:
                taken[parent] = Entry(path=parent, kind=Kind.DIRECTORY, mode=0o755, origin=_IMPLIED)
            elif taken[parent].kind is not Kind.DIRECTORY:
                raise BuildError(
                    f"`/{path}` of {taken[path].origin} lies below `/{parent}`, "
                    f"which is no directory in {taken[parent].origin}",
                    hint="dpkg would refuse to install them together: leave one out of the recipe",
                )
    return taken


def _without_strangers(entries: Iterable[Entry], nodes: Sequence[Entry]) -> list[Entry]:
    """Make a hard link whose file another package replaced a file again, with the bytes that it was packed with."""
    result = list(entries)
    owner = {node.path: node.origin for node in result}
    moved = {(node.origin, node.path): node for node in nodes}
    for number, node in enumerate(result):
        if node.kind is Kind.HARDLINK and owner.get(node.target) != node.origin:
            group = next(
                (other for other in sorted(owner) if owner[other] == node.origin
                 and (link := moved.get((node.origin, other))) is not None
                 and link.kind is Kind.HARDLINK and link.target == node.target),
                node.path,
            )  # fmt: skip
            if group == node.path:
                result[number] = replace(node, kind=Kind.FILE, target="")
            else:
                result[number] = replace(node, target=group)
    return result
