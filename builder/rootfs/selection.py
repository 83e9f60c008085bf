"""Which of a lock's packages become part of the root tree.

A lock holds both kernels, so that `build.kernel` can be changed without a network, and the packages of which baked
images consist. Neither the other kernel nor what only an image needs gets into the root.
"""

from __future__ import annotations

from builder.errors import BuildError
from builder.lock.closure import reach
from builder.lock.model import Lock, LockedPackage
from builder.recipe.model import Recipe

_KERNEL = "linux-image-"


def select_packages(lock: Lock, recipe: Recipe) -> tuple[LockedPackage, ...]:
    """Return the packages of the root tree, sorted by name; raise BuildError where there is no kernel to boot."""
    cloud = recipe.build.kernel == "cloud"
    wrong = {
        package.name for package in lock.packages
        if package.name.startswith(_KERNEL) and is_cloud(package.name) != cloud
    }  # fmt: skip
    left = _only_for_images(lock, recipe)
    chosen = tuple(
        package for package in sorted(lock.packages, key=lambda item: item.name)
        if package.name not in wrong and package.name not in left
    )  # fmt: skip
    if wrong and not any(package.name.startswith(_KERNEL) for package in chosen):
        raise BuildError(
            f"the lock has no kernel of the kind `{recipe.build.kernel}`",
            hint=f"run `berth lock {recipe.name} --update`, which takes both kinds",
        )
    return chosen


def is_cloud(package: str) -> bool:
    """Return whether a kernel's package (`linux-image-6.12.43+deb13-cloud-amd64`) is of the small kind for VMs."""
    return "-cloud-" in package


def _only_for_images(lock: Lock, recipe: Recipe) -> set[str]:
    wanted = [request.name for image in recipe.build.images for request in image.packages]
    if not wanted:
        return set()
    own = [request.name for request in recipe.build.packages]
    own += [package.name for package in lock.packages if package.name.startswith(_KERNEL)]
    return set(reach(lock.packages, wanted, ())) - set(reach(lock.packages, own, recipe.build.waive))
