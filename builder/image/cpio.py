"""Write an initramfs archive: cpio, "newc" form.

    offset  size  field (hex text, upper or lower case)
         0     6  magic 070701
         6     8  each: inode, mode, uid, gid, nlink, mtime, filesize,
                  devmajor, devminor, rdevmajor, rdevminor, namesize, check (0)
       110        name with its zero byte, padded so that the next part begins at a multiple of 4
                  data, padded likewise

The archive ends with an entry named `TRAILER!!!`.
Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TRAILER = "TRAILER!!!"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One node. `path` is relative without a leading slash; `mode` has the file type's bits, too (`stat.S_IF…`).

    `data` is a file's content or a symbolic link's text; `device` is (major, minor) of a device node.
    """

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str, permissions: int = 0o755) -> Node:
    """Return a directory."""
    return Node(path=path, mode=stat.S_IFDIR | permissions)


def file(path: str, data: bytes, permissions: int = 0o644) -> Node:
    """Return a regular file."""
    return Node(path=path, mode=stat.S_IFREG | permissions, data=data)


def link(path: str, target: str) -> Node:
    """Return a symbolic link."""
    return Node(path=path, mode=stat.S_IFLNK | 0o777, data=target.encode())


def with_parents(nodes: Iterable[Node]) -> tuple[Node, ...]:
    """Return the nodes sorted by path, each once, with each directory that is missing on the way to one."""
    by_path: dict[str, Node] = {}
    for node in nodes:
        present = by_path.setdefault(node.path, node)
        if present != node:
            raise ValueError(f"two different nodes at {node.path}")
    for path in list(by_path):
        parent = path.rpartition("/")[0]
        while parent and parent not in by_path:
            by_path[parent] = directory(parent)
            parent = parent.rpartition("/")[0]
    return tuple(by_path[path] for path in sorted(by_path, key=lambda text: text.split("/")))


def archive(nodes: Iterable[Node]) -> bytes:
    """Return the archive. Owner is root, times are 0, inode numbers count from 1: equal nodes give equal bytes."""
    parts: list[bytes] = []
    for inode, node in enumerate(nodes, start=1):
        parts.extend(_entry(node, inode))
    parts.extend(_entry(Node(path=TRAILER, mode=0), 0))
    return b"".join(parts)


def _entry(node: Node, inode: int) -> tuple[bytes, ...]:
    name = node.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(node.mode) else 1
    major, minor = node.device
    fields = (inode, node.mode, 0, 0, links, 0, len(node.data), 0, 0, major, minor, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields)
    return header, name, bytes(-(len(header) + len(name)) % 4), node.data, bytes(-len(node.data) % 4)
