"""The slot image: what one slot of a machine boots from, as two files.

`boot.img` is a ustar archive of `vmlinuz`, `initramfs`, `cmdline.env` and the sums of these; `root.img` is EROFS with
dm-verity's superblock and tree behind it. Both are functions of the tree, the recipe and the release alone.
"""

from builder.image.slot import SlotImage, build_slot

__all__ = ["SlotImage", "build_slot"]
