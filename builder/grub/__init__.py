"""GRUB: the script that chooses a slot, and the images that hold it, for BIOS and UEFI, disk and ISO."""
