"""Makes the slot's baked images dockerd's own, before it starts: links into the read-only root, nothing is copied.

Below `/var/lib/docker`, for each layer (chain id C, folder name S as in the baked store):

    overlay2/S/{link,committed,work/}, overlay2/S/lower, overlay2/S/diff → /usr/lib/berth/images/overlay/ID/diff
    overlay2/l/SHORT → ../S/diff
    image/overlay2/layerdb/sha256/C/{size,diff,cache-id,parent}
    image/overlay2/imagedb/content/sha256/ID      the image's configuration
    image/overlay2/repositories.json              names; those of others stay

Tried with docker 26.1. What another slot left is taken away first: its links lead nowhere in this one.
"""

# ruff: noqa: PTH103, PTH105, PTH108, PTH114, PTH115, PTH123, PTH208, PTH211

from __future__ import annotations

import json
import os
import shutil

from init.containers.baked import Baked, BakedImage
from init.formats.imagestore import LOCAL_HOST, short_name
from init.formats.release import IMAGES_PATH
from init.formats.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ROOT = "/var/lib/docker"
_DATABASE = "image/overlay2"


def link_images(baked: Baked, *, root: str = ROOT, images: str = IMAGES_PATH) -> None:
    """Put every baked image in place and take away what is no longer there. Raise OSError."""
    wanted = {layer for image in baked.images for layer in image.layers}
    _forget(wanted, root, images)
    for image in baked.images:
        _link_layers(image, root, images)
        with open(f"{images}/{image.config_file}", "rb") as stream:
            _write(f"{root}/{_DATABASE}/imagedb/content/sha256/{image.id}", stream.read())
    _merge_names(baked, root)


def _forget(wanted: set[str], root: str, images: str) -> None:
    """Take away layers and images that stand on baked layers which this slot does not have."""
    gone: set[str] = set()
    for name in _names(f"{root}/overlay2"):
        diff = f"{root}/overlay2/{name}/diff"
        if os.path.islink(diff) and os.readlink(diff).startswith(f"{images}/") and name not in wanted:
            gone.add(name)
            shutil.rmtree(f"{root}/overlay2/{name}", ignore_errors=True)
            link = f"{root}/overlay2/l/{short_name(name)}"
            if os.path.islink(link):
                os.unlink(link)
    if not gone:
        return
    layers = f"{root}/{_DATABASE}/layerdb/sha256"
    lost_chains = {chain for chain in _names(layers) if _read(f"{layers}/{chain}/cache-id") in gone}
    for chain in lost_chains:
        shutil.rmtree(f"{layers}/{chain}", ignore_errors=True)
    content = f"{root}/{_DATABASE}/imagedb/content/sha256"
    for identity in _names(content):
        chains = chain_ids(_diff_ids(f"{content}/{identity}"))
        if lost_chains.intersection(chains):
            os.unlink(f"{content}/{identity}")


def chain_ids(diff_ids: list[str]) -> list[str]:
    """Return the chain ids (hex) of layers given by their diff ids (hex), lowest first (OCI image specification)."""
    chains: list[str] = []
    for diff_id in diff_ids:
        if not chains:
            chains.append(diff_id)
        else:
            chains.append(sha256(f"sha256:{chains[-1]} sha256:{diff_id}".encode()).hexdigest())
    return chains


def _link_layers(image: BakedImage, root: str, images: str) -> None:
    layers = list(reversed(image.layers))
    diff_ids = list(reversed(image.diff_ids))
    sizes = list(reversed(image.sizes))
    chains = chain_ids(diff_ids)
    for number, layer in enumerate(layers):
        folder = f"{root}/overlay2/{layer}"
        os.makedirs(f"{folder}/work", mode=0o700, exist_ok=True)
        _link(f"{folder}/diff", f"{images}/overlay/{layer}/diff")
        _link(f"{root}/overlay2/l/{short_name(layer)}", f"../{layer}/diff")
        _write(f"{folder}/link", short_name(layer).encode())
        _write(f"{folder}/committed", b"")
        if number:
            lowers = ":".join(f"l/{short_name(lower)}" for lower in reversed(layers[:number]))
            _write(f"{folder}/lower", lowers.encode())
        record = f"{root}/{_DATABASE}/layerdb/sha256/{chains[number]}"
        _write(f"{record}/size", str(sizes[number]).encode())
        _write(f"{record}/diff", f"sha256:{diff_ids[number]}".encode())
        _write(f"{record}/cache-id", layer.encode())
        if number:
            _write(f"{record}/parent", f"sha256:{chains[number - 1]}".encode())


def merged_names(document: dict[str, Any], baked: Baked, there: set[str]) -> dict[str, Any]:
    """Return repositories.json with the baked images' names, and without names of images that are gone. Pure."""
    repositories: dict[str, dict[str, str]] = {}
    for repository, names in document.get("Repositories", {}).items():
        kept = {name: identity for name, identity in names.items() if identity.removeprefix("sha256:") in there}
        if kept:
            repositories[repository] = kept
    for image in baked.images:
        for name in image.names:
            repository = name.partition("@")[0].rpartition(":")[0]
            repositories.setdefault(repository, {})[name] = f"sha256:{image.id}"
            if repository.startswith(f"{LOCAL_HOST}/"):  # what people type: `docker run demo`
                plain = name.removeprefix(f"{LOCAL_HOST}/")
                repositories.setdefault(plain.rpartition(":")[0], {})[plain] = f"sha256:{image.id}"
    return {"Repositories": repositories}


def _merge_names(baked: Baked, root: str) -> None:
    path = f"{root}/{_DATABASE}/repositories.json"
    try:
        with open(path, "rb") as stream:
            document = json.load(stream)
    except (OSError, ValueError):
        document = {}
    there = set(_names(f"{root}/{_DATABASE}/imagedb/content/sha256"))
    _write(path, json.dumps(merged_names(document, baked, there), sort_keys=True).encode())


def _diff_ids(path: str) -> list[str]:
    try:
        with open(path, "rb") as stream:
            return [str(diff_id).removeprefix("sha256:") for diff_id in json.load(stream)["rootfs"]["diff_ids"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _read(path: str) -> str:
    try:
        with open(path) as stream:
            return stream.read()
    except OSError:
        return ""


def _link(path: str, target: str) -> None:
    if os.path.islink(path) and os.readlink(path) == target:
        return
    os.makedirs(os.path.dirname(path), mode=0o710, exist_ok=True)  # noqa: PTH120
    if os.path.lexists(path):
        os.unlink(path)
    os.symlink(target, path)


def _write(path: str, data: bytes) -> None:
    """Write a file whole, only where it differs: a boot from an unchanged slot writes nothing."""
    try:
        with open(path, "rb") as stream:
            if stream.read() == data:
                return
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o710, exist_ok=True)  # noqa: PTH120
    temporary = f"{path}.berth"
    with open(temporary, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, path)
