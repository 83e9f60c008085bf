"""What the store of baked images holds: names, layers and configurations, read from its JSON files. No I/O here."""

from __future__ import annotations

import json
from dataclasses import dataclass

from init.formats.imagestore import big_data_name, full_name, short_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGES_FILE = "overlay-images/images.json"
LAYERS_FILE = "overlay-layers/layers.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class BakedImage:
    """One image. `layers` are ids of folders below `overlay/`, topmost first; `diff_ids` belong to them."""

    id: str
    names: tuple[str, ...]
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...]
    sizes: tuple[int, ...] = ()

    @property
    def config_file(self) -> str:
        """Where the image's configuration lies below the store."""
        return f"overlay-images/{self.id}/{big_data_name(f'sha256:{self.id}')}"

    @property
    def lowers(self) -> tuple[str, ...]:
        """The layers' folders relative to `overlay/`, topmost first, in their short form."""
        return tuple(f"l/{short_name(layer)}" for layer in self.layers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Baked:
    """All baked images of the running slot."""

    images: tuple[BakedImage, ...] = ()

    def find(self, name: str) -> BakedImage | None:
        """Return the image that a container's `image:` names, if it is a baked one."""
        if name.startswith(("archive:", "/", ".")):
            return None
        wanted = {name, full_name(name)}
        for image in self.images:
            if wanted.intersection(image.names):
                return image
        return None


def parse(images_json: bytes, layers_json: bytes) -> Baked:
    """Read the store's two lists. Raise ValueError where they are not what the builder wrote."""
    try:
        layers = {record["id"]: record for record in json.loads(layers_json)}
        return Baked(images=tuple(_image(record, layers) for record in json.loads(images_json)))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the list of baked images is damaged: {error}") from error


def _image(record: Mapping[str, object], layers: Mapping[str, Mapping[str, object]]) -> BakedImage:
    ids: list[str] = []
    current = record["layer"]
    while current and len(ids) <= len(layers):
        layer = str(current)
        ids.append(layer)
        current = layers[layer].get("parent")
    names = record["names"]
    return BakedImage(
        id=str(record["id"]),
        names=tuple(str(name) for name in names) if isinstance(names, list) else (),
        layers=tuple(ids),
        diff_ids=tuple(str(layers[layer]["diff-digest"]).removeprefix("sha256:") for layer in ids),
        sizes=tuple(int(str(layers[layer]["diff-size"])) for layer in ids),
    )
