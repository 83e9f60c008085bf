"""Locks a recipe: from names and a suite to packages by hash."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from builder.errors import LockError, Place
from builder.lock.anchor import anchor
from builder.lock.depends import is_waived
from builder.lock.model import Lock, LockedPart, LockedWaiver
from builder.lock.select import ROOT, image_part, kernel_part
from builder.lock.solve import Solver, solve_parts
from builder.lock.universe import Pinned
from builder.recipe.asked import asked_for
from builder.recipe.model import PackageRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.lock.archive import Archive
    from builder.lock.model import LockedPackage
    from builder.progress import Progress
    from builder.recipe.model import Recipe, Waiver

# Both are in every lock, so that `--set build.kernel=cloud` needs no other.
_KERNELS = {"full": "linux-image-{}", "cloud": "linux-image-cloud-{}"}


def recipe_parts(recipe: Recipe) -> dict[str, tuple[PackageRequest, ...]]:
    """Return what each part of the recipe's lock is asked to have. Pure."""
    build = recipe.build
    parts = {ROOT: build.packages}
    if build.kernel != "none":
        for kernel, package in _KERNELS.items():
            name = package.format(build.architecture)
            parts[kernel_part(kernel)] = (PackageRequest(name=name, place=Place(file=str(recipe.path))),)
    parts.update({image_part(image.name): image.packages for image in build.images if image.packages})
    return parts


def lock_from(
    recipe: Recipe, archive: Archive, solver: Solver, progress: Progress, *, previous: Lock | None = None
) -> Lock:
    """Lock `recipe` from indexes that are already there. Raises LockError.

    What `previous` has keeps its version, even one that the mirror no longer lists: that is told. A lock of another
    suite or architecture pins nothing.
    """
    parts = recipe_parts(recipe)
    waive = recipe.build.waive
    same = previous is not None and (previous.suite, previous.architecture) == (archive.suite, archive.architecture)
    pins = previous.by_name() if previous is not None and same else {}
    packages = _solved(recipe, archive, solver, parts, pins)
    anchored = anchor(packages, archive, previous.releases if previous is not None else ())
    if anchored.unlisted:
        progress.note(_told(recipe, anchored.unlisted))
    for waiver in _idle_waivers(waive, packages):
        progress.note(f"{waiver.place}: {waiver.package} does not depend on {waiver.depends}: the waiver can go")
    return Lock(
        recipe=recipe.name,
        suite=archive.suite,
        architecture=archive.architecture,
        epoch=max(release.date for release in archive.releases),
        releases=anchored.releases,
        packages=anchored.packages,
        parts=tuple(
            LockedPart(name=name, requests=tuple(one.name for one in requests)) for name, requests in parts.items()
        ),
        waived=locked_waivers(waive),
    )


def _solved(
    recipe: Recipe,
    archive: Archive,
    solver: Solver,
    parts: Mapping[str, tuple[PackageRequest, ...]],
    pins: Mapping[str, LockedPackage],
) -> tuple[LockedPackage, ...]:
    """Solve with all pins. Where only they stand in the way, the error names them and says how they go."""
    waive = recipe.build.waive
    try:
        return solve_parts(solver, Pinned(archive.universe, pins) if pins else archive.universe, parts, waive)
    except LockError as failure:
        if not pins:
            raise
        # If there is no answer without the pins either, that is what is raised.
        free = {package.name: package for package in solve_parts(solver, archive.universe, parts, waive)}
        moved = [pin for name, pin in pins.items() if name in free and free[name].version != pin.version]
        said = set(re.findall(r"[a-z0-9][a-z0-9+.-]+", failure.message))
        guilty = [pin for pin in moved if pin.name in said] or moved
        held = ", ".join(f"{pin.name} at {pin.version} (the mirror has {free[pin.name].version})" for pin in guilty)
        raise LockError(
            f"{failure.message}\nThe cause is the lock, which holds {held or 'other packages'}",
            place=failure.place,
            hint=f"take what the mirror has today: {asked_for(recipe).to_lock('--update')}",
        ) from None


def _told(recipe: Recipe, unlisted: tuple[LockedPackage, ...]) -> str:
    names = ", ".join(f"{package.name} {package.version}" for package in unlisted)
    return (
        f"the lock keeps what the mirror no longer lists, and may soon not have: {names}; to take newer versions: "
        f"{asked_for(recipe).to_lock('--update')}"
    )


def check_fits(recipe: Recipe, lock: Lock) -> None:
    """Make sure that `lock` answers what `recipe` asks today. Raises LockError with the place of what is new.

    A kernel that is not built, and an image that is no longer there or made of no package, may stay in the lock.
    """
    hint = f"lock anew: {asked_for(recipe).to_lock()}"
    if (lock.suite, lock.architecture) != (recipe.build.suite, recipe.build.architecture):
        raise LockError(
            f"the lock is for {lock.suite} on {lock.architecture}, the recipe for {recipe.build.suite} on "
            f"{recipe.build.architecture}",
            place=recipe.suite_place,
            hint=hint,
        )
    have = {part.name: set(part.requests) for part in lock.parts}
    wanted = recipe_parts(recipe)
    for name, requests in wanted.items():
        for request in requests:
            if request.name not in have.get(name, set()):
                raise LockError(f"the lock does not have {request.name}", place=request.place, hint=hint)
    _refuse_dropped(recipe, have, hint)
    if locked_waivers(recipe.build.waive) != lock.waived:
        place = Place(file=str(recipe.path))
        raise LockError("the recipe's `waive` changed since the lock was made", place=place, hint=hint)


def _refuse_dropped(recipe: Recipe, have: Mapping[str, set[str]], hint: str) -> None:
    """What a list no longer names would still be taken from the lock, into the root or a baked image."""
    lists = [(ROOT, recipe.build.packages, "the recipe", Place(file=str(recipe.path)))]
    lists += [
        (image_part(image.name), image.packages, f"the image {image.name}", image.place)
        for image in recipe.build.images
        if image.packages
    ]
    for part, requests, whose, place in lists:
        if dropped := sorted(have[part] - {request.name for request in requests}):
            raise LockError(
                f"{whose} no longer asks for {', '.join(dropped)}",
                place=requests[-1].place if requests else place,
                hint=hint,
            )


def _idle_waivers(waive: tuple[Waiver, ...], packages: tuple[LockedPackage, ...]) -> tuple[Waiver, ...]:
    groups = [(package.name, group) for package in packages for group in package.depends]
    return tuple(waiver for waiver in waive if not any(is_waived(name, group, (waiver,)) for name, group in groups))


def locked_waivers(waive: tuple[Waiver, ...]) -> tuple[LockedWaiver, ...]:
    """Return the waivers as a lock keeps them: sorted, without reasons."""
    pairs = sorted({(waiver.package, waiver.depends) for waiver in waive})
    return tuple(LockedWaiver(package=package, depends=depends) for package, depends in pairs)
