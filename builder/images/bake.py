"""Bakes the recipe's container images: from packages of the lock or verified OCI layouts to entries of the slot."""

from __future__ import annotations

from builder.errors import BerthError, BuildError, RecipeError
from builder.fetch.store import Store
from builder.images.image import Image
from builder.images.layout import read_layout
from builder.images.packages import image_of
from builder.images.storage import store_entries
from builder.lock.model import Lock
from builder.lock.select import image_packages
from builder.progress import Progress
from builder.recipe.model import BakedImage, Recipe
from builder.rootfs.deb import read_deb
from builder.rootfs.entry import Entry
from builder.tools.call import Tools


def bake(recipe: Recipe, lock: Lock, store: Store, tools: Tools, progress: Progress) -> tuple[Entry, ...]:  # noqa: ARG001 - one form for all steps
    """Return the store of baked images below `usr/lib/berth/images`, sorted by path; () where there are none.

    Raise BuildError or VerificationError for an image that cannot be made, LockError for one that the lock does not
    cover.
    """
    if not recipe.build.images:
        return ()
    task = progress.task("baked images", total=len(recipe.build.images), unit="images")
    images = []
    for image in recipe.build.images:
        images.append(_bake_one(image, lock, store))
        task.advance(1)
    entries = store_entries(images, store)
    size = sum(entry.size for entry in entries)
    task.done(f"{len(images)} in {size / 1e6:.1f} MB")
    return entries


def _bake_one(image: BakedImage, lock: Lock, store: Store) -> Image:
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
    packages: dict[str, tuple[Entry, ...]] = {}
    for package in image_packages(lock, image.name) if image.packages else ():
        if not store.has(package.sha256):
            raise BuildError(
                f"{package.name} {package.version}, a part of the image {image.name}, is not in the store",
                hint=f"run `berth fetch {lock.recipe}` first",
                place=image.place,
            )
        deb = read_deb(store.path(package.sha256), name=package.name, store=store, sha256=package.sha256)
        packages[package.name] = deb.entries
    return image_of(image, packages, store, lock.epoch, lock.architecture)
