"""An image from an archive on the machine, and what people are told of one that can't be fetched anew.

Apart from what reads archives and asks engines, for each of those programs does without the other's modules.
"""

from __future__ import annotations

import sys

PREFIX = "archive:"


def is_archive(image: str) -> bool:
    """Tell whether a container's `image:` names an archive on the machine."""
    return image.startswith(PREFIX)


def path_of(image: str) -> str:
    """Return where the archive lies."""
    return image.removeprefix(PREFIX)


def gone(path: str) -> str:
    """Say that an archive is not there."""
    return f"there is no archive {path}"


def tell_kept(image: str, error: Exception) -> None:
    """Say in the container's log that its image is the one of before, and why."""
    sys.stderr.write(f"berth: {image} stays as it is here: {error}\n")
