"""A disk that forgets: unsynced writes get lost, torn by sector and reordered when the power goes, by a seed."""

from __future__ import annotations

import random

from fakes.disk import SparseDisk

from init.blockdevice.device import SECTOR, require_sectors


class PowerCutError(Exception):
    """The power is gone: whoever runs now does not run any more. No OSError, so that nobody handles it."""


class LossyDisk:
    """A `BlockDevice` in memory.

    `cut_at`: the operation (write or sync, counted from 1) in the middle of which the power goes, or None. After that
    every call raises `PowerCutError`; `restart` says what the medium then holds and gives the power back.
    `content`: what it holds at first, if not zeros.
    """

    def __init__(
        self,
        size: int,
        *,
        name: str = "/dev/fake",
        seed: int = 0,
        cut_at: int | None = None,
        content: SparseDisk | None = None,
    ) -> None:
        self.name = name
        self.size = size
        self.cut_at = cut_at
        self.operations = 0
        self.written = 0  # bytes, over its life
        self._random = random.Random(seed)
        self._medium = content.copy() if content else SparseDisk(size)
        self._unsynced: list[tuple[int, bytes]] = []
        self._seen = self._medium.copy()  # what reads get while the power is on
        self._off = False

    def read(self, offset: int, length: int) -> bytes:
        """Return what was written last, synced or not: a drive answers from its own cache."""
        self._need_power()
        return self._seen.read(offset, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole sectors into the drive's cache."""
        self._need_power()
        require_sectors(self.name, offset, len(data), self.size)
        self._unsynced.append((offset, bytes(data)))
        self._seen.write(offset, bytes(data))
        self.written += len(data)
        self._count()

    def sync(self) -> None:
        """Put everything on the medium. A cut in the middle of it may come before, within or after."""
        self._need_power()
        self._count()
        for offset, data in self._unsynced:
            self._medium.write(offset, data)
        self._unsynced = []

    def tick(self) -> None:
        """Something is done elsewhere, on a file system of the same machine: the power may go here, too."""
        self._need_power()
        self._count()

    def restart(self) -> None:
        """Let the power go, if it has not gone yet, and come back: some sectors of unsynced writes made it."""
        sectors = [
            (offset + at, data[at : at + SECTOR])
            for offset, data in self._unsynced
            for at in range(0, len(data), SECTOR)
        ]
        self._random.shuffle(sectors)
        luck = self._random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        for offset, sector in sectors:
            if self._random.random() < luck:
                self._medium.write(offset, sector)
        self._unsynced = []
        self._seen = self._medium.copy()
        self._off = False
        self.cut_at = None

    def content(self) -> SparseDisk:
        """Return what the medium holds."""
        return self._medium.copy()

    def spoil(self, offset: int, data: bytes) -> None:
        """Change the medium behind everybody's back: a bit that rotted, another program."""
        self._medium.write(offset, data)
        self._seen.write(offset, data)

    def _count(self) -> None:
        self.operations += 1
        if self.operations == self.cut_at:
            self._off = True
            raise PowerCutError(f"{self.name}: the power went at operation {self.operations}")

    def _need_power(self) -> None:
        if self._off:
            raise PowerCutError(f"{self.name}: the power is off")
