"""The update bundle: a ustar archive of one slot, to be carried to a machine or published.

Its members stand in this order: `manifest.json`, `boot.img`, `root.img`; a reader knows what comes.
"""

from __future__ import annotations

import io
import tarfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from builder.artifact.output import Artifact, describe, replacing
from builder.image.slot import SlotImage
from init.formats.release import Release

MANIFEST = "manifest.json"
MEMBERS = (MANIFEST, "boot.img", "root.img")


def write_bundle(*, slot: SlotImage, release: Release, manifest: bytes, out: Path) -> Artifact:
    """Write the bundle `out`; every member belongs to root and has the release's epoch as its time."""
    with ExitStack() as stack, replacing(out) as file:
        sources: tuple[BinaryIO, ...] = (
            io.BytesIO(manifest),
            stack.enter_context(slot.boot.open("rb")),
            stack.enter_context(slot.root.open("rb")),
        )
        # Not `pax`: GRUB, and anyone's tar of the last thirty years, reads ustar.
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, source in zip(MEMBERS, sources, strict=True):
                member = tarfile.TarInfo(name)
                member.size = source.seek(0, io.SEEK_END)
                source.seek(0)
                member.mode = 0o644
                member.mtime = release.epoch
                member.uname = member.gname = "root"
                archive.addfile(member, source)
    return describe("bundle", out)
