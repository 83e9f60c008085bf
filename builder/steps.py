"""A cache of steps by content: what a step made is found again by the hash of everything that it read.

A step's key covers its inputs, its options, its own source code and its tools. An edited stage or another
mkfs.erofs therefore makes a new result, and nothing else does. Results appear whole or not at all: they are written
under a temporary name, synced, and renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from builder.errors import Place

SOURCE_ROOT = Path(__file__).resolve().parent.parent


def canonical(value: Any) -> Any:
    """Reduce a frozen value to what JSON can say, in one way only. Raise TypeError for anything else."""
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if is_dataclass(value) and not isinstance(value, type):
        # Where a thing was written down, and where a file lies, changes no result: who reads a file adds what is in it.
        within = {item.name: getattr(value, item.name) for item in fields(value)}
        return {name: canonical(each) for name, each in within.items() if not isinstance(each, Place | Path)}
    if isinstance(value, dict):
        return {str(key): canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no canonical form")


def digest(*parts: Any) -> str:
    """Return the SHA-256, in hex, of values that `canonical` understands."""
    text = json.dumps([canonical(part) for part in parts], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_digest(*packages: str) -> str:
    """Return the hash of the source of packages or modules, named by their path below the repository."""
    whole = hashlib.sha256()
    for package in packages:
        start = SOURCE_ROOT / package
        for path in sorted(start.rglob("*")) if start.is_dir() else [start]:
            if path.is_file() and "__pycache__" not in path.parts:
                whole.update(f"{path.relative_to(SOURCE_ROOT)}\0{path.stat().st_size}\0".encode())
                whole.update(path.read_bytes())
    return whole.hexdigest()


class Steps:
    """The results that this folder's builds keep, below `build/steps`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, name: str, key: str, make: Callable[[Path], None]) -> Path:
        """Return the folder of step `name` under `key`; `make` fills an empty one where there is none yet."""
        final = self._root / f"{name}-{key[:32]}"
        if final.is_dir():
            os.utime(final)
            return final
        with self.exclusive(final.name):
            if final.is_dir():
                return final
            temporary = self._temporary(final.name)
            shutil.rmtree(temporary, ignore_errors=True)  # a killed build's
            try:
                temporary.mkdir(mode=0o755)
                make(temporary)
                sync_tree(temporary)
                temporary.rename(final)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        self._forget_old(name, keep=final)
        return final

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[None]:
        """Keep two builds from doing the same work at once; a killed one leaves no lock behind (flock(2))."""
        self._root.mkdir(parents=True, exist_ok=True)
        with self._locked(name, fcntl.LOCK_EX) as locked:
            assert locked
            yield

    @contextlib.contextmanager
    def _locked(self, name: str, how: int) -> Iterator[bool]:
        """Lock a name; give False where `how` does not wait and another one has it."""
        path = self._root / f".{name}.lock"
        while True:
            with path.open("w") as handle:
                try:
                    fcntl.flock(handle, how)
                except BlockingIOError:
                    yield False
                    return
                # Whoever had it before may have deleted it: then this lock keeps nobody out.
                if path.exists() and path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                    yield True
                    return

    def _temporary(self, name: str) -> Path:
        return self._root / f".{name}.new"

    def _forget_old(self, name: str, *, keep: Path, count: int = 4) -> None:
        """Delete all but the newest results of one step, and what killed builds left of it."""
        found = [path for path in self._root.glob(f"{name}-*") if path.is_dir() and path != keep]
        old = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[count - 1 :]
        left = [path.name.removeprefix(".").removesuffix(".new") for path in self._root.glob(f".{name}-*.new")]
        for each in {*(path.name for path in old), *left}:
            with self._locked(each, fcntl.LOCK_EX | fcntl.LOCK_NB) as locked:
                if locked:
                    shutil.rmtree(self._temporary(each), ignore_errors=True)
                    if self._root / each in old:
                        shutil.rmtree(self._root / each, ignore_errors=True)
                    (self._root / f".{each}.lock").unlink(missing_ok=True)


def sync_tree(root: Path) -> None:
    """Write every file below `root` through to the disk (fsync(2))."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder) / name
            if path.is_symlink():
                continue
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
