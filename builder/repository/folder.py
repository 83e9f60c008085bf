"""A repository's files: each appears whole, by one rename, and stays what it is until it is replaced by another rename.

`Files` is the door that publishing does everything through; a test stands in it and fails at the n-th step.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from builder.errors import RepositoryError

LOCK = ".lock"
_PART = ".part"


class Files(Protocol):
    """What publishing needs of a folder. Paths are relative, with `/`. All raise OSError, or what stands in for it."""

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""

    def size(self, path: str) -> int | None:
        """Return a file's size in bytes, None where there is none."""

    def modified(self, path: str) -> float:
        """Return when a file was written, seconds since 1970; 0 where there is none."""

    def write(self, path: str, data: bytes) -> None:
        """Put a file there, whole or not at all, also when the power fails."""

    def remove(self, path: str) -> None:
        """Take a file away; it may be gone already."""

    def names(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted."""


class Folder:
    """`Files` on a disk."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes | None:
        """Return a file's bytes, None where there is none."""
        try:
            return (self.root / path).read_bytes()
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """Return a file's size in bytes, None where there is none."""
        try:
            return (self.root / path).stat().st_size
        except FileNotFoundError:
            return None

    def modified(self, path: str) -> float:
        """Return when a file was written, seconds since 1970; 0 where there is none."""
        try:
            return (self.root / path).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def write(self, path: str, data: bytes) -> None:
        """Put a file there: a temporary name, synced, renamed, and the folder synced."""
        final = self.root / path
        final.parent.mkdir(parents=True, exist_ok=True)
        part = final.with_name(f".{final.name}{_PART}")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(0o644)
        part.replace(final)
        descriptor = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: str) -> None:
        """Take a file away; it may be gone already."""
        (self.root / path).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Return the paths of all files below a folder, sorted."""
        start = self.root / folder
        return sorted(path.relative_to(self.root).as_posix() for path in start.rglob("*") if not path.is_dir())


@contextmanager
def locked(root: Path) -> Iterator[Folder]:
    """Open a repository's folder for one publisher, made where it is missing.

    Raise RepositoryError where another publishes, or where the folder can't be written.
    """
    try:
        root.mkdir(parents=True, exist_ok=True)
        file = (root / LOCK).open("w")
    except OSError as error:
        raise RepositoryError(f"{root} cannot be written: {error.strerror}", hint="give another folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RepositoryError(
                f"another `berth publish` works on {root}", hint="wait for it, then run the same command again"
            ) from None
        folder = Folder(root)
        for leftover in folder.names("."):
            if leftover.endswith(_PART):  # of a publisher that was killed: we hold the lock
                folder.remove(leftover)
        yield folder
