"""Makes every package of a lock present in the store."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import FetchError, LockStale, OfflineError, VerificationError
from builder.fetch.download import Patience, Wanted, bring
from builder.fetch.http import Client, Gone, shown
from builder.fetch.mirrors import no_mirror
from builder.fetch.parallel import for_each
from builder.fetch.store import BlobDamaged, BlobMissing
from builder.recipe.asked import beside_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from builder.fetch.mirrors import Mirrors
    from builder.fetch.snapshots import Snapshots
    from builder.fetch.store import Store
    from builder.lock.model import Lock, LockedPackage, LockedRelease
    from builder.progress import Progress
    from builder.recipe.asked import Asked

_THREADS = 6


class FilesGone(LockStale):
    """The mirror no longer has some packages of a lock. `gone` are these.

    `snapshots` is the archive that has not got them either, where one was named; `instead` are lines that say what the
    mirror has in their place.
    """

    def __init__(
        self, asked: Asked, gone: Sequence[LockedPackage], *, snapshots: Snapshots | None = None, instead: str = ""
    ) -> None:
        who = "the mirror no longer has what"
        if snapshots is not None:
            who = f"neither the mirror nor the archive of snapshots at {shown(snapshots.base)} has what"
        has = "it" if snapshots is None else "the mirror"
        lines = f". What {has} has instead:\n{instead}" if instead else ":\n" + _lines(gone)
        super().__init__(f"{who} {asked.lock} names{lines}", hint=_cure((asked,), snapshots))
        self.asked = asked
        self.gone = tuple(gone)
        self.snapshots = snapshots

    def and_also(self, other: FilesGone) -> LockStale:
        """Return the error for two locks that are stale."""
        both = (self.asked, other.asked)
        return LockStale(f"{self.message}\n{other.message}", hint=_cure(both, self.snapshots))


def _cure(stale: Sequence[Asked], snapshots: Snapshots | None) -> str:
    commands = " && ".join(asked.to_lock("--update") for asked in stale)
    cure = (
        f"lock the newest versions: {commands}; "
        "or replace only what is gone, for this folder alone, and no lock of yours changes: --heal"
    )
    if snapshots is None:
        cure += "; or, for the very same files, name an archive of snapshots: --snapshots URL or BERTH_SNAPSHOTS"
    return cure


def _lines(packages: Sequence[LockedPackage]) -> str:
    return "\n".join(f"  {package.filename}" for package in packages)


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
    asked: Asked | None = None,
    client: Client | None = None,
    patience: Patience | None = None,
    snapshots: Snapshots | None = None,
) -> None:
    """Make every .deb of `lock` present and verified in `store`.

    `asked` is how the user named the recipe, for messages; `snapshots` are asked for what the mirror no longer has.
    Raises OfflineError naming all that is missing, FilesGone naming all that nobody has any more, and FetchError or
    VerificationError for what fails otherwise. Whatever came stays in the store.
    """
    missing = missing_packages(lock, store, progress)
    if not missing:
        return
    asked = asked or beside_lock(Path("recipes") / f"{lock.recipe}.lock")
    if offline:
        raise offline_error((lock, missing), cure=asked.to_fetch())
    if mirrors is None:
        raise no_mirror(f"{len(missing)} packages of {lock.recipe} are not in the store")
    _check_space(store, sum(package.size for package in missing))
    own = client or Client()
    try:
        places = _Places(asked=asked, lock=lock, mirrors=mirrors, snapshots=snapshots)
        _fetch(places, missing, store=store, progress=progress, client=own, patience=patience or Patience())
    finally:
        if client is None:
            own.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Places:
    """Where the packages of a lock may be asked for."""

    asked: Asked
    lock: Lock
    mirrors: Mirrors
    snapshots: Snapshots | None

    def mirror(self, package: LockedPackage) -> str:
        return self.mirrors.url(self._releases(package)[0].archive, package.filename)

    def archive(self, package: LockedPackage) -> tuple[str, ...]:
        """Return the addresses in the archive of snapshots, in the order to ask; a healed lock has several dates."""
        releases = self._releases(package)
        dates = sorted(release.date for release in releases)
        return self.snapshots.urls(releases[0].archive, dates, package.filename) if self.snapshots else ()

    def _releases(self, package: LockedPackage) -> list[LockedRelease]:
        return [release for release in self.lock.releases if release.suite == package.suite]


def _fetch(
    places: _Places,
    missing: Sequence[LockedPackage],
    *,
    store: Store,
    progress: Progress,
    client: Client,
    patience: Patience,
) -> None:
    task = progress.task(f"fetching {len(missing)} packages", total=sum(package.size for package in missing))
    guard = threading.Lock()

    def report(amount: int) -> None:
        with guard:
            task.advance(amount)

    def ask(package: LockedPackage, url: str) -> None:
        title = f"{package.name} {package.version}"
        wanted = Wanted(title=title, urls=(url,), sha256=package.sha256, size=package.size)
        bring(client, store, wanted, patience=patience, report=report)

    # The largest first: else the last thread is left alone with a kernel.
    ordered = sorted(missing, key=lambda package: -package.size)
    found = for_each(ordered, lambda package: _find(package, places, ask), threads=_THREADS)
    gone = [package for package, where in zip(ordered, found, strict=True) if where is _Found.NOWHERE]
    if gone:
        task.done("some files are gone")
        gone.sort(key=lambda package: package.name)
        raise FilesGone(places.asked, gone, snapshots=places.snapshots)
    task.done()
    if (kept := found.count(_Found.ARCHIVE)) and places.snapshots:
        progress.note(
            f"{kept} of these, gone from the mirror, came from the snapshots at {shown(places.snapshots.base)}"
        )


class _Found(Enum):
    MIRROR, ARCHIVE, NOWHERE = range(3)


def _find(package: LockedPackage, places: _Places, ask: Callable[[LockedPackage, str], None]) -> _Found:
    """Ask the mirror, and only where that has no such file the archive; any other failure is raised."""
    try:
        ask(package, places.mirror(package))
        return _Found.MIRROR
    except Gone as refusal:
        gone = refusal
    for url in places.archive(package):
        try:
            ask(package, url)
            return _Found.ARCHIVE
        except Gone:
            continue
        except (FetchError, VerificationError) as failure:
            raise _also_failed(gone, failure) from failure
    return _Found.NOWHERE


def _also_failed(gone: Gone, failure: FetchError | VerificationError) -> FetchError | VerificationError:
    """Return the error for a file that the mirror no longer has and the archive of snapshots could not give."""
    wrong = isinstance(failure, VerificationError)
    return (VerificationError if wrong else FetchError)(
        f"{gone.message}; then the archive of snapshots was asked: {failure.message}",
        hint=(None if wrong else failure.hint) or "name another archive, or none (then the lock can be made anew)",
    )


def offline_error(*lacking: tuple[Lock, Sequence[LockedPackage]], cure: str) -> OfflineError:
    """Return the error that names all packages which the store lacks, lock by lock; `cure` is the command to run."""
    told = []
    for lock, missing in lacking:
        total = sum(package.size for package in missing)
        told.append(f"{len(missing)} packages of {lock.recipe} are not in the store ({total / 1e6:.1f} MB):")
        told += [
            f"  {package.name} {package.version} ({package.size} bytes, SHA-256 {package.sha256})"
            for package in missing
        ]
    return OfflineError("\n".join(told), hint=f"with a network: {cure}")


def _check_space(store: Store, needed: int) -> None:
    free = shutil.disk_usage(store.root).free
    if free < needed + (64 << 20):  # partial files and unpacked contents need some more
        raise FetchError(
            f"the store at {store.root} needs {needed / 1e6:.0f} MB, and its disk has {free / 1e6:.0f} MB left",
            hint="free some space (`berth cache prune` removes what is old), or point BERTH_CACHE to another disk",
        )
