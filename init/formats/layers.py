"""What the names in a container image's layer mean (OCI image specification, "Image Layer Filesystem Changeset").

    a/.wh.b        `a/b` of the layers below is removed
    a/.wh..wh..opq all of `a` of the layers below is removed
    anything else  a node of this layer

Overlayfs says the same with a character device 0/0 and the xattr `trusted.overlay.opaque` = `y`. Builder and
machine both refuse what leads out of a layer's root; neither has a name of its own for it.
"""

from __future__ import annotations

import enum

OPAQUE_XATTR = "trusted.overlay.opaque"
OPAQUE_VALUE = b"y"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_LONGEST_NAME = 255  # bytes, NAME_MAX
_LONGEST_PATH = 4095  # bytes, PATH_MAX without its NUL


class Change(enum.Enum):
    """What a member of a layer does to its path."""

    NODE = "node"
    REMOVED = "removed"
    OPAQUE = "opaque"
    IGNORED = "ignored"  # `.wh..wh.aufs` and the like: bookkeeping of a storage driver


def clean_path(name: str) -> str:
    """Return `name` relative, without `.` and doubled slashes; "" is the root. Raise ValueError for what leads out."""
    words = [word for word in name.split("/") if word not in ("", ".")]
    if ".." in words:
        raise ValueError(f"`{name}` leads out of the layer")
    if any("\0" in word or len(word.encode("utf-8", "surrogateescape")) > _LONGEST_NAME for word in words):
        raise ValueError(f"`{name[:80]}` is no name that Linux can hold")
    path = "/".join(words)
    if len(path.encode("utf-8", "surrogateescape")) > _LONGEST_PATH:
        raise ValueError(f"`{name[:80]}…` is too long for Linux")
    return path


def change_of(path: str) -> tuple[Change, str]:
    """Return what a cleaned path says and which path it says it of."""
    parent, _, last = path.rpartition("/")
    if last == _OPAQUE:
        return Change.OPAQUE, parent
    if last.startswith(_WHITEOUT + _WHITEOUT):
        return Change.IGNORED, path
    if last.startswith(_WHITEOUT):
        gone = last.removeprefix(_WHITEOUT)
        if gone in ("", ".", ".."):
            raise ValueError(f"`{path}` removes nothing that has a name")
        return Change.REMOVED, f"{parent}/{gone}" if parent else gone
    return Change.NODE, path
