"""Images unpacked on the machine for crun: verified, each layer once, complete or not there.

    /var/lib/berth/images/layers/SHORT/     one layer's files, named after its diff id; made elsewhere, then renamed
    /var/lib/berth/images/refs/HEX.json     {reference, digest, layers, config}: what one `image:` stands for
    /var/lib/berth/images/partial/…         under way; what a power cut left there goes away with the next pruning

A layer comes from a stranger. It is unpacked by a child whose root is the layer's own folder, so that no name and no
link in it can reach anything else; what has no business in a layer is refused there, too.
"""

# These programs start often, and pathlib costs time at each start.
# ruff: noqa: PTH101, PTH102, PTH103, PTH104, PTH108, PTH112, PTH120, PTH123, PTH208

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass

from init.containers.local import Local
from init.containers.reference import is_digest
from init.formats.imagestore import short_name
from init.formats.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, BinaryIO

ROOT = "/var/lib/berth/images"
ARCHITECTURE = "amd64"
_UNDER_WAY = "partial"


class ImageError(Exception):
    """The image can't be used; the text says why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blob:
    """Where a layer's bytes come from. `digest` (`sha256:…`) is that of the bytes as they come, "" if unknown.

    `open` may be called once; it returns a stream.
    """

    digest: str
    size: int | None
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """An image as an archive or a registry has it: the configuration's bytes, and its layers, lowest first."""

    digest: str
    config: bytes
    layers: tuple[Blob, ...]


class Images:
    """The folder of unpacked images."""

    def __init__(self, root: str = ROOT) -> None:
        self._root = root

    def find(self, reference: str) -> Local | None:
        """Return what was unpacked for a reference, None where something of it is missing."""
        try:
            with open(self._record_path(reference), "rb") as stream:
                record = json.load(stream)
            lowers = tuple(short_name(layer) for layer in reversed(record["layers"]))
        except (OSError, ValueError, KeyError):
            return None
        if not lowers or not all(os.path.isdir(f"{self._root}/layers/{lower}") for lower in lowers):
            return None
        return Local(folder=f"{self._root}/layers", lowers=lowers, config=record["config"])

    def digest(self, reference: str) -> str | None:
        """Return the digest that the reference had when it was unpacked."""
        try:
            with open(self._record_path(reference), "rb") as stream:
                return str(json.load(stream)["digest"])
        except (OSError, ValueError, KeyError):
            return None

    def add(self, reference: str, found: Found) -> None:
        """Unpack what is not there yet and record it. Raise ImageError; then nothing half-made is left."""
        config, diff_ids = _checked(found)
        for folder in ("layers", "refs", _UNDER_WAY):
            os.makedirs(f"{self._root}/{folder}", mode=0o700, exist_ok=True)
        for blob, diff_id in zip(found.layers, diff_ids, strict=True):
            self._add_layer(blob, diff_id)
        record = {"reference": reference, "digest": found.digest, "layers": diff_ids, "config": config}
        _replace(self._record_path(reference), json.dumps(record).encode())

    def prune(self, wanted: Iterable[str]) -> None:
        """Take away images that no declared container names, and layers that no image has."""
        kept = {self._record_path(reference) for reference in wanted}
        layers: set[str] = set()
        for name in _names(f"{self._root}/refs"):
            path = f"{self._root}/refs/{name}"
            if path not in kept:
                os.unlink(path)
                continue
            with open(path, "rb") as stream:
                layers.update(short_name(layer) for layer in json.load(stream)["layers"])
        for name in _names(f"{self._root}/layers"):
            if name not in layers:
                shutil.rmtree(f"{self._root}/layers/{name}", ignore_errors=True)
        shutil.rmtree(f"{self._root}/{_UNDER_WAY}", ignore_errors=True)

    def _record_path(self, reference: str) -> str:
        return f"{self._root}/refs/{sha256(reference.encode()).hexdigest()}.json"

    def _add_layer(self, blob: Blob, diff_id: str) -> None:
        place = f"{self._root}/layers/{short_name(diff_id)}"
        if os.path.isdir(place):
            return
        from init.containers.unpack import unpack  # noqa: PLC0415 - not needed where every layer is here

        work = f"{self._root}/{_UNDER_WAY}/{short_name(diff_id)}-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        os.mkdir(work, 0o755)
        os.chmod(work, 0o755)  # noqa: S103 - whatever the umask: it is the root that the container sees
        try:
            with blob.open() as stream:
                unpack(stream, work, digest=blob.digest, size=blob.size, diff_id=diff_id)
            # a power cut after the rename must not leave a layer with empty files
            descriptor = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _sync_file_system(descriptor)
            finally:
                os.close(descriptor)
            os.rename(work, place)
        except FileExistsError:
            shutil.rmtree(work, ignore_errors=True)  # another container's fetch was faster
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


def _checked(found: Found) -> tuple[dict[str, Any], list[str]]:
    try:
        config = json.loads(found.config)
        diff_ids = [str(diff_id) for diff_id in config["rootfs"]["diff_ids"]]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ImageError(f"its configuration cannot be understood: {error}") from error
    architecture = config.get("architecture", ARCHITECTURE)
    if architecture != ARCHITECTURE or config.get("os", "linux") != "linux":
        raise ImageError(f"it is made for {config.get('os', 'linux')}/{architecture}, not for linux/{ARCHITECTURE}")
    if len(diff_ids) != len(found.layers) or not diff_ids:
        raise ImageError(f"it has {len(found.layers)} layers, and its configuration names {len(diff_ids)}")
    if not all(is_digest(diff_id) for diff_id in diff_ids):
        raise ImageError("its configuration names layers by something else than SHA-256")
    return config, [diff_id.removeprefix("sha256:") for diff_id in diff_ids]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _replace(path: str, data: bytes) -> None:
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, path)
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(descriptor: int) -> None:
    from init.containers.namespaces import sync_file_system  # noqa: PLC0415 - beside its one use

    sync_file_system(descriptor)
