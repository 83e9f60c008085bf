"""A tree while stages work on it: by path, with the few changes that they make, sorted again at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import BuildError
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.hardlinks import relink

if TYPE_CHECKING:
    from builder.fetch.store import Store
    from builder.rootfs.exclude import Saved


class Draft:
    """A tree that can be changed. `origin` of what is added is the stage's name, `saved` what the stage left out."""

    def __init__(self, tree: Tree, store: Store, origin: str = "") -> None:
        self._nodes = tree.by_path()
        self._store = store
        self.origin = origin
        self.saved: list[Saved] = []

    def __contains__(self, path: str) -> bool:
        return path in self._nodes

    def __iter__(self) -> Iterator[Entry]:
        return iter([self._nodes[path] for path in sorted(self._nodes)])

    def get(self, path: str) -> Entry | None:
        """Return the node at a path, or None."""
        return self._nodes.get(path)

    def below(self, folder: str) -> list[Entry]:
        """Return the nodes below a folder, without itself, sorted."""
        prefix = folder + "/"
        return [self._nodes[path] for path in sorted(self._nodes) if path.startswith(prefix)]

    def read(self, path: str) -> bytes:
        """Return what the file at a path holds, hard links followed; raise BuildError where there is none."""
        node = self._nodes.get(path)
        if node is not None and node.kind is Kind.HARDLINK:
            node = self._nodes.get(node.target)
        if node is None or node.kind is not Kind.FILE:
            raise BuildError(f"the stage `{self.origin}` needs the file `/{path}`, which no package brings")
        return self._store.read(node.sha256)

    def content(self, sha256: str) -> bytes:
        """Return bytes of the store by their hash."""
        return self._store.read(sha256)

    def keep(self, data: bytes) -> str:
        """Lay bytes in the store and return their hash."""
        return self._store.put(data)

    def put(self, node: Entry) -> None:
        """Lay a node down, over whatever was there, and make the folders above it."""
        parent = node.path.rpartition("/")[0]
        if node.path and parent not in self._nodes:
            self.folder(parent)
        self._nodes[node.path] = node

    def file(self, path: str, data: bytes | str, *, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        """Write a file."""
        content = data.encode() if isinstance(data, str) else data
        self.put(
            Entry(
                path=path, kind=Kind.FILE, mode=mode, uid=uid, gid=gid, origin=self.origin, size=len(content),
                sha256=self._store.put(content),
            )
        )  # fmt: skip

    def folder(self, path: str, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """Make a directory, and those above it where they lack; one that is there gets this mode and owner."""
        self.put(Entry(path=path, kind=Kind.DIRECTORY, mode=mode, uid=uid, gid=gid, origin=self.origin))

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link."""
        self.put(Entry(path=path, kind=Kind.SYMLINK, mode=0o777, target=target, origin=self.origin))

    def own(self, path: str, *, mode: int, uid: int, gid: int) -> None:
        """Give a node that is there another owner and mode."""
        self._nodes[path] = replace(self._nodes[path], mode=mode, uid=uid, gid=gid)

    def remove(self, path: str) -> None:
        """Take a node away, with all that is below it; nothing happens where there is none.

        A file that others share as hard links stays with the first of them.
        """
        node = self._nodes.get(path)
        if node is None:
            return
        doomed = {path, *(entry.path for entry in self.below(path))} if node.kind is Kind.DIRECTORY else {path}
        heirs = [
            entry for entry in self._nodes.values()
            if entry.kind is Kind.HARDLINK and entry.target in doomed and entry.path not in doomed
        ]  # fmt: skip
        shared = [
            replace(self._nodes[heir.target], path=heir.path, kind=Kind.HARDLINK, target=heir.target) for heir in heirs
        ]
        for one in doomed:
            del self._nodes[one]
        if shared:
            self._nodes.update({entry.path: entry for entry in shared})
            self._nodes = {entry.path: entry for entry in relink(self._nodes.values())}

    def tree(self) -> Tree:
        """Return the tree as it now is."""
        return Tree(relink(self._nodes.values()))
