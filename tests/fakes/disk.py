"""A disk of any size that keeps only the blocks that were written."""

from __future__ import annotations

_BLOCK = 4096


class SparseDisk:
    """`size` bytes, all zero but for what was written. `writes` are offset and length, in order."""

    def __init__(self, size: int, content: dict[int, bytes] | None = None) -> None:
        self.size = size
        self.blocks: dict[int, bytes] = {}
        self.writes: list[tuple[int, int]] = []
        for offset, data in (content or {}).items():
            self._put(offset, data)

    def read(self, offset: int, length: int) -> bytes:
        """As pread(2): shorter at the end."""
        end = min(offset + length, self.size)
        if end <= offset:
            return b""
        first, last = offset // _BLOCK, (end - 1) // _BLOCK
        zero = bytes(_BLOCK)
        data = b"".join(self.blocks.get(number, zero) for number in range(first, last + 1))
        return data[offset - first * _BLOCK : end - first * _BLOCK]

    def write(self, offset: int, data: bytes) -> None:
        """Write within the disk."""
        if offset + len(data) > self.size:
            raise OSError(28, "No space left on device")
        self.writes.append((offset, len(data)))
        self._put(offset, data)

    def _put(self, offset: int, data: bytes) -> None:
        at = 0
        while at < len(data):
            number, inside = divmod(offset + at, _BLOCK)
            part = data[at : at + _BLOCK - inside]
            if len(part) < _BLOCK:
                block = self.blocks.get(number, bytes(_BLOCK))
                part = block[:inside] + part + block[inside + len(part) :]
            self.blocks[number] = part
            at += _BLOCK - inside

    def copy(self) -> SparseDisk:
        """Return another disk with the same content; nothing is known of its writes."""
        other = SparseDisk(self.size)
        other.blocks = dict(self.blocks)
        return other


class Window:
    """A part of a disk that behaves like one: a partition, or a loop device over a file."""

    def __init__(self, disk: SparseDisk, start: int, size: int) -> None:
        self.disk, self.start, self.size = disk, start, size

    def read(self, offset: int, length: int) -> bytes:
        """As pread(2)."""
        return self.disk.read(self.start + offset, max(0, min(length, self.size - offset)))

    def write(self, offset: int, data: bytes) -> None:
        """Write within the window."""
        if offset + len(data) > self.size:
            raise OSError(28, "No space left on device")
        self.disk.write(self.start + offset, data)
