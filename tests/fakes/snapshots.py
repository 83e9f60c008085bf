"""An archive of snapshots on loopback: dated copies of a mirror; the newest before an instant answers for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from fakes.mirror import FakeMirror, running_mirror

from builder.fetch.snapshots import Snapshots

_FORM = "%Y%m%dT%H%M%SZ"


@dataclass
class FakeSnapshots:
    """`kept` are the instants of its copies; `server` has their files, and what it was asked for."""

    server: FakeMirror
    kept: list[str] = field(default_factory=list)

    @property
    def named(self) -> Snapshots:
        return Snapshots(base=self.server.base.removesuffix("/debian") + "/kept here")

    def keep(self, mirror: FakeMirror, moment: float) -> None:
        """Copy all of a mirror as it is; `moment` is in seconds since 1970."""
        instant = time.strftime(_FORM, time.gmtime(moment))
        for path, data in mirror.files.items():
            _, archive, rest = path.split("/", 2)
            self.put(archive, instant, rest, data)

    def put(self, archive: str, instant: str, path: str, data: bytes) -> None:
        """Have one file in the copy of `instant`."""
        self.kept.append(instant)
        self.server.files[f"/kept here/archive/{archive}/{instant}/{path}"] = data

    def leads_to(self, path: str) -> str:
        parts = path.split("/", 5)  # "", base, "archive", name, instant, rest
        if len(parts) < 6:
            return path
        older = [instant for instant in self.kept if instant <= parts[4]]
        return "/".join([*parts[:4], max(older), parts[5]]) if older else path


@contextlib.contextmanager
def running_snapshots() -> Iterator[FakeSnapshots]:
    with running_mirror() as server:
        snapshots = FakeSnapshots(server)
        server.leads_to = snapshots.leads_to
        yield snapshots
