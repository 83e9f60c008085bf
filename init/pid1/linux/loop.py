"""Loop devices (linux/loop.h, LOOP_CONFIGURE since kernel 5.8)."""

from __future__ import annotations

import errno
import fcntl
import os
import struct

_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_CONFIGURE = 0x4C0A
_LOOP_CLR_FD = 0x4C01
_READ_ONLY = 1
_TRIES = 8  # another process may take the free one that we were told of


def attach(path: str, *, read_only: bool) -> str:
    """Attach a file to a free loop device; return `/dev/loopN`."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    backing = -1
    try:
        backing = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        for _ in range(_TRIES):
            device = f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}"
            if _configure(device, backing, path, read_only=read_only):
                return device
        raise OSError(errno.EBUSY, "no loop device could be had", path)
    finally:
        os.close(control)
        if backing >= 0:
            os.close(backing)


def _configure(device: str, backing: int, path: str, *, read_only: bool) -> bool:
    """Do it with one ioctl, so that no half-made device is ever seen; False when another was faster."""
    # struct loop_config: fd, block_size, then loop_info64 (5 × u64, 4 × u32, three names, 2 × u64), 8 × u64.
    info = struct.pack(
        "=5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, _READ_ONLY if read_only else 0, path.encode()[:63], b"", b"", 0, 0
    )
    argument = struct.pack("=II", backing, 0) + info + bytes(64)
    descriptor = os.open(device, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _LOOP_CONFIGURE, argument)
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    finally:
        os.close(descriptor)
    return True


def detach(device: str) -> None:
    """Let go of the file."""
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _LOOP_CLR_FD)
    finally:
        os.close(descriptor)
