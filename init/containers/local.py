"""Images that are on the machine, found by what a container's `image:` says: baked ones, and those made local before.

/usr/lib/berth/images      the slot's own, in the layout of containers-storage
/var/lib/berth/images      unpacked from archives and registries (`image.py` says how it lies there)
"""

# These programs start often, and pathlib costs time at each start.
# ruff: noqa: PTH116, PTH123

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from init.containers.baked import IMAGES_FILE, LAYERS_FILE, Baked, parse
from init.formats.release import IMAGES_PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Local:
    """An image whose layers can be mounted: `lowers` are relative to `folder`, topmost first."""

    folder: str
    lowers: tuple[str, ...]
    config: dict[str, Any]

    @property
    def root_mode(self) -> int:
        """The mode that the root folder has in the topmost layer; an empty layer above would hide it."""
        return os.stat(f"{self.folder}/{self.lowers[0]}").st_mode & 0o7777 if self.lowers else 0o755


def read_baked(root: str = IMAGES_PATH) -> Baked:
    """Return what the slot has baked in. Raise ValueError where its lists are damaged."""
    try:
        return parse(_read(f"{root}/{IMAGES_FILE}"), _read(f"{root}/{LAYERS_FILE}"))
    except FileNotFoundError:
        return Baked()


def find_baked(name: str, root: str = IMAGES_PATH) -> Local | None:
    """Return the baked image that `name` means, None where there is none."""
    baked = read_baked(root).find(name)
    if baked is None:
        return None
    config = json.loads(_read(f"{root}/{baked.config_file}"))
    # the short names stand in the store: making them anew would load a whole library for one hash
    lowers = tuple(f"l/{_read(f'{root}/overlay/{layer}/link').decode()}" for layer in baked.layers)
    return Local(folder=f"{root}/overlay", lowers=lowers, config=config)


def _read(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()
