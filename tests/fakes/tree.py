"""A tree of files in memory: text is a file's bytes, `Link` a symbolic link, `None` a folder."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Link:
    """A symbolic link."""

    target: str


Node = bytes | Link | None


def refuse(number: int, path: str) -> OSError:
    """Return the kernel's refusal."""
    return OSError(number, os.strerror(number), path)


class Tree:
    """Paths to nodes. A bind shows one folder at another place; the deepest bind counts."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"/": None}
        self.modes: dict[str, int] = {}
        self.binds: dict[str, str] = {}

    def fill(self, content: dict[str, Node], at: str = "") -> None:
        """Put nodes in place, with the folders above them."""
        for path, node in content.items():
            whole = (at + path).rstrip("/") or "/"
            self._make_above(whole)
            self.nodes[whole] = node

    def _make_above(self, path: str) -> None:
        parts = path.strip("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            self.nodes.setdefault("/" + "/".join(parts[:depth]), None)

    def real(self, path: str, depth: int = 0) -> str:
        """Follow binds and links to the node's own path."""
        if depth > 8:
            raise refuse(errno.ELOOP, path)
        path = os.path.normpath(path)
        for place in sorted(self.binds, key=len, reverse=True):
            if path == place or path.startswith(place + "/"):
                path = os.path.normpath(self.binds[place] + path[len(place) :])
                break
        parts = path.strip("/").split("/")
        for count in range(1, len(parts) + 1):
            head = "/" + "/".join(parts[:count])
            node = self.nodes.get(head)
            if isinstance(node, Link):
                target = os.path.normpath(os.path.join(os.path.dirname(head), node.target))
                return self.real("/".join([target, *parts[count:]]), depth + 1)
        return path

    def real_parent(self, path: str) -> str:
        """Follow binds and links in all but the last part."""
        parent, name = os.path.split(os.path.normpath(path))
        return os.path.normpath(f"{self.real(parent)}/{name}")

    def get(self, path: str) -> bytes:
        """Return a file's bytes."""
        whole = self.real(path)
        if whole not in self.nodes:
            raise refuse(errno.ENOENT, path)
        node = self.nodes[whole]
        if node is None:
            raise refuse(errno.EISDIR, path)
        assert isinstance(node, bytes)
        return node

    def put(self, path: str, data: bytes) -> None:
        """Make or overwrite a file in a folder that is there."""
        whole = self.real(path)
        self.folder(os.path.dirname(whole))
        if self.nodes.get(whole, b"") is None:
            raise refuse(errno.EISDIR, path)
        self.nodes[whole] = data

    def folder(self, path: str) -> str:
        """Return a folder's own path."""
        whole = self.real(path)
        if whole not in self.nodes:
            raise refuse(errno.ENOENT, path)
        if self.nodes[whole] is not None:
            raise refuse(errno.ENOTDIR, path)
        return whole

    def names(self, path: str) -> list[str]:
        """Return the names in a folder."""
        whole = self.folder(path)
        prefix = whole.rstrip("/") + "/"
        return sorted(
            other[len(prefix) :]
            for other in self.nodes
            if other.startswith(prefix) and other != "/" and "/" not in other[len(prefix) :]
        )

    def below(self, path: str) -> list[str]:
        """Return the paths of a node and all below it."""
        prefix = path.rstrip("/") + "/"
        return [other for other in self.nodes if other == path or other.startswith(prefix)]

    def move(self, old: str, new: str) -> None:
        """Move a node, with all below it."""
        for path in self.below(new):
            del self.nodes[path]
        for path in self.below(old):
            self.nodes[new + path[len(old) :]] = self.nodes.pop(path)

    def become(self, path: str) -> int:
        """Make a folder the root, and forget what isn't below it; return how many nodes went."""
        prefix = path.rstrip("/")
        inside = {other[len(prefix) :] or "/": self.nodes[other] for other in self.below(prefix)}
        gone = len(self.nodes) - len(inside)
        self.nodes = inside
        return gone
