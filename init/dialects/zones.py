"""`timezone`: a zone's name, compared with the zones of whoever reads the document.

A name that is not among them is a warning and no error: which zones a machine has is its image's business, and its
clock shows UTC where it lacks one.
"""

from __future__ import annotations

import os
from typing import Any

from init.dialects.diagnostic import Report, nearest
from init.dialects.position import Node
from init.dialects.shape import INVALID, Custom, Text

FOLDER = "/usr/share/zoneinfo"  # of Debian's tzdata, and of nearly everybody else
_NAME = Text(pattern=r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", what="a zone such as Europe/Berlin")
_MAGIC = b"TZif"  # tzfile(5)


def timezone(folder: str = FOLDER) -> Custom:
    """Return the shape of a zone's name, which is looked for below `folder`; without any zones there, any name passes.

    The name cannot lead out of the folder: it has no dots.
    """

    def read(node: Node, path: str, report: Report) -> Any:
        name = _NAME.read(node, path, report)
        if name is INVALID or not _is_zone(f"{folder}/UTC") or _is_zone(f"{folder}/{name}"):
            return name
        close = None if report.is_full else nearest(name, zones(folder))
        message = f"no such zone in {folder} here: the clock shows UTC on a machine that has none of this name, either"
        report.warn(node.place, path, message, hint=f"did you mean `{close}`?" if close else None, code="value")
        return name

    return Custom(read, {"type": "string"})


def zones(folder: str) -> list[str]:
    """Return the names of all zones below a folder, without those of other ways to count seconds."""
    found = []
    for top, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if name not in ("posix", "right"))
        found += [f"{top}/{name}".removeprefix(f"{folder}/") for name in sorted(files) if _is_zone(f"{top}/{name}")]
    return found


def _is_zone(path: str) -> bool:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - pathlib costs the machine's compiler its start
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
