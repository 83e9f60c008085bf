"""Update bundles of the small releases in `published`, as `berth build` would write them."""

from __future__ import annotations

from pathlib import Path

from fakes.published import Published, pages, release

from builder.artifact.bundle import write_bundle
from builder.artifact.manifest import Manifest, Part
from builder.image.slot import SlotImage
from init.formats.release import Release


def bundle(folder: Path, made: Published, *, name: str = "") -> Path:
    """Write a bundle of a release into a folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    known = made.offer
    boot, root = folder / "boot.img", folder / "root.img"
    boot.write_bytes(made.boot)
    root.write_bytes(made.root)
    told = Release(
        name="minimal", version=known.version, machine_class=known.machine_class, engine="crun", kernel="6",
        epoch=known.epoch, loader=known.loader,
    )  # fmt: skip
    manifest = Manifest(
        recipe="minimal", lock_sha256="0" * 64, release=told, root_hash=known.root_hash, hash_offset=known.hash_offset,
        cmdline="quiet", parts=(_part("boot", known.boot), _part("root", known.root)), packages=(), savings=(),
        entries=(),
    )  # fmt: skip
    slot = SlotImage(
        boot=boot, root=root, vmlinuz=boot, initramfs=boot, root_hash=known.root_hash, hash_offset=known.hash_offset,
        cmdline="quiet",
    )  # fmt: skip
    path = folder / f"{name or known.version}.bundle"
    write_bundle(slot=slot, release=told, manifest=manifest.to_json(), out=path)
    boot.unlink()
    root.unlink()
    return path


def numbered(number: int, *, changed: int = 4, **said: int | str) -> Published:
    """Return a release whose root differs from any other's in its first pages; `said` of its offer."""
    return release(number, pages(changed, number) + pages(60, 0), kernel=b"kernel %d" % number, **said)


def _part(name: str, image: object) -> Part:
    return Part(name=name, size=image.size, sha256=image.sha256)  # type: ignore[attr-defined]
