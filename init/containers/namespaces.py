"""The system calls that starting a container needs and Python has no name for: mount(2), umount2(2)."""

from __future__ import annotations

import ctypes
import os

MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 0x4, 0x1000, 0x4000, 0x80000
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount; raise OSError with the target's path where the kernel refuses."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def own_mounts() -> None:
    """Enter a mount namespace whose mounts nobody else sees; what the machine mounts or unmounts is followed."""
    os.unshare(os.CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_SLAVE)
