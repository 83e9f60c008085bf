"""File systems and the root."""

from __future__ import annotations

import os
import stat

from init.pid1.linux import libc

_MS_MOVE = 8192
_IN_MEMORY = (0x858458F6, 0x01021994)  # RAMFS_MAGIC, TMPFS_MAGIC (linux/magic.h)


class MountCalls:
    """The body of `system.Mounts`."""

    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        """mount(2)."""
        libc.mount(source, target, kind, flags, data)

    def unmount(self, target: str, flags: int = 0) -> None:
        """umount2(2)."""
        libc.unmount(target, flags)

    def switch_root(self, path: str) -> int:
        """Make the file system at `path` the root and give back the initramfs' memory.

        The initramfs can't be unmounted, so the new root is moved over it; its files go only after that, through a
        descriptor, for as long as the switch can fail they may still be needed.
        """
        old = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.chdir(path)
            libc.mount(".", "/", "", _MS_MOVE, "")
            os.chroot(".")
            os.chdir("/")
            if os.getpid() != 1 or libc.filesystem_kind(old) not in _IN_MEMORY:
                return 0  # not an initramfs: never take away what may be somebody's disk
            return _empty_descriptor(old, os.fstat(old).st_dev)
        finally:
            os.close(old)

    def space(self, path: str) -> tuple[int, int]:
        """Return the bytes that are free for use, and all."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _empty_descriptor(folder: int, filesystem: int) -> int:
    """Take away what is in an open folder and on its own file system; return how many nodes went."""
    count = 0
    for name in os.listdir(folder):
        try:
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if found.st_dev != filesystem:
                continue
            if stat.S_ISDIR(found.st_mode):
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
                try:
                    count += _empty_descriptor(inner, filesystem)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
        except OSError:
            continue  # it costs some memory, no more
        count += 1
    return count
