"""A block device or a partition, as the updater and the installer see it: read, write, sync, size.

Offsets, lengths and sizes are bytes and whole sectors (`SECTOR`), so that one write is what the drive is told. Two
promises hold for every body, and the proofs against power cuts stand on them:

    write   is lost, torn at a sector's edge or done after a later one, until `sync` has returned
    read    gives what the device itself holds, never what this computer remembers of it
"""

from __future__ import annotations

from typing import Protocol

SECTOR = 512  # bytes; drives with another logical size are refused before this door is opened


class BlockDevice(Protocol):
    """One device. Every method raises OSError, with the device's name in it, for what the device does not do."""

    @property
    def name(self) -> str:
        """What people are told: `/dev/vda6`."""

    @property
    def size(self) -> int:
        """Its size in bytes."""

    def read(self, offset: int, length: int) -> bytes:
        """Return `length` bytes from the device itself; shorter at its end."""

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole sectors. Nothing is sure before `sync`."""

    def sync(self) -> None:
        """Return when everything written before is on the medium, whatever happens to the power from now on."""


def require_sectors(name: str, offset: int, length: int, size: int) -> None:
    """Raise ValueError for what is not whole sectors, OSError for what goes beyond the end."""
    if offset < 0 or offset % SECTOR or length % SECTOR:
        raise ValueError(f"{name}: {length} bytes at {offset} are not whole sectors of {SECTOR}")
    if offset + length > size:
        raise OSError(28, f"{length} bytes at {offset} go beyond its end at {size}", name)  # ENOSPC


def padded(data: bytes | bytearray | memoryview) -> bytes:
    """Return `data` with zeros up to the next whole sector."""
    return bytes(data) + bytes(-len(data) % SECTOR)


class Part:
    """A part of a device as a device of its own: a partition of a disk that the kernel does not know of yet."""

    def __init__(self, device: BlockDevice, offset: int, size: int, name: str = "") -> None:
        require_sectors(device.name, offset, size, device.size)
        self._device = device
        self._offset = offset
        self._size = size
        self._name = name or device.name

    @property
    def name(self) -> str:
        """The part's name, or the whole device's."""
        return self._name

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of this part alone; shorter at its end."""
        return self._device.read(self._offset + offset, max(0, min(length, self._size - offset)))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write whole sectors of this part alone."""
        require_sectors(self._name, offset, len(data), self._size)
        self._device.write(self._offset + offset, data)

    def sync(self) -> None:
        """Sync the whole device."""
        self._device.sync()
