"""Block devices: sizes, reading and writing, partitions in use (BLKPG, linux/blkpg.h)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import stat
import struct

from init.pid1.linux import devicemapper, loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from init.pid1.system import TableRow

_BLKGETSIZE64 = 0x80081272
_BLKSSZGET = 0x1268
_BLKPG = 0x1269
_BLKPG_RESIZE_PARTITION = 3


class BlockCalls:
    """The body of `system.Blocks`."""

    def device_size(self, path: str) -> int:
        """Return a block device's size in bytes (a file's, too: for tests and loop)."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if stat.S_ISREG(found.st_mode):
                return found.st_size
            answer = fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8))
            return int.from_bytes(answer, "little")
        finally:
            os.close(descriptor)

    def sector_size(self, path: str) -> int:
        """Return a block device's logical sector size in bytes."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return 512
            return int.from_bytes(fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)), "little")
        finally:
            os.close(descriptor)

    def read_blocks(self, path: str, offset: int, length: int) -> bytes:
        """Read; shorter at the end."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while length > 0 and (part := os.pread(descriptor, min(length, 1 << 20), offset)):
                parts.append(part)
                offset += len(part)
                length -= len(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def write_blocks(self, path: str, offset: int, data: bytes) -> None:
        """Write past the page cache and sync. O_DIRECT wants an aligned buffer, which an anonymous map is."""
        import mmap  # noqa: PLC0415 - only a disk that grows needs it

        descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        try:
            with mmap.mmap(-1, len(data)) as buffer:
                buffer[:] = data
                done = os.pwritev(descriptor, [buffer], offset)
            if done != len(data):
                raise OSError(5, "short write", path)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def resize_partition(self, disk: str, number: int, start: int, length: int) -> None:
        """Tell the kernel that a partition has grown; re-reading the table is refused while one is mounted."""
        partition = ctypes.create_string_buffer(struct.pack("=qqi64s64s", start, length, number, b"", b""), 152)
        argument = struct.pack(
            "@iiiP", _BLKPG_RESIZE_PARTITION, 0, ctypes.sizeof(partition), ctypes.addressof(partition)
        )
        descriptor = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _BLKPG, argument)
        finally:
            os.close(descriptor)

    def attach_loop(self, path: str, *, read_only: bool = True) -> str:
        """Attach a file to a free loop device."""
        return loop.attach(path, read_only=read_only)

    def detach_loop(self, device: str) -> None:
        """Let go of a loop device's file."""
        loop.detach(device)

    def map_device(self, name: str, table: Sequence[TableRow], *, read_only: bool = True) -> str:
        """Make a device-mapper device."""
        return devicemapper.create(name, table, read_only=read_only)

    def unmap_device(self, name: str) -> None:
        """Take a device-mapper device away."""
        devicemapper.remove(name)
