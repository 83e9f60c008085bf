"""Package builder/rootfs."""
