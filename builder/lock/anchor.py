"""Names the Release files through which the packages of a lock are found: today's, and an older one where it has to be.

A package that stays at its version while the mirror moves on is in no index of today. Its own Release file stays in the
lock: it says when the mirror had the package, by which an archive of snapshots is asked. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from builder.lock.archive import Archive
    from builder.lock.model import LockedPackage, LockedRelease


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchored:
    """Packages, sorted by name, with the Release files that they come from; `unlisted` are in no index of today."""

    packages: tuple[LockedPackage, ...]
    releases: tuple[LockedRelease, ...]
    unlisted: tuple[LockedPackage, ...]


def anchor(packages: Iterable[LockedPackage], archive: Archive, before: Sequence[LockedRelease]) -> Anchored:
    """Find each package in `archive` as it is now; `before` are the Release files of the lock that it came from."""
    found, unlisted = [], []
    for package in sorted(packages, key=lambda package: package.name):
        now = _listed(package, archive)
        if now is None:
            unlisted.append(package)
        found.append(package if now is None else replace(package, suite=now.suite, filename=now.filename))
    fresh = {release.sha256 for release in archive.releases}
    suites = {package.suite for package in unlisted}
    old = tuple(release for release in before if release.suite in suites and release.sha256 not in fresh)
    return Anchored(packages=tuple(found), releases=(*archive.releases, *old), unlisted=tuple(unlisted))


def _listed(package: LockedPackage, archive: Archive) -> LockedPackage | None:
    newest = archive.universe.candidate(package.name)
    rest = (one for index in archive.indexes for one in index.packages(package.name))
    return next((one for one in (newest, *rest) if one is not None and one.sha256 == package.sha256), None)
