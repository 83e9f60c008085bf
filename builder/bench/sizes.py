"""Where the bytes of an image are: by part, and by the package that they come from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.rootfs.entry import Kind

if TYPE_CHECKING:
    from builder.artifact.manifest import Manifest

SHOWN = 12  # packages in the table


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """All in bytes. `packages` are uncompressed, largest first, without the kernel's image itself."""

    iso: int
    kernel: int
    initramfs: int
    root: int
    download: int
    packages: tuple[tuple[str, int], ...]


def sizes(manifest: Manifest, *, iso: int, download: int) -> Sizes:
    """Count a manifest; `iso` is the ISO's size, `download` that of the packages that its build reads."""
    return Sizes(
        iso=iso,
        kernel=manifest.part("vmlinuz").size,
        initramfs=manifest.part("initramfs").size,
        root=manifest.part("root").size,
        download=download,
        packages=by_origin(manifest),
    )


def by_origin(manifest: Manifest) -> tuple[tuple[str, int], ...]:
    """Return (package or stage, bytes) of what is in the root, largest first."""
    count: Counter[str] = Counter()
    for entry in manifest.entries:
        if entry.kind is Kind.FILE and not entry.path.startswith("boot/"):
            count[entry.origin] += entry.size
    return tuple(sorted(count.items(), key=lambda item: (-item[1], item[0])))
