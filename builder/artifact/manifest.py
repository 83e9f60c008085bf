"""The manifest: what is in an image and where each byte comes from. `berth inspect` and `berth diff` answer from it.

JSON in a fixed order, one package, rule or entry to a line, so that people's tools can compare two of them. Sizes are
in bytes; modes are octal text; what is empty or zero in an entry is left out.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.artifact.output import CHUNK, Artifact, describe, write_bytes
from builder.errors import InputError
from builder.image.slot import SlotImage
from builder.lock.model import LockedPackage
from builder.recipe.model import Recipe
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.exclude import Saved
from init.formats.release import Release

FORMAT = "berth.manifest/1"
_LARGEST = 64 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """A package that is in the image. `size` is the .deb's; `installed` what the image has of its files, 0 for none."""

    name: str
    version: str
    architecture: str
    source: str
    source_version: str
    size: int
    sha256: str
    installed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One of the slot's files: `boot`, `root`, `vmlinuz`, `initramfs`."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One image. `cmdline` is the slot's own; `hash_offset` is where verity's superblock lies in the root image.

    `machine` is the recipe's machine half, the `#berth` document that a user's config is laid over; empty in
    manifests of before it was told.
    """

    recipe: str
    lock_sha256: str
    release: Release
    root_hash: str
    hash_offset: int
    cmdline: str
    parts: tuple[Part, ...]
    packages: tuple[Package, ...]
    savings: tuple[Saved, ...]
    entries: tuple[Entry, ...]
    machine: str = ""

    def part(self, name: str) -> Part:
        """Return one of the slot's files; raise KeyError where the manifest does not tell of it."""
        return {part.name: part for part in self.parts}[name]

    def to_json(self) -> bytes:
        """Return the file's bytes."""
        head = {
            "format": FORMAT,
            "recipe": self.recipe,
            "lock_sha256": self.lock_sha256,
            "release": json.loads(self.release.to_json()),
            "root_hash": self.root_hash,
            "hash_offset": self.hash_offset,
            "cmdline": self.cmdline,
            "machine": self.machine,
        }
        lines = [f" {_text(key)}: {_text(value)}," for key, value in head.items()]
        lists: Mapping[str, Sequence[dict[str, object]]] = {
            "parts": [_fields(part, ("name", "size", "sha256")) for part in self.parts],
            "packages": [_fields(package, tuple(Package.__slots__)) for package in self.packages],
            "savings": [_fields(saved, ("pattern", "reason", "files", "size")) for saved in self.savings],
            "entries": [entry_fields(entry) for entry in self.entries],
        }
        blocks = [
            f" {_text(key)}: [\n" + ",\n".join(f"  {_text(value)}" for value in values) + "\n ]"
            for key, values in lists.items()
        ]
        return ("{\n" + "\n".join(lines) + "\n" + ",\n".join(blocks) + "\n}\n").encode()

    @staticmethod
    def from_json(data: bytes) -> Manifest:
        """Read the file's bytes; raise InputError where they are not a manifest of this format."""
        if len(data) > _LARGEST:
            raise InputError("a manifest of more than 64 MiB is not read")
        try:
            value = json.loads(data)
            if not isinstance(value, dict) or "format" not in value:
                raise InputError(
                    "JSON, but not the manifest of an image", hint="give the .iso, or the .manifest.json beside it"
                )
            if value["format"] != FORMAT:
                raise InputError(
                    f"the manifest has the format {value['format']!r}, not {FORMAT!r}",
                    hint="use the version of Berth that made it, or a newer one",
                )
            return _parse(value)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"not a manifest of an image: {error}") from error


def make_manifest(
    *,
    recipe: Recipe,
    packages: Iterable[LockedPackage],
    release: Release,
    tree: Tree,
    slot: SlotImage,
    lock_sha256: str,
    savings: Iterable[Saved] = (),
    machine: str = "",
) -> Manifest:
    """Gather the manifest of an image from what it was made of; `packages` are those that are in it."""
    installed = sizes_by_origin(tree.entries)
    present = tuple(
        Package(
            name=package.name,
            version=package.version,
            architecture=package.architecture,
            source=package.source,
            source_version=package.source_version,
            size=package.size,
            sha256=package.sha256,
            installed=installed[package.name],
        )
        for package in packages
    )
    files = {"boot": slot.boot, "root": slot.root, "vmlinuz": slot.vmlinuz, "initramfs": slot.initramfs}
    return Manifest(
        recipe=recipe.name,
        lock_sha256=lock_sha256,
        release=release,
        root_hash=slot.root_hash,
        hash_offset=slot.hash_offset,
        cmdline=slot.cmdline,
        parts=tuple(_part(name, path) for name, path in files.items()),
        packages=present,
        savings=tuple(savings),
        entries=tree.entries,
        machine=machine,
    )


def write_manifest(manifest: Manifest, *, out: Path) -> Artifact:
    """Write the manifest as a file of its own."""
    write_bytes(out, manifest.to_json())
    return describe("manifest", out)


def sizes_by_origin(entries: Iterable[Entry]) -> Counter[str]:
    """Return the bytes of all files, by the package or stage that they came from."""
    sizes: Counter[str] = Counter()
    for entry in entries:
        if entry.kind is Kind.FILE:
            sizes[entry.origin] += entry.size
    return sizes


def entry_fields(entry: Entry) -> dict[str, object]:
    """Return an entry as the manifest's JSON has it."""
    fields: dict[str, object] = {"path": entry.path, "kind": entry.kind.value}
    if entry.kind is not Kind.SYMLINK:
        fields["mode"] = f"{entry.mode:04o}"
    optional: dict[str, object] = {
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "sha256": entry.sha256,
        "target": entry.target,
        "origin": entry.origin,
    }
    fields |= {name: value for name, value in optional.items() if value}
    if entry.kind in (Kind.CHARACTER, Kind.BLOCK):
        fields["device"] = list(entry.device)
    if entry.xattrs:
        fields["xattrs"] = {name: value.hex() for name, value in entry.xattrs}
    return fields


def _part(name: str, path: Path) -> Part:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return Part(name=name, size=path.stat().st_size, sha256=digest.hexdigest())


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fields(value: object, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(value, name) for name in names}


def _parse(value: dict[str, Any]) -> Manifest:
    return Manifest(
        recipe=str(value["recipe"]),
        lock_sha256=str(value["lock_sha256"]),
        release=Release.from_json(json.dumps(value["release"])),
        root_hash=str(value["root_hash"]),
        hash_offset=int(value["hash_offset"]),
        cmdline=str(value["cmdline"]),
        parts=tuple(Part(**part) for part in value["parts"]),
        packages=tuple(Package(**package) for package in value["packages"]),
        savings=tuple(Saved(**saved) for saved in value["savings"]),
        entries=tuple(_parse_entry(fields) for fields in value["entries"]),
        machine=str(value.get("machine", "")),
    )


def _parse_entry(fields: dict[str, Any]) -> Entry:
    major, minor = fields.get("device", (0, 0))
    return Entry(
        path=str(fields["path"]),
        kind=Kind(fields["kind"]),
        mode=int(fields.get("mode", "0777"), 8),
        uid=int(fields.get("uid", 0)),
        gid=int(fields.get("gid", 0)),
        origin=str(fields.get("origin", "")),
        size=int(fields.get("size", 0)),
        sha256=str(fields.get("sha256", "")),
        target=str(fields.get("target", "")),
        device=(int(major), int(minor)),
        xattrs=tuple((name, bytes.fromhex(text)) for name, text in fields.get("xattrs", {}).items()),
    )
