"""GUIDs and volume ids of artifacts: derived from what is in them, so that equal images have equal ones.

The installer makes new ones for each machine; a disk image that is copied to many machines keeps these.
"""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("8ad5ac14-2b0d-4c8f-a7a1-1f2b5ba5d3e0")  # Berth's own, made once


def guid(root_hash: str, what: str) -> str:
    """Return the GUID of `what` (`disk`, or a partition's name) in an image of the slot with this root hash."""
    return str(uuid.uuid5(_NAMESPACE, f"{root_hash}/{what}")).upper()


def volume_id(root_hash: str) -> int:
    """Return a FAT volume id of 32 bits."""
    return int(root_hash[:8], 16)
