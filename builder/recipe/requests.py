"""Which packages a recipe asks for, the kernel's among them."""

from __future__ import annotations

from builder.errors import Place
from builder.recipe.model import PackageRequest, Recipe

_KERNELS = {"full": "linux-image-{}", "cloud": "linux-image-cloud-{}"}


def requests(recipe: Recipe) -> tuple[PackageRequest, ...]:
    """Return the packages of the root: those of the list, and the kernel that `build.kernel` names."""
    pattern = _KERNELS.get(recipe.build.kernel)
    if pattern is None:
        return recipe.build.packages
    kernel = PackageRequest(name=pattern.format(recipe.build.architecture), place=Place(file=str(recipe.path)))
    return (*recipe.build.packages, kernel)


def image_requests(recipe: Recipe) -> tuple[PackageRequest, ...]:
    """Return the packages that the baked images are made from, each once. They do not become part of the root."""
    first: dict[str, PackageRequest] = {}
    for image in recipe.build.images:
        for request in image.packages:
            first.setdefault(request.name, request)
    return tuple(first.values())
