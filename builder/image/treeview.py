"""Look into a root tree as programs on the machine will: through its symbolic and hard links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from builder.errors import BuildError
from builder.rootfs.entry import Entry, Kind, Tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MERGED = ("bin", "lib", "lib64", "sbin")  # links into /usr on every machine, whether or not the tree has them
_MOST_LINKS = 40  # as Linux: more is a loop


class Contents(Protocol):
    """What of the content store is needed here."""

    def path(self, sha256: str) -> Path:
        """Return where the bytes lie."""

    def read(self, sha256: str) -> bytes:
        """Return the bytes, verified."""


class TreeView:
    """A tree and its bytes. Paths are absolute or relative to the root, which is the same here."""

    def __init__(self, tree: Tree, contents: Contents) -> None:
        self._entries = tree.by_path()
        self._contents = contents

    def paths_below(self, folder: str) -> Iterator[str]:
        """Yield the paths of all files and links below a folder, sorted, as the tree names them."""
        prefix = folder.strip("/") + "/"
        for path in sorted(self._entries):
            if path.startswith(prefix) and self._entries[path].kind is not Kind.DIRECTORY:
                yield path

    def find(self, path: str) -> Entry | None:
        """Return the node that a path leads to, links followed; None where there is none."""
        return self._walk(path)[1]

    def links_to(self, path: str) -> tuple[Entry, ...]:
        """Return the symbolic links that are followed on the way to a path."""
        return self._walk(path)[0]

    def file(self, path: str) -> Entry:
        """Return the regular file that a path leads to, or raise BuildError."""
        entry = self.find(path)
        if entry is None or entry.kind is not Kind.FILE:
            raise BuildError(f"the root tree has no file /{path.strip('/')}, which its initramfs needs")
        return entry

    def read(self, path: str) -> bytes:
        """Return a file's bytes, or raise BuildError."""
        return self._contents.read(self.file(path).sha256)

    def stored(self, path: str) -> Path:
        """Return where the bytes of a file lie on the builder's disk, or raise BuildError."""
        return self._contents.path(self.file(path).sha256)

    def _walk(self, path: str) -> tuple[tuple[Entry, ...], Entry | None]:
        links: list[Entry] = []
        done: list[str] = []
        todo = [part for part in path.split("/") if part not in ("", ".")]
        entry: Entry | None = self._entries.get("")
        while todo:
            part = todo.pop(0)
            if part == "..":
                done = done[:-1]
                entry = self._entries.get("/".join(done))
                continue
            here = "/".join([*done, part])
            entry = self._entries.get(here)
            if entry is None and here in _MERGED:
                todo = ["usr", part, *todo]
            elif entry is not None and entry.kind is Kind.SYMLINK:
                links.append(entry)
                if len(links) > _MOST_LINKS:
                    return tuple(links), None
                done = [] if entry.target.startswith("/") else done
                todo = [*(name for name in entry.target.split("/") if name not in ("", ".")), *todo]
            elif entry is not None and entry.kind is Kind.HARDLINK:
                done, todo = [], [*entry.target.strip("/").split("/"), *todo]
            else:
                done.append(part)
        return tuple(links), entry
