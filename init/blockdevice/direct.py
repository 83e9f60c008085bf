"""The real body of `BlockDevice`: past the page cache (O_DIRECT), so that a read-back reads the disk.

No cache also means that a slot of a gigabyte is written without pushing anybody's memory out. O_DIRECT wants buffers,
offsets and lengths aligned to the logical sector; the buffer is an anonymous map, which is aligned to a page. A file
system that has no O_DIRECT (some hold images for tests) is read and written through the cache, which is then dropped.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from types import TracebackType

from init.blockdevice.device import SECTOR, require_sectors

CHUNK = 1 << 20  # bytes that go to the device at once
_BLKGETSIZE64 = 0x80081272  # linux/fs.h
_BLKSSZGET = 0x1268


class DirectDevice:
    """A block device, or a file as one. Use it as a context, or `close` it."""

    def __init__(self, path: str, *, writable: bool = False) -> None:
        """Open it; raise OSError, also for a device whose logical sectors are not 512 bytes."""
        self.name = path
        access = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, access | os.O_DIRECT)
            self._direct = True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._descriptor = os.open(path, access)
            self._direct = False
        try:
            self.size = _size(self._descriptor, path)
            self._buffer = mmap.mmap(-1, CHUNK)
        except OSError:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> DirectDevice:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the device. What was not synced may be lost."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._buffer.close()

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes from the medium; shorter at its end."""
        length = max(0, min(length, self.size - offset))
        first = offset - offset % SECTOR
        parts = []
        while first < offset + length:
            wanted = min(CHUNK, -(-(offset + length - first) // SECTOR) * SECTOR)
            count = self._fill(first, wanted)
            if count <= 0:
                break
            parts.append(self._buffer[:count])
            first += count
        skip = offset % SECTOR
        return b"".join(parts)[skip : skip + length]

    def _fill(self, offset: int, length: int) -> int:
        if not self._direct:
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        try:
            with memoryview(self._buffer) as view, view[:length] as part:
                return os.preadv(self._descriptor, [part], offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from error

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole sectors, a chunk at a time."""
        require_sectors(self.name, offset, len(data), self.size)
        with memoryview(data) as source:
            at = 0
            while at < len(source):
                part = source[at : at + CHUNK]
                self._buffer[: len(part)] = part
                at += self._put(offset + at, len(part))

    def _put(self, offset: int, length: int) -> int:
        try:
            with memoryview(self._buffer) as view, view[:length] as part:
                count = os.pwritev(self._descriptor, [part], offset)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from error
        if count <= 0 or count % SECTOR:
            raise OSError(errno.EIO, f"{count} of {length} bytes were written at {offset}", self.name)
        return count

    def sync(self) -> None:
        """Flush the device's own cache, too."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.name) from error


def _size(descriptor: int, path: str) -> int:
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode):
        return found.st_size - found.st_size % SECTOR
    if not stat.S_ISBLK(found.st_mode):
        raise OSError(errno.ENOTBLK, os.strerror(errno.ENOTBLK), path)
    sector = int.from_bytes(fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)), "little")
    if sector != SECTOR:
        raise OSError(errno.EINVAL, f"its sectors are {sector} bytes; {SECTOR} are needed", path)
    return int.from_bytes(fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8)), "little")
