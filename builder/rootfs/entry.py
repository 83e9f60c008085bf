"""One node of a root tree, and the tree itself: values whose bytes stay in the content store."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """What a node is; the value is its name in manifests."""

    DIRECTORY = "dir"
    FILE = "file"
    SYMLINK = "link"
    HARDLINK = "hard"
    CHARACTER = "char"
    BLOCK = "block"
    FIFO = "fifo"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One node.

    `path` is relative without `./` or a leading slash, merged-/usr already resolved (`usr/bin/env`); the root
    directory itself is `""`. `mode` is the permission bits alone (07777). `origin` names the package or
    the stage that it came from.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    origin: str = ""
    size: int = 0  # bytes, files only
    sha256: str = ""  # hex, files only: the name of the bytes in the store
    target: str = ""  # symbolic links: the text; hard links: the path of the file that they share
    device: tuple[int, int] = (0, 0)  # major, minor
    xattrs: tuple[tuple[str, bytes], ...] = field(default=())  # sorted by name


@dataclass(frozen=True, slots=True)
class Tree:
    """Entries sorted by path, each path once; each parent directory stands before what is in it."""

    entries: tuple[Entry, ...] = ()

    def by_path(self) -> dict[str, Entry]:
        """Return a fresh index by path."""
        return {entry.path: entry for entry in self.entries}
