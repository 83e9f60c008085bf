"""Bakes the recipe's container images: from packages of the lock or verified OCI layouts to entries of the slot."""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import BerthError, BuildError, RecipeError
from builder.fetch.store import Store
from builder.images.image import Image
from builder.images.layout import read_layout
from builder.images.packages import image_of, left_out
from builder.images.storage import store_entries
from builder.lock.model import Lock
from builder.lock.select import image_packages
from builder.progress import Progress
from builder.recipe.asked import asked_for
from builder.recipe.model import BakedImage, Recipe
from builder.rootfs.deb import Deb, read_deb
from builder.rootfs.entry import Entry
from builder.rootfs.exclude import Saved


@dataclass(frozen=True, kw_only=True, slots=True)
class Baked:
    """The store of baked images below `usr/lib/berth/images`, sorted by path, and the packages of each image.

    `saved` says what the rules for such packages left out.
    """

    entries: tuple[Entry, ...] = ()
    packages: tuple[tuple[BakedImage, tuple[Deb, ...]], ...] = ()
    saved: tuple[Saved, ...] = ()


def bake(recipe: Recipe, lock: Lock, store: Store, progress: Progress) -> Baked:
    """Return the recipe's baked images; without entries where there are none.

    Raise BuildError or VerificationError for an image that cannot be made, LockError for one that the lock does not
    cover. The packages' maintainer scripts are for the caller to judge (`builder.stages.scripts`).
    """
    if not recipe.build.images:
        return Baked()
    task = progress.task("baked images", total=len(recipe.build.images), unit="images")
    images = []
    packages = []
    saved: list[Saved] = []
    for image in recipe.build.images:
        debs = () if image.oci is not None else _debs(image, lock, store, cure=asked_for(recipe).to_fetch())
        packages.append((image, debs))
        saved += left_out(image.name, {deb.name: deb.entries for deb in debs})
        images.append(_bake_one(image, debs, lock, store))
        task.advance(1)
    entries = store_entries(images, store)
    size = sum(entry.size for entry in entries)
    task.done(f"{len(images)} in {size / 1e6:.1f} MB")
    return Baked(entries=entries, packages=tuple(packages), saved=tuple(saved))


def _bake_one(image: BakedImage, debs: tuple[Deb, ...], lock: Lock, store: Store) -> Image:
    if image.oci is not None:
        if image.digest is None:
            raise RecipeError(
                f"the image {image.name} has no digest",
                hint="write `digest: sha256:…`, the one in the layout's index.json",
                place=image.place,
            )
        try:
            return read_layout(image.oci, image.digest, name=image.name, store=store, architecture=lock.architecture)
        except BerthError as error:
            error.place = error.place or image.place
            raise
    return image_of(image, {deb.name: deb.entries for deb in debs}, store, lock.epoch, lock.architecture)


def _debs(image: BakedImage, lock: Lock, store: Store, *, cure: str) -> tuple[Deb, ...]:
    debs = []
    for package in image_packages(lock, image.name) if image.packages else ():
        if not store.has(package.sha256):
            raise BuildError(
                f"{package.name} {package.version}, a part of the image {image.name}, is not in the store",
                hint=f"bring it first: {cure}",
                place=image.place,
            )
        debs.append(read_deb(store.path(package.sha256), name=package.name, store=store, sha256=package.sha256))
    return tuple(debs)
