"""Leaves out what the recipe's rules say, and counts what each rule saved.

Two things stay whatever a rule says, for they are owed to others: copyright texts (with the links that lead to
them), and dpkg's database, which tells scanners what is on the machine.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from builder.recipe.model import Exclusion
from builder.recipe.patterns import compile_glob
from builder.rootfs import mergedusr
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.hardlinks import relink

PROTECTED = (
    "/usr/share/doc/*/copyright",
    "/usr/share/common-licenses/**",
    "/usr/lib/berth/**",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """What one rule left out. `size` is in bytes, before compression; `files` counts all but directories."""

    pattern: str
    reason: str
    files: int
    size: int


def exclude(tree: Tree, rules: Sequence[Exclusion]) -> tuple[Tree, tuple[Saved, ...]]:
    """Return the tree without what the rules match, and what each rule saved, in the rules' order.

    The first rule that matches a path decides. A directory goes when a rule left it empty, and a symbolic link when
    a rule left out what it led to.
    """
    compiled = [(path_glob(rule.pattern), [path_glob(glob) for glob in rule.keep]) for rule in rules]
    any_rule = re.compile("|".join(f"(?:{match.pattern})" for match, _ in compiled) or r"(?!)")
    protected = [path_glob(glob) for glob in PROTECTED]
    gone: dict[str, int] = {}  # path → number of the rule that decided
    links: list[Entry] = []
    for node in tree.entries:
        path = "/" + node.path
        if node.kind is Kind.DIRECTORY or _is_owed(node, path, protected):
            continue
        number = _first(path, compiled) if any_rule.fullmatch(path) else None
        if number is not None:
            gone[node.path] = number
        elif node.kind is Kind.SYMLINK:
            links.append(node)
    _follow(links, gone)
    kept = relink(node for node in tree.entries if node.path not in gone)
    files, sizes = [0] * len(rules), [0] * len(rules)
    for node in tree.entries:
        if node.path in gone:
            files[gone[node.path]] += 1
            sizes[gone[node.path]] += node.size if node.kind is Kind.FILE else 0
    saved = tuple(
        Saved(pattern=rule.pattern, reason=rule.reason, files=files[number], size=sizes[number])
        for number, rule in enumerate(rules)
    )
    return Tree(tuple(_without_emptied(kept, set(gone)))), saved


Compiled = tuple[re.Pattern[str], list[re.Pattern[str]]]


def _first(path: str, rules: Sequence[Compiled]) -> int | None:
    for number, (match, keep) in enumerate(rules):
        if match.fullmatch(path) and not any(glob.fullmatch(path) for glob in keep):
            return number
    return None


def _follow(links: Sequence[Entry], gone: dict[str, int]) -> None:
    """Add the links that lead to something that goes, and those that lead to them."""
    left = [(node.path, _where(node)) for node in links]
    while found := [(path, gone[target]) for path, target in left if target in gone]:
        gone.update(found)
        left = [(path, target) for path, target in left if path not in gone]


def _where(node: Entry) -> str:
    folder = "/" + node.path.rpartition("/")[0]
    return mergedusr.resolve(posixpath.normpath(posixpath.join(folder, node.target)).lstrip("/"))


def _is_owed(node: Entry, path: str, protected: Sequence[re.Pattern[str]]) -> bool:
    if any(glob.fullmatch(path) for glob in protected):
        return True
    # `/usr/share/doc/libfoo` is often a link to the folder that holds the copyright text
    return node.kind is Kind.SYMLINK and path.rpartition("/")[0] == "/usr/share/doc"


def _without_emptied(entries: Iterable[Entry], gone: set[str]) -> list[Entry]:
    """Drop directories that lost all they held (and had held something)."""
    nodes = list(entries)
    lost: set[str] = set()
    for path in gone:
        parent = path
        while parent := parent.rpartition("/")[0]:
            if parent in lost:
                break
            lost.add(parent)
    occupied: set[str] = set()
    result: list[Entry] = []
    for node in reversed(nodes):
        if node.kind is Kind.DIRECTORY and node.path in lost and node.path not in occupied:
            continue
        result.append(node)
        occupied.add(node.path.rpartition("/")[0])
    result.reverse()
    return result


def path_glob(pattern: str) -> re.Pattern[str]:
    """Compile a glob over absolute paths; one that goes through `/bin`, `/sbin`, `/lib` or `/lib64` means `/usr`'s."""
    return compile_glob("/" + mergedusr.resolve(pattern[1:]) if pattern.startswith("/") else pattern)
