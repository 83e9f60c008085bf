"""Whether a folder can be written to: asked before the long work whose results go there. Nothing is made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from builder.errors import BerthError

if TYPE_CHECKING:
    from pathlib import Path


def require_writable(folder: Path, *, hint: str) -> None:
    """Raise BerthError where `folder` cannot be written to, or is absent and cannot be made. `hint` is the cure."""
    folder = folder.absolute()
    there = next(each for each in (folder, *folder.parents) if os.path.lexists(each))
    if not there.is_dir():
        why = f"{there} is no folder"
    elif os.access(there, os.W_OK | os.X_OK):
        return
    elif os.statvfs(there).f_flag & os.ST_RDONLY:
        why = f"the file system of {there} is read-only"
    else:
        why = f"{there} is not yours to write to"
    raise BerthError(f"nothing can be written to {folder}: {why}", hint=hint)
