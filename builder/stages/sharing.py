"""Stores once what the root and its baked images both hold: the image's file becomes a hard link to the root's.

Nothing can change either through the other, for the root is read only and containers write to a layer above it. It
saves the bytes, and a program that runs in both is read, unpacked and kept in memory once.
"""

from __future__ import annotations

from dataclasses import replace

from builder.images.storage import PREFIX
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Link the images' files to equal ones of the root."""
    images = draft.below(PREFIX)
    inside = {node.path for node in images}
    known = {_identity(node): node.path for node in draft if _counts(node) and node.path not in inside}
    shared = [node for node in images if _counts(node) and _identity(node) in known]
    for node in shared:
        draft.put(replace(node, kind=Kind.HARDLINK, target=known[_identity(node)]))
    return f"{len(shared)} files, {sum(node.size for node in shared) / 1e6:.1f} MB"


def _counts(node: Entry) -> bool:
    return node.kind is Kind.FILE and node.size > 0


def _identity(node: Entry) -> tuple[object, ...]:
    """Return all that hard links have in common."""
    return node.sha256, node.mode, node.uid, node.gid, node.xattrs
