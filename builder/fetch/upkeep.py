"""Looks after the store: how large it is, and taking away what is old or all of it (`berth cache`)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from builder.fetch.store import Store

_DAY = 86400.0  # seconds
_NOTED = 2 * _DAY  # a use is noted again a day after the last: see `Store.has`


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheInfo:
    """What a store holds. Sizes are in bytes; `oldest` is the longest time since a blob was used, in seconds."""

    root: Path
    blobs: int
    blob_bytes: int
    partial: int
    partial_bytes: int
    scratch: int
    scratch_bytes: int
    oldest: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Removed:
    """What was taken away. Size in bytes."""

    files: int
    size: int


def cache_info(store: Store, *, now: float | None = None) -> CacheInfo:
    """Measure the store."""
    moment = time.time() if now is None else now
    blobs = [status for _, status in _files(store.root / "blobs")]
    partial = [status for _, status in _files(store.root / "partial")]
    scratch = [status for _, status in _files(store.root / "scratch")]
    return CacheInfo(
        root=store.root,
        blobs=len(blobs),
        blob_bytes=_total(blobs),
        partial=len(partial),
        partial_bytes=_total(partial),
        scratch=len(scratch),
        scratch_bytes=_total(scratch),
        oldest=max((moment - status.st_mtime for status in blobs), default=0.0),
    )


def prune(store: Store, *, unused_for: float, keep: Collection[str] = (), now: float | None = None) -> Removed:
    """Take away blobs that no build used for `unused_for` seconds, old partial downloads, and what killed builds left.

    `keep` are SHA-256 sums that stay in any case: those of the locks in the working folder, for one. A build that runs
    at the same time loses nothing that it used within that time; where that is shorter than what the store notes of
    uses, there must be none. Raises BerthError where there is.
    """
    with contextlib.nullcontext() if unused_for >= _NOTED else store.alone():
        return _prune(store, unused_for, frozenset(keep), time.time() if now is None else now)


def _prune(store: Store, unused_for: float, wanted: frozenset[str], moment: float) -> Removed:
    removed = _remove(
        store.root / "blobs", lambda path, status: path.name not in wanted and moment - status.st_mtime > unused_for
    )
    partial = _remove_partial(store.root / "partial", lambda status: moment - status.st_mtime > min(unused_for, _DAY))
    kept = _remove(store.root / "kept", lambda _, status: moment - status.st_mtime > unused_for)
    return _sum(removed, partial, kept, _sweep(store))


def clean(store: Store) -> Removed:
    """Take everything away. Raises BerthError while another command works with the store."""
    with store.alone():
        return _clean(store)


def _clean(store: Store) -> Removed:
    blobs = _remove(store.root / "blobs", lambda _path, _status: True)
    kept = _remove(store.root / "kept", lambda _path, _status: True)
    partial = _remove_partial(store.root / "partial", lambda _: True)
    for folder in (store.root / "blobs").iterdir():
        with contextlib.suppress(OSError):  # another build may just put something into it
            folder.rmdir()
    return _sum(blobs, partial, kept, _sweep(store))


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = root / folder / name
            with contextlib.suppress(FileNotFoundError):  # a running build took it away meanwhile
                yield path, path.lstat()


def _total(statuses: list[os.stat_result]) -> int:
    return sum(status.st_size for status in statuses)


def _remove(root: Path, condemned: Callable[[Path, os.stat_result], bool]) -> Removed:
    files = size = 0
    for path, status in list(_files(root)):
        if condemned(path, status):
            path.unlink(missing_ok=True)
            files += 1
            size += status.st_size
    return Removed(files=files, size=size)


def _sweep(store: Store) -> Removed:
    before = [status for _, status in _files(store.root / "scratch")]
    store.sweep()
    after = [status for _, status in _files(store.root / "scratch")]
    return Removed(files=max(0, len(before) - len(after)), size=max(0, _total(before) - _total(after)))


def _remove_partial(root: Path, condemned: Callable[[os.stat_result], bool]) -> Removed:
    """Remove downloads that no build is at: each is locked by the one who writes it (flock(2)), and here, too."""
    files = size = 0
    for path, status in list(_files(root)):
        if not condemned(status):
            continue
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            files += 1
            size += status.st_size
        except OSError:
            continue
        finally:
            os.close(descriptor)
    return Removed(files=files, size=size)


def _sum(*parts: Removed) -> Removed:
    return Removed(files=sum(part.files for part in parts), size=sum(part.size for part in parts))
