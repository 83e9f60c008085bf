"""The program `container`: starts, fetches and cleans up containers, as a child of PID 1.

    container run NAME        start a declared container; through crun this process becomes it
    container fetch NAME      make its image present on the machine
    container unpublish NAME  take its ports' rules away
    container link-images     give dockerd the slot's baked images, before it starts

Its standard output and error are the service's log. It ends with 125 where the container could not be started.
"""

# These programs start often, and pathlib costs time at each start.
# ruff: noqa: PTH123

from __future__ import annotations

import sys

from init.containers.bundle import BundleError
from init.containers.local import find_baked, read_baked
from init.containers.order import Order, decode, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NOT_STARTED = 125  # as `docker run` and `podman run` say it


class NotHere(Exception):
    """What the container needs is not on the machine."""


def main(argv: list[str]) -> int:
    """Run one verb; return the exit status."""
    match argv:
        case ["run", name]:
            return _guarded(f"{name} can't be started", lambda: _run(_order(name)))
        case ["fetch", name]:
            return _guarded(f"{name} can't be started", lambda: _fetch(_order(name)))
        case ["unpublish", name]:
            return _guarded(f"the ports of {name} can't be taken back", lambda: _unpublish(name))
        case ["link-images"]:
            return _guarded("baked images can't be handed to docker", _link_images)
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


def _guarded(what: str, verb: Callable[[], int]) -> int:
    """Run a verb; say in one line what kept it from its end."""
    try:
        return verb()
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    except Exception as error:
        reason = str(error) or type(error).__name__
    sys.stderr.write(f"berth: {what}: {reason}\n")
    return NOT_STARTED


def _order(name: str) -> Order:
    with open(path_of(name), "rb") as stream:
        try:
            return decode(stream.read())
        except ValueError as error:
            raise BundleError(f"its order is damaged: {error}") from error


def _run(order: Order) -> int:
    if order.engine == "docker":
        from init.containers import docker  # noqa: PLC0415 - one engine, one import

        return docker.run(order, baked=read_baked().find(order.container.image) is not None)
    from init.containers import crun  # noqa: PLC0415

    image = find_baked(order.container.image)
    if image is None:
        from init.containers.image import Images  # noqa: PLC0415 - baked images need none of it

        image = Images().find(order.container.image)
    if image is None:
        raise NotHere(f"the image {order.container.image} is not on this machine")
    crun.start(order, image)
    return NOT_STARTED


def _fetch(order: Order) -> int:
    from init.containers.fetch import fetch  # noqa: PLC0415
    from init.containers.image import Images  # noqa: PLC0415

    fetch(order, order.engine, Images())
    return 0


def _unpublish(name: str) -> int:
    from init.containers import nftables, ports  # noqa: PLC0415 - one engine, one import

    nftables.commit(nftables.destroy(ports.table_of(name)))
    return 0


def _link_images() -> int:
    from init.containers.docker_store import link_images  # noqa: PLC0415

    link_images(read_baked())
    return 0
