"""Update bundles of the small releases in `published`, as `berth build` would write them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fakes.published import Published, pages, release

from builder.artifact.bundle import write_bundle
from builder.artifact.manifest import Manifest, Part
from builder.image.slot import SlotImage
from init.formats.release import Release


def bundle(folder: Path, made: Published) -> Path:
    """Write a bundle of a release into a folder, and return its path."""
    known = made.offer
    return images_bundle(
        folder, made.boot, made.root, machine_class=known.machine_class, version=known.version, epoch=known.epoch,
        loader=known.loader, root_hash=known.root_hash, hash_offset=known.hash_offset,
    )  # fmt: skip


def images_bundle(
    folder: Path, boot: bytes, root: bytes, *, machine_class: str, version: str, epoch: int, root_hash: str,
    hash_offset: int, loader: int = 1,
) -> Path:  # fmt: skip
    """Write a bundle of two images."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {"boot": folder / "boot.img", "root": folder / "root.img"}
    files["boot"].write_bytes(boot)
    files["root"].write_bytes(root)
    told = Release(
        name="minimal", version=version, machine_class=machine_class, engine="crun", kernel="6", epoch=epoch,
        loader=loader,
    )  # fmt: skip
    manifest = Manifest(
        recipe="minimal", lock_sha256="0" * 64, release=told, root_hash=root_hash, hash_offset=hash_offset,
        cmdline="quiet", parts=(_part("boot", boot), _part("root", root)), packages=(), savings=(), entries=(),
    )  # fmt: skip
    slot = SlotImage(
        **files, vmlinuz=files["boot"], initramfs=files["boot"], root_hash=root_hash, hash_offset=hash_offset,
        cmdline="quiet",
    )  # fmt: skip
    path = folder / f"{version}.bundle"
    write_bundle(slot=slot, release=told, manifest=manifest.to_json(), out=path)
    for file in files.values():
        file.unlink()
    return path


def numbered(number: int, *, changed: int = 4, same: int = 40, **said: int | str) -> Published:
    """Return a release whose root differs from any other's in its first pages; `said` of its offer."""
    return release(number, pages(changed, number) + pages(same, 0), kernel=b"kernel %d" % number, **said)


def _part(name: str, image: bytes) -> Part:
    return Part(name=name, size=len(image), sha256=hashlib.sha256(image).hexdigest())
