"""Bakes the recipe's container images: from packages of the lock or verified OCI layouts to entries of the slot."""

from __future__ import annotations

import re

from builder.errors import BuildError, RecipeError
from builder.fetch.store import Store
from builder.images.image import Image
from builder.images.layout import read_layout
from builder.images.packages import image_of
from builder.images.storage import store_entries
from builder.lock.model import Lock, LockedPackage
from builder.progress import Progress
from builder.recipe.model import BakedImage, Recipe
from builder.rootfs.deb import read_deb
from builder.rootfs.entry import Entry
from builder.tools.call import Tools

_DEPENDENCY = re.compile(r"[a-z0-9][a-z0-9+.-]*")  # a package's name at the head of `libc6:any (>= 2.38)`


def bake(recipe: Recipe, lock: Lock, store: Store, tools: Tools, progress: Progress) -> tuple[Entry, ...]:  # noqa: ARG001 - one form for all steps
    """Return the store of baked images below `usr/lib/berth/images`, sorted by path; () where there are none.

    Raise BuildError or VerificationError for an image that cannot be made, RecipeError for one that the lock does
    not cover.
    """
    if not recipe.build.images:
        return ()
    task = progress.task("baked images", total=len(recipe.build.images), unit="images")
    images = []
    for image in recipe.build.images:
        images.append(_bake_one(image, recipe, lock, store))
        task.advance(1)
    entries = store_entries(images, store)
    size = sum(entry.size for entry in entries)
    task.done(f"{len(images)} in {size / 1e6:.1f} MB")
    return entries


def _bake_one(image: BakedImage, recipe: Recipe, lock: Lock, store: Store) -> Image:
    if image.oci is not None:
        if image.digest is None:
            raise RecipeError(
                f"the image {image.name} has no digest",
                hint="write `digest: sha256:…`, the one in the layout's index.json",
                place=image.place,
            )
        return read_layout(image.oci, image.digest, name=image.name, store=store, architecture=lock.architecture)
    waived = frozenset((waiver.package, waiver.depends) for waiver in recipe.build.waive)
    packages: dict[str, tuple[Entry, ...]] = {}
    for package in _closure(image, lock, waived):
        if not store.has(package.sha256):
            raise BuildError(
                f"{package.name} {package.version}, a part of the image {image.name}, is not in the store",
                hint=f"run `berth fetch {lock.recipe}` first",
            )
        deb = read_deb(store.path(package.sha256), name=package.name, store=store, sha256=package.sha256)
        packages[package.name] = deb.entries
    return image_of(image, packages, store, lock.epoch)


def _closure(image: BakedImage, lock: Lock, waived: frozenset[tuple[str, str]]) -> tuple[LockedPackage, ...]:
    """Return the image's packages with all that they depend on, sorted by name, as the lock has them.

    Of alternatives the first one that is in the lock is taken. A group of which the lock has nothing is met by a
    package that provides it, or waived: the lock was solved, so it is not asked again.
    """
    locked = lock.by_name()
    chosen: dict[str, LockedPackage] = {}
    for request in image.packages:
        if request.name not in locked:
            raise RecipeError(
                f"the image {image.name} is made of {request.name}, which is not in the lock",
                hint=f"run `berth lock {lock.recipe} --update`",
                place=request.place,
            )
    waiting = [request.name for request in image.packages]
    while waiting:
        package = locked[waiting.pop()]
        if package.name in chosen:
            continue
        chosen[package.name] = package
        for group in package.depends:
            names = [_DEPENDENCY.match(alternative.strip()) for alternative in group.split("|")]
            known = [name.group() for name in names if name and name.group() in locked]
            if known and (package.name, known[0]) not in waived:
                waiting.append(known[0])
    return tuple(chosen[name] for name in sorted(chosen))
