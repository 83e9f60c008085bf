"""Opens folders below a root, and nowhere else: symbolic links on the way are followed by hand, within the root.

Every step is taken from an open folder, so that a link which another process makes meanwhile leads nowhere either.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

_MOST_LINKS = 40  # as many as Linux follows
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LeavesTree(Exception):
    """A path leads out of the root, in a circle, or through what is no folder. The text says which."""


def open_beneath(root: Path, path: str) -> int:
    """Return a descriptor of the folder `path` below `root`, made with all above it where it is missing.

    The caller closes it. Raise LeavesTree for a path that does not stay below `root`.
    """
    opened = [os.open(root, _OPEN)]
    words = path.split("/")
    links = 0
    try:
        while words:
            word = words.pop(0)
            if word in ("", "."):
                continue
            if word == "..":
                if len(opened) == 1:
                    raise LeavesTree(f"`/{path}` leads out of the tree")
                os.close(opened.pop())
                continue
            target = _step(opened, word, path)
            if target is not None:
                links += 1
                if links > _MOST_LINKS or target.startswith("/"):
                    raise LeavesTree(f"`/{path}` leads through links that go in a circle, or out of the tree")
                words[:0] = target.split("/")
        return opened.pop()
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _step(opened: list[int], word: str, path: str) -> str | None:
    """Open one folder more, or return the target of the link that stands in its place."""
    here = opened[-1]
    while True:
        try:
            opened.append(os.open(word, _OPEN, dir_fd=here))
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.mkdir(word, 0o755, dir_fd=here)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            if not stat.S_ISLNK(os.stat(word, dir_fd=here, follow_symlinks=False).st_mode):
                raise LeavesTree(f"`/{path}` lies below `{word}`, which is no folder") from None
            return os.readlink(word, dir_fd=here)
        else:
            return None
