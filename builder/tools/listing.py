"""What a tools tree was unpacked as, each file by its hash: kept in the tree itself, so that damage is found later."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from builder.rootfs import kept

NAME = ".files.json"


def write(tree: Path) -> None:
    """List what is in a tree now."""
    (tree / NAME).write_bytes(kept.seal(_contents(tree)))


def damage(tree: Path) -> str | None:
    """Return what of a tree is no longer as it was listed, as a path below it; None where all of it is."""
    try:
        listed = kept.unseal((tree / NAME).read_bytes())
    except (OSError, json.JSONDecodeError):
        listed = None
    if not isinstance(listed, dict):
        return NAME
    found = _contents(tree)
    return next((path for path in sorted({*listed, *found}) if listed.get(path) != found.get(path)), None)


def _contents(tree: Path) -> dict[str, str]:
    """Return what stands under each path: a folder, a link's target, or a file's hash and whether it can be started."""
    # Names as bytes have them: what the host's locale makes of them may change.
    return {
        os.fsencode(path.relative_to(tree)).decode("utf-8", "backslashreplace"): _state(path)
        for path in tree.rglob("*") if path.name != NAME or path.parent != tree
    }  # fmt: skip


def _state(path: Path) -> str:
    if path.is_symlink():
        return f"-> {os.fsencode(path.readlink()).decode('utf-8', 'backslashreplace')}"
    if path.is_dir():
        return "folder"
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:  # a bad sector, or who may not read it
        return f"unreadable: {error.errno}"
    return f"{digest} {'program' if path.stat().st_mode & 0o100 else 'file'}"
