"""The boot image's form: a POSIX ustar archive, which GRUB reads in place from a raw partition."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BLOCK = 512


def archive(members: Mapping[str, bytes], *, mtime: int) -> bytes:
    """Return an archive of plain files in the given order, owned by root, mode 0644, of one `mtime` (seconds)."""
    parts: list[bytes] = []
    for name, data in members.items():
        header = tarfile.TarInfo(name)
        header.size = len(data)
        header.mode = 0o644
        header.mtime = mtime
        parts += [header.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % BLOCK)]
    return b"".join([*parts, bytes(2 * BLOCK)])
