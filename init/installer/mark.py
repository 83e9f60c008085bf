"""The mark of an installation under way: it takes the place of the disk's first sector until all else is written.

    sector 0 is          the disk is
    the mark             ours, half written: firmware doesn't start it, and the next installation begins anew
    the protective MBR   installed

One sector is written as a whole, so there is no third kind: the first write of an installation puts the mark where the
old partition table's beginning was, and the last one puts the MBR in the mark's place.
"""

from __future__ import annotations

SECTOR = 512
MARK = b"berth.installing/1\nThis disk is being installed. Start the installation again.\n".ljust(SECTOR, b"\0")


def is_marked(first: bytes) -> bool:
    """Tell whether a disk's first sector is the mark."""
    return first[:SECTOR] == MARK
