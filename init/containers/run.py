"""The program `container`: starts, fetches and cleans up containers, as a child of PID 1.

    container run NAME        start a declared container through crun; this process becomes it

Its standard output and error are the service's log. It ends with 125 where the container could not be started.
"""

# These programs start often, and pathlib costs time at each start.
# ruff: noqa: PTH123

from __future__ import annotations

import sys

from init.containers import crun
from init.containers.bundle import BundleError
from init.containers.local import find_baked
from init.containers.order import Order, decode, path_of

NOT_STARTED = 125  # as `docker run` and `podman run` say it


def main(argv: list[str]) -> int:
    """Run one verb; return the exit status."""
    match argv:
        case ["run", name]:
            return _guarded(name, _run)
        case _:
            sys.stderr.write(__doc__ or "")
            return 2


def _guarded(name: str, verb: object) -> int:
    try:
        with open(path_of(name), "rb") as stream:
            order = decode(stream.read())
        return verb(order)  # type: ignore[operator,no-any-return]
    except (BundleError, crun.StartError) as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    except ValueError as error:
        reason = f"its order is damaged: {error}"
    sys.stderr.write(f"berth: {name} can't be started: {reason}\n")
    return NOT_STARTED


def _run(order: Order) -> int:
    image = find_baked(order.container.image)
    if image is None:
        raise crun.StartError(f"the image {order.container.image} is not on this machine")
    crun.start(order, image)
    return NOT_STARTED
