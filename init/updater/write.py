"""Writing a slot's images, and reading them back from the disk before anybody may boot them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from init.blockdevice.device import BlockDevice, padded
from init.formats.blocks import LARGEST_PACK, Block, Index
from init.formats.offer import Offer
from init.updater import assemble
from init.updater import slot as slots
from init.updater.assemble import Piece
from init.updater.errors import FailedError, RefusedError
from init.updater.slot import Slot

SYNC_EVERY = 8 << 20  # bytes: what a cut loses at most, and how long PID 1's own sectors wait for the disk


class Source(Protocol):
    """Where blocks come from that this machine has not."""

    def block(self, block: Block) -> bytes:
        """Return a block whose hash was compared; raise UpdateError."""


def fill(target: BlockDevice, pieces: Iterable[Piece], source: Source, done: Callable[[int], None]) -> None:
    """Write the missing blocks of an image and sync. Raise UpdateError where one does not come, OSError.

    `done` is told of what was written, in bytes.
    """
    unsynced = 0
    for offset, data in _joined(_contents(assemble.in_order(pieces), source)):
        target.write(offset, padded(data))
        done(len(data))
        unsynced += len(data)
        if unsynced >= SYNC_EVERY:
            target.sync()
            unsynced = 0
    target.sync()


def _contents(pieces: Iterable[Piece], source: Source) -> Iterator[tuple[int, bytes]]:
    """Yield the bytes of blocks, each with its offset in the image."""
    for piece in pieces:
        if piece.block.sha256:
            data = assemble.copied(piece)
            yield piece.offset, source.block(piece.block) if data is None else data
            continue
        at = piece.offset
        for zeros in assemble.zeros(piece.block.size):
            yield at, zeros
            at += len(zeros)


def _joined(contents: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Join what lies side by side: a disk writes 256 KiB about as fast as 4."""
    start, joined = 0, bytearray()
    for offset, data in contents:
        if joined and (offset != start + len(joined) or len(joined) + len(data) > LARGEST_PACK):
            yield start, bytes(joined)
            joined.clear()
        if not joined:
            start = offset
        joined += data
    if joined:
        yield start, bytes(joined)


def verify(target: Slot, boot: Index, root: Index, offer: Offer) -> None:
    """Read both images back whole. Raise FailedError where the disk lost something, RefusedError, OSError."""
    for what, device, index in (("boot", target.boot, boot), ("root", target.root, root)):
        if slots.digest(device, index.size) != index.sha256:
            raise FailedError(f"{device.name}: the {what} image does not read back as it was written")
    try:
        named = slots.root_of(target.boot)
        slots.superblock(target.root, offer.root_hash, offer.hash_offset)
    except ValueError as error:
        raise RefusedError(f"the release is not whole in itself: {error}") from error
    if named != (offer.root_hash, offer.hash_offset):
        raise RefusedError("the release is not whole in itself: its boot image names another root than its offer")
