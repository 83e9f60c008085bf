"""Copyright texts that several packages of one source ship alike are kept once: the others become hard links to it."""

from __future__ import annotations

import re
from dataclasses import replace

from builder.rootfs.entry import Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

_TEXT = re.compile(r"usr/share/doc/[^/]+/copyright")


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Link equal texts to the first of them by path, which a tar stream has before them."""
    first: dict[tuple[object, ...], str] = {}
    saved = 0
    for node in draft:
        if node.kind is not Kind.FILE or not _TEXT.fullmatch(node.path):
            continue
        known = first.setdefault((node.sha256, node.mode, node.uid, node.gid), node.path)
        if known != node.path:
            draft.put(replace(node, kind=Kind.HARDLINK, target=known))
            saved += node.size
    return f"{saved} bytes saved"
