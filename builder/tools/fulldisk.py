"""Notices the full disk that a program waits on for ever, as mkfs.erofs 1.8 does: it is tried out, and not reckoned.

So another writer, a quota of the user, and blocks that are kept for root count as well.
"""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from pathlib import Path

_ROOM = 1 << 20  # bytes: with less than this left a program that stands still will not go on
_LOOK = 1.0  # seconds between two looks


def full(output: Path) -> OSError | None:
    """Return the error that whoever writes `output` meets now for want of room; None where there is some."""
    try:
        with tempfile.TemporaryFile(dir=output.parent) as file:
            os.posix_fallocate(file.fileno(), 0, _ROOM)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return OSError(error.errno, error.strerror, str(output))
    return None


def attend(process: subprocess.Popen[bytes], data: bytes | None, output: Path) -> tuple[bytes, bytes]:
    """Communicate with a process that writes `output`; raise the OSError of a full disk once it stands still on one."""
    before = None
    while True:
        try:
            return process.communicate(data, timeout=_LOOK)
        except subprocess.TimeoutExpired:
            data = None  # it goes on with what it was given
            used = _processor_time(process.pid)
            if used == before and (error := full(output)):
                raise error from None
            before = used


def _processor_time(process: int) -> tuple[str, ...]:
    """Return what a process of ours that nobody has waited for has used, user and system, in ticks (proc(5), stat)."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return tuple(fields[11:13])
