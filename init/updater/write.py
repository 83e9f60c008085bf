"""Writing a slot's images, and reading them back from the disk before anybody may boot them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from init.blockdevice.device import BlockDevice, padded
from init.formats.blocks import Index
from init.formats.offer import Offer
from init.updater import assemble
from init.updater import slot as slots
from init.updater.assemble import Piece
from init.updater.errors import FailedError, RefusedError
from init.updater.slot import Slot

SYNC_EVERY = 8 << 20  # bytes: what a cut loses at most, and how long PID 1's own sectors wait for the disk


class Source(Protocol):
    """Where blocks come from that this machine has not."""

    def block(self, sha256: str, size: int) -> bytes:
        """Return a block whose hash was compared; raise UpdateError."""


def fill(target: BlockDevice, pieces: Iterable[Piece], source: Source, done: Callable[[int, bool], None]) -> None:
    """Write the missing blocks of an image and sync. Raise UpdateError where one does not come, OSError.

    `done` is told of each written block: its bytes, and whether they were fetched.
    """
    unsynced = 0
    for piece in pieces:
        block = piece.block
        if not block.sha256:
            at = piece.offset
            for zeros in assemble.zeros(block.size):
                target.write(at, padded(zeros))
                at += len(zeros)
            fetched = False
        else:
            data = assemble.copied(piece)
            fetched = data is None
            target.write(piece.offset, padded(source.block(block.sha256, block.size) if data is None else data))
        done(block.size, fetched)
        unsynced += block.size
        if unsynced >= SYNC_EVERY:
            target.sync()
            unsynced = 0
    target.sync()


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
