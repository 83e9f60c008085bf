"""Where a package's path lies in a tree whose `/bin`, `/sbin`, `/lib` and `/lib64` are links below `/usr`.

Debian's trixie is merged (`base-files` ships the links), yet packages may still name files through them.
"""

from __future__ import annotations

LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}


def resolve(path: str) -> str:
    """Return the path below `usr` of one that goes through a link, and any other path as it is."""
    first, slash, rest = path.partition("/")
    merged = LINKS.get(first)
    return path if merged is None else f"{merged}{slash}{rest}"
