"""Makes every package of a lock present in the store."""

from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

from builder.errors import FetchError, LockStale, OfflineError
from builder.fetch.download import Patience, Wanted, bring
from builder.fetch.http import Client, Gone
from builder.fetch.mirrors import no_mirror
from builder.fetch.parallel import for_each
from builder.fetch.store import BlobDamaged, BlobMissing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.fetch.mirrors import Mirrors
    from builder.fetch.store import Store
    from builder.lock.model import Lock, LockedPackage
    from builder.progress import Progress

_THREADS = 6


class FilesGone(LockStale):
    """The mirror no longer has some packages of a lock. `gone` are these."""

    def __init__(self, recipe: str, gone: Sequence[LockedPackage], *, message: str | None = None) -> None:
        lines = [f"  {package.filename}" for package in gone]
        super().__init__(
            message or f"the mirror no longer has what recipes/{recipe}.lock names:\n" + "\n".join(lines),
            hint=f"lock again what is gone: berth lock {recipe} --update",
        )
        self.recipe = recipe
        self.gone = tuple(gone)


def missing_packages(lock: Lock, store: Store, progress: Progress) -> tuple[LockedPackage, ...]:
    """Return the packages of `lock` that the store lacks. All are verified; what is damaged is removed and said."""

    def lacks(package: LockedPackage) -> bool:
        try:
            with store.open(package.sha256):
                return False
        except BlobMissing:
            return True
        except BlobDamaged as damage:
            progress.note(f"{package.name} {package.version}: {damage.message}")
            return True

    flags = for_each(lock.packages, lacks, threads=2)
    return tuple(package for package, flag in zip(lock.packages, flags, strict=True) if flag)


def fetch_lock(
    lock: Lock,
    store: Store,
    mirrors: Mirrors | None,
    progress: Progress,
    offline: bool = False,
    *,
    client: Client | None = None,
    patience: Patience | None = None,
) -> None:
    """Make every .deb of `lock` present and verified in `store`.

    Raises OfflineError naming all that is missing, FilesGone naming all that the mirror no longer has, and FetchError
    or VerificationError for what fails otherwise. Whatever came stays in the store.
    """
    missing = missing_packages(lock, store, progress)
    if not missing:
        return
    if offline:
        raise _offline(lock, missing)
    if mirrors is None:
        raise no_mirror(f"{len(missing)} packages of {lock.recipe} are not in the store")
    _check_space(store, sum(package.size for package in missing))
    own = client or Client()
    try:
        _fetch(
            lock, missing, store=store, mirrors=mirrors, progress=progress, client=own, patience=patience or Patience()
        )
    finally:
        if client is None:
            own.close()


def _fetch(
    lock: Lock,
    missing: Sequence[LockedPackage],
    *,
    store: Store,
    mirrors: Mirrors,
    progress: Progress,
    client: Client,
    patience: Patience,
) -> None:
    archives = {release.suite: release.archive for release in lock.releases}
    task = progress.task(f"fetching {len(missing)} packages", total=sum(package.size for package in missing))
    guard = threading.Lock()

    def report(amount: int) -> None:
        with guard:
            task.advance(amount)

    def work(package: LockedPackage) -> LockedPackage | None:
        url = mirrors.url(archives[package.suite], package.filename)
        wanted = Wanted(
            title=f"{package.name} {package.version}", urls=(url,), sha256=package.sha256, size=package.size
        )
        try:
            bring(client, store, wanted, patience=patience, report=report)
        except Gone:
            return package
        return None

    # The largest first: else the last thread is left alone with a kernel.
    results = for_each(sorted(missing, key=lambda package: -package.size), work, threads=_THREADS)
    gone = sorted((package for package in results if package is not None), key=lambda package: package.name)
    if gone:
        task.done("some files are gone")
        raise FilesGone(lock.recipe, gone)
    task.done()


def _offline(lock: Lock, missing: Sequence[LockedPackage]) -> OfflineError:
    total = sum(package.size for package in missing)
    lines = [
        f"  {package.name} {package.version} ({package.size} bytes, SHA-256 {package.sha256})" for package in missing
    ]
    return OfflineError(
        f"{len(missing)} packages of {lock.recipe} are not in the store ({total / 1e6:.1f} MB):\n" + "\n".join(lines),
        hint=f"with a network: berth fetch {lock.recipe}",
    )


def _check_space(store: Store, needed: int) -> None:
    free = shutil.disk_usage(store.root).free
    if free < needed + (64 << 20):  # partial files and unpacked contents need some more
        raise FetchError(
            f"the store at {store.root} needs {needed / 1e6:.0f} MB, and its disk has {free / 1e6:.0f} MB left",
            hint="free some space (`berth cache prune` removes what is old), or point BERTH_CACHE to another disk",
        )
