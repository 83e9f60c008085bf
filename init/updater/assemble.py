"""What of a release is here already: each block where it belongs in the target, or anywhere in the slot that runs.

Everything is found by its hash, never by a name or a note: what a power cut left half written is told from what is
whole in just this way, so an update that was cut short goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from init.blockdevice.device import BlockDevice
from init.formats.blocks import LARGEST_PACK, Block, Index, Pack, cut
from init.updater import slot as slots
from init.updater.slot import Slot


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a block lies: device, offset in bytes."""

    device: BlockDevice
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A block that has to be written at `offset` of the target. `place`: where to copy it from; None: fetch it."""

    offset: int
    block: Block
    place: Place | None = None


def positions(index: Index) -> Iterator[tuple[int, Block]]:
    """Yield each block of an image with its offset."""
    offset = 0
    for block in index.blocks:
        yield offset, block
        offset += block.size


def missing(index: Index, target: BlockDevice) -> tuple[Piece, ...]:
    """Return the blocks that the target has not in their places; raise OSError."""
    there = _Ahead(target, index.size)
    return tuple(
        Piece(offset=offset, block=block) for offset, block in positions(index) if not _is_there(there, offset, block)
    )


class _Ahead:
    """Reads a device in large pieces for whom asks for small ones in order: each read waits for the disk."""

    def __init__(self, device: BlockDevice, end: int) -> None:
        self._device = device
        self._end = end
        self._start = 0
        self._data = b""

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes of the device; raise OSError."""
        if not self._start <= offset <= offset + size <= self._start + len(self._data):
            self._start = offset
            self._data = self._device.read(offset, min(max(size, slots.CHUNK), self._end - offset))
        at = offset - self._start
        return self._data[at : at + size]


def _is_there(there: _Ahead, offset: int, block: Block) -> bool:
    if block.sha256:
        return hashlib.sha256(there.read(offset, block.size)).hexdigest() == block.sha256
    end = offset + block.size
    return all(not any(there.read(at, min(slots.CHUNK, end - at))) for at in range(offset, end, slots.CHUNK))


def find(wanted: frozenset[str], device: BlockDevice, size: int) -> dict[str, Place]:
    """Return where an image on a device has wanted blocks: it is cut as the builder cuts; raise OSError."""
    found: dict[str, Place] = {}
    offset = 0
    if wanted:
        for block, _ in cut(slots.pieces(device, size)):
            if block.sha256 in wanted and block.sha256 not in found:
                found[block.sha256] = Place(device=device, offset=offset)
            offset += block.size
    return found


def plan(pieces: Iterable[Piece], running: Slot) -> tuple[Piece, ...]:
    """Say for each missing block where the running slot has it. A slot that can't be read helps with nothing."""
    listed = tuple(pieces)
    wanted = frozenset(piece.block.sha256 for piece in listed if piece.block.sha256)
    try:
        boot_size, root_size = slots.extents(running)
        places = {**find(wanted, running.root, root_size), **find(wanted, running.boot, boot_size)}
    except (OSError, ValueError):
        places = {}
    return tuple(
        Piece(offset=piece.offset, block=piece.block, place=places.get(piece.block.sha256)) for piece in listed
    )


def in_order(pieces: Iterable[Piece]) -> list[Piece]:
    """Return what is here first, then what has to be fetched, pack by pack: each is asked for once."""
    seen: dict[Pack | None, int] = {None: 0}
    return sorted(pieces, key=lambda each: 0 if each.place else seen.setdefault(each.block.pack, len(seen)))


def copied(piece: Piece) -> bytes | None:
    """Return a block from where it lies; None where it is not what it was (a disk that goes bad) or can't be read."""
    if piece.place is None:
        return None
    try:
        data = piece.place.device.read(piece.place.offset, piece.block.size)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == piece.block.sha256 else None


def zeros(size: int) -> Iterator[bytes]:
    """Yield a run of zeros in pieces."""
    for at in range(0, size, LARGEST_PACK):
        yield bytes(min(LARGEST_PACK, size - at))
