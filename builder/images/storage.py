"""Images as a read-only store in the layout of containers-storage, which every engine uses in place.

    overlay/LAYER/diff/…        the layer's files
    overlay/LAYER/link          SHORT, a name of 26 letters; `l/SHORT` is a symbolic link to `../LAYER/diff`
    overlay/LAYER/lower         `l/SHORT:l/SHORT…`, topmost first; not there for the lowest layer
    overlay-layers/layers.json  [{id, parent, created, diff-digest, diff-size …}], `layers.lock` empty
    overlay-images/images.json  [{id, digest, names, layer, big-data-names …}], `images.lock` empty
    overlay-images/ID/NAME      `manifest`, and `=` + base64 of names that are no plain words
    storage.lock                empty

After github.com/containers/storage (drivers/overlay, layers.go, images.go), tried with podman 5.4. All ids follow
from the layers' digests, so the same images give the same store.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from builder.images.image import Content, Image, Layer, canonical_json
from builder.images.packages import timestamp
from builder.rootfs.entry import Entry, Kind
from init.formats.imagestore import big_data_name, full_name, short_name

PREFIX = "usr/lib/berth/images"
_ORIGIN = "baked images"


@dataclass(frozen=True, kw_only=True, slots=True)
class _StoredLayer:
    id: str
    parent: str | None
    layer: Layer
    lowers: tuple[str, ...]  # ids below it, nearest first


def store_entries(images: Iterable[Image], content: Content, prefix: str = PREFIX) -> tuple[Entry, ...]:
    """Return the whole store below `prefix`, sorted by path. Layers that images share are stored once."""
    ordered = sorted(images, key=lambda image: image.name)
    layers: dict[str, _StoredLayer] = {}
    tops = {image.name: _stack(image, layers) for image in ordered}
    nodes: dict[str, Entry] = {}
    writer = _Writer(nodes, content, prefix)
    writer.folder("")
    for empty in ("storage.lock", "overlay-layers/layers.lock", "overlay-images/images.lock"):
        writer.file(empty, b"")
    writer.folder("overlay/l")
    for stored in layers.values():
        _write_layer(stored, writer)
    created = min((image.created for image in ordered), default=0)
    writer.file("overlay-layers/layers.json", _json([_layer_record(stored, created) for stored in layers.values()]))
    names: dict[str, list[str]] = {}  # images with equal configuration are one image with several names
    for image in ordered:
        names.setdefault(image.id, []).append(full_name(image.name))
    by_id = {image.id: image for image in reversed(ordered)}
    records = [_write_image(by_id[each], names[each], tops[by_id[each].name], writer) for each in names]
    writer.file("overlay-images/images.json", _json(records))
    return tuple(sorted(nodes.values(), key=lambda entry: entry.path))


class _Writer:
    """Adds nodes below the prefix, with the folders above them."""

    def __init__(self, nodes: dict[str, Entry], content: Content, prefix: str) -> None:
        self._nodes = nodes
        self._content = content
        self._prefix = prefix

    def folder(self, path: str) -> None:
        full = f"{self._prefix}/{path}".rstrip("/")
        if full not in self._nodes:
            if path:
                self.folder(path.rpartition("/")[0])
            self._nodes[full] = Entry(path=full, kind=Kind.DIRECTORY, mode=0o755, origin=_ORIGIN)

    def file(self, path: str, data: bytes) -> None:
        sha256 = self._content.put(data)
        self.node(path, Entry(path="", kind=Kind.FILE, size=len(data), sha256=sha256, origin=_ORIGIN))

    def link(self, path: str, target: str) -> None:
        self.node(path, Entry(path="", kind=Kind.SYMLINK, mode=0o777, target=target, origin=_ORIGIN))

    def node(self, path: str, entry: Entry) -> None:
        self.folder(path.rpartition("/")[0])
        full = f"{self._prefix}/{path}"
        self._nodes[full] = replace(entry, path=full)

    def tree(self, folder: str, entries: Iterable[Entry]) -> None:
        """Put a layer's entries below `folder`; hard links lead to their files' new paths."""
        self.folder(folder)
        for entry in entries:
            if not entry.path:
                self._nodes[f"{self._prefix}/{folder}"] = replace(entry, path=f"{self._prefix}/{folder}")
                continue
            target = f"{self._prefix}/{folder}/{entry.target}" if entry.kind is Kind.HARDLINK else entry.target
            self.node(f"{folder}/{entry.path}", replace(entry, target=target))


def _stack(image: Image, layers: dict[str, _StoredLayer]) -> str:
    """Register an image's layers; return the topmost one's id ("" for an image without layers)."""
    parent: str | None = None
    lowers: tuple[str, ...] = ()
    for layer in image.layers:
        identity = layer.diff_id
        if parent is not None:
            identity = hashlib.sha256(f"{parent}+sha256:{layer.diff_id}".encode()).hexdigest()
        layers.setdefault(identity, _StoredLayer(id=identity, parent=parent, layer=layer, lowers=lowers))
        parent, lowers = identity, (identity, *lowers)
    return parent or ""


def _write_layer(stored: _StoredLayer, writer: _Writer) -> None:
    folder = f"overlay/{stored.id}"
    short = short_name(stored.id)
    writer.tree(f"{folder}/diff", stored.layer.entries)
    writer.file(f"{folder}/link", short.encode())
    writer.link(f"overlay/l/{short}", f"../{stored.id}/diff")
    if stored.lowers:
        writer.file(f"{folder}/lower", ":".join(f"l/{short_name(lower)}" for lower in stored.lowers).encode())


def _layer_record(stored: _StoredLayer, created: int) -> dict[str, Any]:
    record: dict[str, Any] = {"id": stored.id}
    if stored.parent is not None:
        record["parent"] = stored.parent
    owners = {(entry.uid, entry.gid) for entry in stored.layer.entries} or {(0, 0)}
    record.update(
        {
            "created": timestamp(created),
            "diff-digest": f"sha256:{stored.layer.diff_id}",
            "diff-size": stored.layer.size,
            "compressed-diff-digest": f"sha256:{stored.layer.diff_id}",
            "compressed-size": stored.layer.size,
            "uidset": sorted({uid for uid, _ in owners}),
            "gidset": sorted({gid for _, gid in owners}),
        }
    )
    return record


def _write_image(image: Image, names: list[str], top: str, writer: _Writer) -> dict[str, Any]:
    manifest_digest = f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    data = {
        "manifest": image.manifest,
        f"manifest-{manifest_digest}": image.manifest,
        f"sha256:{image.id}": image.config,
    }
    for key, value in data.items():
        writer.file(f"overlay-images/{image.id}/{big_data_name(key)}", value)
    return {
        "id": image.id,
        "digest": manifest_digest,
        "names": names,
        "layer": top,
        "metadata": canonical_json({}).decode(),
        "big-data-names": sorted(data),
        "big-data-sizes": {key: len(value) for key, value in sorted(data.items())},
        "big-data-digests": {key: f"sha256:{hashlib.sha256(value).hexdigest()}" for key, value in sorted(data.items())},
        "created": timestamp(image.created),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, indent=1).encode() + b"\n"
