"""Files that a recipe names: where they lie, and how they are read. Regular files only, and up to a bound."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from init.dialects.diagnostic import Place

LARGEST = 512 << 20  # bytes of one file: it is held in memory, and a root slot has 1 GiB unless the recipe says more


def beside(where: Place, text: str) -> Path:
    """Return a path that stands in a recipe: relative ones start at the recipe's folder."""
    return Path(where.file).parent / text if not where.file.startswith("--set") else Path(text)


def read_file(path: Path) -> bytes:
    """Return a file's bytes. Raise OSError where `open_file` does, and for one that grows past the bound meanwhile."""
    with open_file(path) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _too_large(path)
    return data


def open_file(path: Path) -> BinaryIO:
    """Open a file. Raise OSError also for what is no regular file or larger than LARGEST; nothing can make it wait."""
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115 - a descriptor
    status = os.fstat(file.fileno())
    if stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST:
        return file
    file.close()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))
    raise _too_large(path)


def _too_large(path: Path) -> OSError:
    return OSError(errno.EFBIG, f"Larger than {LARGEST >> 20} MiB", str(path))
