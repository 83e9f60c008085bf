"""What is in an image and was made by others, each by its hash: what the bill of materials and the manifest tell of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import BuildError
from builder.grub.core import PACKAGES
from builder.lock.select import ROOT, image_part, kernel_part, packages_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.lock.model import Lock, LockedPackage
    from builder.recipe.model import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeImage:
    """A baked image that came whole, as an OCI layout. `digest` is the recipe's: `sha256:` and hex."""

    name: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """`packages` are unpacked into the root or into a baked image; `loader` is what GRUB's images consist of.

    All are sorted by name.
    """

    packages: tuple[LockedPackage, ...]
    loader: tuple[LockedPackage, ...]
    images: tuple[WholeImage, ...]


def contents_of(recipe: Recipe, lock: Lock, tools: Iterable[LockedPackage]) -> Contents:
    """Return what a build of the recipe puts into its image; `tools` are the packages of its tools tree.

    Raises LockError for a part that the lock does not have, BuildError where the tools tree lacks GRUB.
    """
    build = recipe.build
    parts = [ROOT, *([] if build.kernel == "none" else [kernel_part(build.kernel)])]
    parts += [image_part(image.name) for image in build.images if image.packages]
    have = {package.name: package for package in tools}
    for name in PACKAGES:
        if name not in have:
            raise BuildError(f"the tools tree has no {name}", hint="its package is missing in recipes/tools.yaml")
    whole = (image for image in build.images if image.oci is not None)
    return Contents(
        packages=packages_of(lock, *parts),
        loader=tuple(have[name] for name in PACKAGES),
        images=tuple(
            sorted(
                (WholeImage(name=image.name, digest=image.digest or "") for image in whole),
                key=lambda image: image.name,
            )
        ),
    )
