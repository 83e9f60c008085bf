"""The system calls that starting a container needs and Python 3.11 has no name for: mount, unshare, setns, syncfs."""

from __future__ import annotations

import ctypes
import os

MS_NODEV, MS_BIND, MS_REC, MS_SLAVE = 0x4, 0x1000, 0x4000, 0x80000
_CLONE_NEWNS, _CLONE_NEWUSER, _CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """Mount; raise OSError with the target's path where the kernel refuses."""
    if _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def own_mounts() -> None:
    """Enter a mount namespace whose mounts nobody else sees; what the machine mounts or unmounts is followed."""
    _unshare(_CLONE_NEWNS)
    mount("none", "/", "", MS_REC | MS_SLAVE)


def own_network() -> None:
    """Enter a network namespace with nothing in it but a loopback interface that is down."""
    _unshare(_CLONE_NEWNET)


def own_user() -> None:
    """Enter a user namespace in which this process is root and nobody else exists."""
    uid, gid = os.geteuid(), os.getegid()
    _unshare(_CLONE_NEWUSER)
    for file, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        descriptor = os.open(f"/proc/self/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def join_network(pid: int) -> None:
    """Enter the network namespace of a process."""
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(namespace, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(namespace)


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def sync_file_system(descriptor: int) -> None:
    """Write everything of the file system that a descriptor lies on to the disk, syncfs(2)."""
    if _libc.syncfs(descriptor) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
