"""What a lock holds: every package by hash, and the signed Release files it was found through."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedRelease:
    """One verified Release file.

    `archive` is `main` or `security`: which base URL it lies under. Times are seconds since 1970, UTC.
    `signers` are the fingerprints, in upper-case hex, of the keys whose signatures were good.
    """

    suite: str  # `trixie`, `trixie-updates`, `trixie-security`
    archive: str
    date: int
    valid_until: int | None
    sha256: str  # of the whole InRelease
    signers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedPackage:
    """One binary package. `filename` is relative to the archive's base URL; `size` is in bytes."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    suite: str  # names the LockedRelease that it was found through
    filename: str
    size: int
    sha256: str
    depends: tuple[str, ...] = ()  # Pre-Depends and Depends, verbatim groups, so that healing needs no index of old
    provides: tuple[str, ...] = ()  # verbatim, with versions
    conflicts: tuple[str, ...] = ()  # Conflicts and Breaks, verbatim
    parts: tuple[str, ...] = ()  # sorted names of the LockedParts that it belongs to


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedPart:
    """A set of packages that is solved for itself.

    `root` is the machine without a kernel, `kernel-full` and `kernel-cloud` what either kernel adds to it, and
    `image-NAME` a baked container image. `requests` are the names that the recipe asks for.
    """

    name: str
    requests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedWaiver:
    """A dependency that the recipe does without: see `builder.recipe.model.Waiver`."""

    package: str
    depends: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """All inputs that come from outside the repository. `epoch` is SOURCE_DATE_EPOCH (seconds, UTC).

    `healed_from` is the SHA-256 of the lock file that this one replaces while its files are gone from the mirror,
    empty for a lock that was made by `berth lock`.
    """

    recipe: str
    architecture: str
    epoch: int
    releases: tuple[LockedRelease, ...]
    packages: tuple[LockedPackage, ...]  # sorted by name
    suite: str = ""
    parts: tuple[LockedPart, ...] = ()
    waived: tuple[LockedWaiver, ...] = ()
    healed_from: str = ""

    def by_name(self) -> dict[str, LockedPackage]:
        """Return a fresh index by package name."""
        return {package.name: package for package in self.packages}
