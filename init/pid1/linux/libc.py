"""The C library, for what Python has no function for."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_MACHINE = os.uname().machine
_FINIT_MODULE = {"x86_64": 313, "aarch64": 273}.get(_MACHINE, 273)  # asm/unistd_64.h, asm-generic/unistd.h


def _check(result: int, path: str | None = None) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2); raise OSError with the target's path."""
    arguments = (source.encode(), target.encode(), kind.encode() or None)
    _check(_LIBC.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), target)


def unmount(target: str, flags: int) -> None:
    """umount2(2)."""
    _check(_LIBC.umount2(target.encode(), flags), target)


def finit_module(descriptor: int, parameters: str, flags: int, path: str) -> None:
    """finit_module(2), which no C library wraps."""
    _check(
        _LIBC.syscall(ctypes.c_long(_FINIT_MODULE), ctypes.c_int(descriptor), parameters.encode(), ctypes.c_int(flags)),
        path,
    )


def reboot(command: int) -> None:
    """reboot(2) without its magic numbers, as glibc has it."""
    _check(_LIBC.reboot(ctypes.c_int(command)))


def filesystem_kind(descriptor: int) -> int:
    """Return the magic number of an open file's file system (fstatfs(2): the structure's first word)."""
    answer = ctypes.create_string_buffer(256)
    _check(_LIBC.fstatfs(descriptor, answer))
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], "little")
