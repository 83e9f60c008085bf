"""An archive of snapshots: dated copies of whole Debian archives, which never forget a file.

It is asked for a .deb that a lock names and the mirror no longer has, where the user named one (`--snapshots`, then
`BERTH_SNAPSHOTS`), and for nothing else: never for an index, never before the mirror. It needs no trust, for what comes
is held against the lock like anybody's bytes. Where a file lies in one:

    BASE/archive/debian/20261121T091544Z/pool/main/k/kmod/kmod_34.2-2_amd64.deb
                 debian-security

Any instant is answered by the newest copy made at or before it. A copy is made some hours after the Release file that
it holds was signed, so what that Release file was the first to list is not in the copy of its own date, but in that of
a day later: until then a mirror keeps what it has replaced.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from builder.fetch.mirrors import checked_base

DAY = 86400  # seconds
NAMES = {"main": "debian", "security": "debian-security"}  # by a LockedRelease's `archive`
_HOW = "name the archive's base URL, below which `archive/debian/` with its dates lies: --snapshots https://…"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshots:
    """An archive's base address, without a slash at the end."""

    base: str

    def urls(self, archive: str, dates: Iterable[int], path: str) -> tuple[str, ...]:
        """Return where a file may lie that Release files of these dates (seconds since 1970) list, likeliest first."""
        instants = dict.fromkeys(moment for date in dates for moment in (date, date + DAY))
        return tuple(
            f"{self.base}/archive/{NAMES[archive]}/{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(moment))}"
            f"/{quote(path, safe='/+~')}"
            for moment in instants
        )


def find_snapshots(given: str | None = None, *, environment: dict[str, str] | None = None) -> Snapshots | None:
    """Return the archive that the user named, None where none was. Raises UsageError for what is no address."""
    variables = dict(os.environ) if environment is None else environment
    for word, origin in ((given, "--snapshots"), (variables.get("BERTH_SNAPSHOTS") or None, "BERTH_SNAPSHOTS")):
        if word is not None:
            return Snapshots(base=checked_base(word, origin, what="an archive of snapshots", hint=_HOW))
    return None
