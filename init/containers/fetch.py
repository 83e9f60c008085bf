"""Makes the image of one container present on the machine, before it starts: `container fetch NAME`.

crun has its images unpacked by us, below `/var/lib/berth/images`; podman is only handed an archive here, for it
pulls by itself; dockerd is told to load or pull.
"""

from __future__ import annotations

import os
import subprocess
import sys

from init.containers import archive, archived, reference, registry
from init.containers.image import ImageError, Images
from init.containers.podman import PODMAN, archive_reference
from init.containers.unpack import UnpackError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.containers.order import Order


def fetch(order: Order, engine: str, images: Images) -> None:
    """Fetch what is not there. Raise ImageError with the reason.

    With `pull: always` a registry that can't be reached is no reason not to start what is here already, and neither
    is an archive that is gone or damaged.
    """
    image = order.container.image
    if engine == "podman":
        try:
            _load_into_podman(order.container.name, archived.path_of(image))
        except ImageError as error:
            if _podman("image", "exists", archive_reference(order.container.name)).returncode != 0:
                raise
            archived.tell_kept(image, error)
        return
    if engine == "docker":
        from init.containers import docker  # noqa: PLC0415 - one engine, one import

        docker.fetch(order)
        return
    os.environ.update(dict(order.environment))  # proxies
    here = images.find(image) is not None
    try:
        if archived.is_archive(image):
            _from_archive(image, images)
        elif not here or order.container.pull == "always":
            _from_registry(order, images, here=here)
    except (ImageError, UnpackError) as error:
        if not here:
            raise ImageError(f"the image {image}: {error}") from error
        archived.tell_kept(image, error)
    images.prune(order.images)


def _from_archive(image: str, images: Images) -> None:
    """Unpack an archive where it holds another image than it did."""
    with archive.opened(archived.path_of(image)) as found:
        if images.find(image) is None or images.digest(image) != found.digest:
            images.add(image, found)


def _from_registry(order: Order, images: Images, *, here: bool) -> None:
    image = order.container.image
    if order.container.pull == "never":
        raise ImageError("it is not on this machine, and `pull: never` says not to fetch it")
    client = registry.Client(_named(image), order.registries, order.ca_certificates)
    if here and client.digest() == images.digest(image):
        return
    sys.stderr.write(f"berth: fetching {image}\n")
    images.add(image, client.find())


def _named(image: str) -> reference.Reference:
    try:
        return reference.parse(image)
    except ValueError as error:
        raise ImageError(str(error)) from error


def _load_into_podman(name: str, path: str) -> None:
    """Load an archive and give its image the name that the container's command line has."""
    loaded = _podman("load", "--quiet", "--input", path)
    lines = [line.partition(": ")[2] for line in loaded.stdout.splitlines() if line.startswith("Loaded image")]
    if loaded.returncode != 0 or not lines:
        raise ImageError(f"podman can't load {path}: {loaded.stderr.strip() or 'it names no image'}")
    tagged = _podman("tag", lines[-1], archive_reference(name))
    if tagged.returncode != 0:
        raise ImageError(f"podman can't name the image of {path}: {tagged.stderr.strip()}")


def _podman(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((PODMAN, *arguments), capture_output=True, text=True, check=False)
