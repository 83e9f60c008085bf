"""The C library, for what Python has no function for."""

from __future__ import annotations

import ctypes
import os

_LIBC = ctypes.CDLL(None, use_errno=True)
_MACHINE = os.uname().machine
_MMAP = _LIBC.mmap
_MMAP.restype = ctypes.c_void_p
_MMAP.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_PROT_READ, _PROT_EXEC, _MAP_PRIVATE, _MAP_FIXED = 1, 4, 2, 16  # asm-generic/mman-common.h
_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2  # linux/falloc.h
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


def bytes_at(address: int, size: int) -> bytes:
    """Return what lies in this process's memory."""
    return ctypes.string_at(address, size)


def map_over(address: int, size: int, descriptor: int, offset: int, *, executable: bool) -> None:
    """mmap(2): let a file's bytes be at an address, read-only and private, in place of what is mapped there."""
    result = _MMAP(address, size, _PROT_READ | (_PROT_EXEC if executable else 0), _MAP_PRIVATE | _MAP_FIXED,
                   descriptor, offset)  # fmt: skip
    _check(0 if result == address else -1)


def punch(descriptor: int, offset: int, size: int) -> None:
    """fallocate(2): give back a range of a file, whose size stays."""
    mode = _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE
    _check(_LIBC.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(size)))


def touch(address: int) -> None:
    """Write the byte at an address that is there, between whose reading and writing no Python runs."""
    ctypes.memmove(address, address, 1)


def trim() -> None:
    """Give back what malloc keeps of what was freed (malloc_trim(3))."""
    _LIBC.malloc_trim(0)
