"""Brings everything that a lock names into the store, and heals the lock on the way where that is allowed.

`berth build` is not allowed to heal: it fails and names each file that is gone, what the mirror has instead, and the
command. `make run` and `make test` are: they give `heal_into`, a path below `build/`; the committed lock stays. Where
the user names an archive of snapshots, the very files that the lock names come before any healing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from builder.errors import FetchError, LockError
from builder.fetch.packages import FilesGone, fetch_lock
from builder.lock.archive import Source, open_archive
from builder.lock.file import read_lock, write_lock
from builder.lock.heal import Healed, heal, what_instead
from builder.recipe.asked import beside_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from builder.lock.model import Lock
    from builder.lock.solve import Solver
    from builder.recipe.asked import Asked

_MOST_HEALINGS = 3  # a mirror may be updated once more while it is asked


def ensure_packages(
    path: Path,
    source: Source,
    *,
    asked: Asked | None = None,
    select: Callable[[Lock], Lock] = lambda lock: lock,
    heal_into: Path | None = None,
    solver: Callable[[], Solver] | None = None,
) -> Lock:
    """Read the lock at `path`, make its packages present in the store, and return the lock that is in force.

    `asked` is how the user named the recipe, for messages (None: by the path of the recipe beside the lock).
    `select` takes out what is needed (`builder.lock.select.for_build`); the whole lock is returned. With `heal_into`
    a lock whose files are gone is healed into that file, which is used again as long as `path` does not change and no
    archive of snapshots has what is gone; `solver` is called when healing needs one (None: Python's own). Raises
    LockError, FilesGone, OfflineError, FetchError, VerificationError.
    """
    asked = asked or beside_lock(path)
    lock = read_lock(path, asked)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    before = _healed_before(heal_into, digest) if heal_into is not None else None
    if before is not None and source.snapshots is None:
        lock = _again(before, heal_into, path, source)
        before = None
    for _ in range(_MOST_HEALINGS + 1):
        try:
            fetch_lock(
                select(lock), source.store, source.mirrors, source.progress, source.offline,
                asked=asked, client=source.client, patience=source.patience, snapshots=source.snapshots,
            )  # fmt: skip
            return lock
        except FilesGone as stale:
            if before is not None:
                lock, before = _again(before, heal_into, path, source), None
            else:
                lock = _healed(lock, stale, source, asked=asked, heal_into=heal_into, digest=digest, solver=solver)
    raise FetchError(
        f"{path}: files vanish from the mirror as fast as the lock is healed",
        hint="the mirror is being updated: try again later",
    )


def lock_in_force(lock: Lock, path: Path, heal_into: Path | None) -> Lock:
    """Return what stands for `lock` of `path` where nobody is asked: what an earlier run healed from it, or itself."""
    if heal_into is None:
        return lock
    return _healed_before(heal_into, hashlib.sha256(path.read_bytes()).hexdigest()) or lock


def _healed_before(heal_into: Path, digest: str) -> Lock | None:
    """Return the lock that an earlier run healed, if it stands for the very lock that is asked for."""
    if not heal_into.exists():
        return None
    try:
        healed = read_lock(heal_into)
    except LockError:
        return None  # it is ours to make: a damaged one is made anew
    return healed if healed.healed_from == digest else None


def _again(healed: Lock, heal_into: Path | None, path: Path, source: Source) -> Lock:
    source.progress.note(f"using {heal_into}: the mirror no longer has all that {path} names")
    return healed


def _healed(
    lock: Lock,
    stale: FilesGone,
    source: Source,
    *,
    asked: Asked,
    heal_into: Path | None,
    digest: str,
    solver: Callable[[], Solver] | None,
) -> Lock:
    # If the mirror does not even have Release files, that is what is wrong, and its error says so.
    archive = open_archive(source, lock.suite, lock.architecture, previous=lock.releases)
    _refuse_incomplete(stale, archive.universe.candidate)
    instead = what_instead(stale.gone, archive.universe)
    if heal_into is None:
        raise FilesGone(asked, stale.gone, snapshots=stale.snapshots, instead=instead) from None
    healed = heal(lock, archive, stale.gone, solver=solver, healed_from=digest, file=str(asked.lock))
    write_lock(healed.lock, heal_into)
    source.progress.note(_told(healed, asked.lock, heal_into))
    return healed.lock


def _refuse_incomplete(stale: FilesGone, candidate: Callable[[str], object]) -> None:
    """A mirror that lists a file and does not have it cannot be healed against."""
    for package in stale.gone:
        now = candidate(package.name)
        if getattr(now, "sha256", None) == package.sha256:
            raise FetchError(
                f"the mirror lists {package.filename} and does not have it",
                hint="the mirror is incomplete, or just being updated: try again later, or choose another",
            ) from None


def _told(healed: Healed, path: Path, heal_into: Path) -> str:
    lines = [
        f"  {change.name}: {change.old or 'new'} → {change.new or 'no longer needed'}"
        for change in healed.difference.changes
    ]
    return (
        f"the mirror has moved on since {path} was made; locked again what is gone, "
        f"verified alike, in {heal_into}:\n" + "\n".join(lines)
    )
