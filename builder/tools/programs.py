"""The programs that the builder starts, each with the package that brings it; a test holds it to code and packages."""

from __future__ import annotations

from collections.abc import Mapping

PROGRAMS: Mapping[str, str] = {
    "apt-get": "apt",
    "depmod": "kmod",
    "grub-mkimage": "grub-common",
    "grub-script-check": "grub-common",
    "mcopy": "mtools",
    "mkfs.erofs": "erofs-utils",
    "mkfs.fat": "dosfstools",
    "mmd": "mtools",
    "python3.13": "python3.13-minimal",
    "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
    "veritysetup": "cryptsetup-bin",
    "zstd": "zstd",
}
