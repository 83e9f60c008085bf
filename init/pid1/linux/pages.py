"""The pages that a process runs from."""

from __future__ import annotations

import os

from init.pid1.linux import libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_PIECE = 256 << 10  # bytes compared at once
_PAGE = 4096


class PageCalls:
    """The body of `system.Pages`."""

    def is_same(self, start: int, end: int, path: str, offset: int) -> bool:
        """See `Pages.is_same`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for at in range(0, end - start, _PIECE):
                size = min(_PIECE, end - start - at)
                part = os.pread(descriptor, size, offset + at)
                if size - len(part) >= _PAGE or libc.bytes_at(start + at, size) != part.ljust(size, b"\0"):
                    return False
        finally:
            os.close(descriptor)
        return True

    def map_over(self, start: int, end: int, path: str, offset: int, *, executable: bool) -> None:
        """See `Pages.map_over`."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc.map_over(start, end - start, descriptor, offset, executable=executable)
        finally:
            os.close(descriptor)

    def free_pages(
        self, start: int, end: int, *, own: Sequence[tuple[int, int]], free: Sequence[tuple[int, int]]
    ) -> None:
        """See `Pages.free_pages`."""
        descriptor = os.open(f"/proc/self/map_files/{start:x}-{end:x}", os.O_RDWR | os.O_CLOEXEC)
        try:
            for low, high in own:
                for page in range(low, high, _PAGE):
                    libc.touch(page)
            for low, high in free:
                libc.punch(descriptor, low, high - low)
        finally:
            os.close(descriptor)
        libc.trim()
