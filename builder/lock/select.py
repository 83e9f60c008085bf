"""Takes out of a lock what one purpose needs: the machine with one kernel, or one baked image. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from builder.errors import LockError

if TYPE_CHECKING:
    from builder.lock.model import Lock, LockedPackage

ROOT = "root"


def kernel_part(kernel: str) -> str:
    """Return the part that holds what a kernel (`full`, `cloud`) adds to the root."""
    return f"kernel-{kernel}"


def image_part(name: str) -> str:
    """Return the part of a baked image."""
    return f"image-{name}"


def packages_of(lock: Lock, *parts: str) -> tuple[LockedPackage, ...]:
    """Return the packages of some parts, sorted by name. Raises LockError for a part that the lock does not have."""
    have = {part.name for part in lock.parts}
    for part in parts:
        if part not in have:
            raise LockError(
                f"the lock of {lock.recipe} has no part {part}", hint="the recipe changed: `berth lock` makes it anew"
            )
    wanted = set(parts)
    return tuple(package for package in lock.packages if wanted & set(package.parts))


def root_packages(lock: Lock, kernel: str) -> tuple[LockedPackage, ...]:
    """Return the packages of the machine's root with one kernel; `none` adds no kernel."""
    return packages_of(lock, ROOT) if kernel == "none" else packages_of(lock, ROOT, kernel_part(kernel))


def image_packages(lock: Lock, name: str) -> tuple[LockedPackage, ...]:
    """Return the packages of a baked image."""
    return packages_of(lock, image_part(name))


def for_build(lock: Lock, kernel: str) -> Lock:
    """Return the lock without the kernel that is not built: what a build has to fetch."""
    other = {part.name for part in lock.parts if part.name.startswith("kernel-")} - {kernel_part(kernel)}
    return replace(lock, packages=tuple(package for package in lock.packages if not set(package.parts) <= other))
