"""Tells what moved between two locks: packages, versions, bytes. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from builder.lock.version import order

if TYPE_CHECKING:
    from builder.lock.model import Lock, LockedPackage

Kind = Literal["added", "removed", "upgraded", "downgraded", "rebuilt"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One package that moved. `old` and `new` are versions, None where absent; sizes are .deb bytes, 0 where absent.

    `rebuilt` is the same version with other bytes.
    """

    kind: Kind
    name: str
    old: str | None
    new: str | None
    old_size: int
    new_size: int
    security: bool  # found through the security suite

    @property
    def growth(self) -> int:
        """Bytes of download more than before; negative for less."""
        return self.new_size - self.old_size


@dataclass(frozen=True, kw_only=True, slots=True)
class LockDifference:
    """Everything that moved, sorted by name. `download` is the bytes that the new lock needs and the old did not."""

    changes: tuple[Change, ...]
    growth: int
    download: int
    old_epoch: int
    new_epoch: int


def compare_locks(old: Lock, new: Lock) -> LockDifference:
    """Return what moved from `old` to `new`."""
    before, after = old.by_name(), new.by_name()
    security = {release.suite for release in new.releases if release.archive == "security"}
    changes = []
    for name in sorted(set(before) | set(after)):
        one, other = before.get(name), after.get(name)
        kind = _kind(one, other)
        if kind is not None:
            changes.append(
                Change(
                    kind=kind,
                    name=name,
                    old=one.version if one else None,
                    new=other.version if other else None,
                    old_size=one.size if one else 0,
                    new_size=other.size if other else 0,
                    security=other is not None and other.suite in security,
                )
            )
    have = {package.sha256 for package in old.packages}
    return LockDifference(
        changes=tuple(changes),
        growth=sum(change.growth for change in changes),
        download=sum(package.size for package in new.packages if package.sha256 not in have),
        old_epoch=old.epoch,
        new_epoch=new.epoch,
    )


def _kind(old: LockedPackage | None, new: LockedPackage | None) -> Kind | None:
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old.sha256 == new.sha256:
        return None
    if old.version == new.version:
        return "rebuilt"
    return "upgraded" if order(new.version) > order(old.version) else "downgraded"
