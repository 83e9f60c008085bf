"""Keeps files that share their bytes in order: the first name, by path, is the file; the others link to it.

mkfs.erofs reads a tar stream once, so a link has to come after its file (a link before it is ENOENT).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from builder.rootfs.entry import Entry, Kind


def relink(entries: Iterable[Entry], files: dict[str, Entry] | None = None) -> tuple[Entry, ...]:
    """Sort entries by path and make the first of each group of hard links the file.

    A link whose file is not among `entries` anymore takes over what `files` (by path) or the link itself says:
    `size` and `sha256` of a link are its file's, which `share` sees to.
    """
    nodes = sorted(entries, key=lambda node: node.path)
    groups: dict[str, list[Entry]] = {}
    for node in nodes:
        if node.kind is Kind.HARDLINK:
            groups.setdefault(node.target, []).append(node)
    if not groups:
        return tuple(nodes)
    present = {node.path: node for node in nodes if node.path in groups and node.kind is Kind.FILE}
    changed: dict[str, Entry] = {}
    for target, links in groups.items():
        file = present.get(target)
        members = sorted([*links, *([file] if file else [])], key=lambda node: node.path)
        source = file or (files or {}).get(target) or members[0]
        first = members[0]
        changed[first.path] = replace(source, path=first.path, kind=Kind.FILE, target="")
        for other in members[1:]:
            changed[other.path] = replace(source, path=other.path, kind=Kind.HARDLINK, target=first.path)
    return tuple(changed.get(node.path, node) for node in nodes)


def share(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """Give every hard link what its file has (size, hash, mode, owner), so that it can stand in for the file."""
    nodes = list(entries)
    by_path = {node.path: node for node in nodes}
    result: list[Entry] = []
    for node in nodes:
        source = node
        steps = 0
        while source.kind is Kind.HARDLINK and source.target in by_path and steps < 64:
            source = by_path[source.target]
            steps += 1
        if source is not node and source.kind is Kind.FILE:
            node = replace(source, path=node.path, kind=Kind.HARDLINK, target=source.path, origin=node.origin)  # noqa: PLW2901
        result.append(node)
    return tuple(result)
