"""Whatever is done to a repository, in whatever order and cut off wherever: machines can always go on."""

from __future__ import annotations

import datetime
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.bundles import bundle, numbered
from fakes.repositories import CLASS, CutError, MemoryFiles, Reader, keys, no_passphrase, now, publisher
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.artifact.unbundle import Bundle, read_bundle
from builder.errors import InputError, RepositoryError
from builder.repository import rotation
from builder.repository.check import check
from builder.repository.publish import Publisher
from init.updater.errors import RefusedError

CHANNELS = ("stable", "beta")
RELEASES = {number: numbered(number, changed=2, same=6) for number in range(1, 5)}
RELEASES[4] = numbered(4, changed=8, same=0)


@dataclass(frozen=True, kw_only=True)
class Source:
    files: MemoryFiles

    def read(self, path: str, limit: int) -> bytes | None:
        data = self.files.read(path)
        return None if data is None else data[: limit + 1]


class Life:
    """A repository's, with two machines: one looks after each step, the other never did before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = keys(folder / "keys", root_keys=2, threshold=2)
        self.root = (self.keys / "root.json").read_bytes()
        self.files = MemoryFiles()
        self.now = now()
        self.old = {channel: self.reader(f"old-{channel}") for channel in CHANNELS}
        self.count = 0
        self.seen: dict[str, int] = {}
        self.withdrawn = False
        self.bundles: dict[int, Bundle] = {
            number: read_bundle(bundle(folder / "bundles", made)) for number, made in RELEASES.items()
        }

    def reader(self, name: str) -> Reader:
        return Reader(files=self.files, root=self.root, kept=self.folder / name)

    def publisher(self, keep: int | None = None) -> Publisher:
        return publisher(self.files, self.keys, at=self.now, keep=keep)

    def does(self, step: tuple) -> None:
        verb, number, channel, keep, days, last = step
        self.now += datetime.timedelta(days=days)
        self.files.now = self.now.timestamp()
        if days >= 10 and "metadata/timestamp.json" in self.files.files:
            self.publisher().refresh()  # as cron does; publishing what is there already signs nothing
        self.files.changes, self.files.last = 0, last
        try:
            if verb == "publish":
                self.publisher(keep).publish(self.bundles[number], channel)
            elif verb == "promote":
                self.publisher(keep).promote(CLASS, number, channel)
            elif verb == "withdraw":
                self.withdrawn = True
                self.publisher(keep).withdraw(CLASS, number)
            elif verb == "lose":
                self.now += datetime.timedelta(days=1)
                self.files.files.pop("metadata/timestamp.json", None)
            elif verb == "rotate":
                roles = ((), ("timestamp",), ("root", "snapshot"), ("targets", "snapshot", "timestamp"))[number % 4]
                rotation.rotate(self.keys, roles, now=self.now, passphrase=no_passphrase)
            else:
                self.publisher(keep).refresh()
        except (InputError, RepositoryError):  # what can't be done: no such release, an older one, nothing yet
            pass
        except CutError:
            pass
        else:
            assert verb != "publish" or "metadata/timestamp.json" in self.files.files
        self.files.last = 0

    def holds(self) -> None:
        """Every machine finds a whole release, none older than it saw unless one was withdrawn; nothing is wrong."""
        found = check(Source(files=self.files), trusted=self.root, now=self.now)
        if found.faults and "metadata/timestamp.json" not in self.files.files:
            return  # nothing is published yet
        assert found.faults == []
        self.count += 1
        for channel in CHANNELS:
            for reader in (self.old[channel], self.reader(f"new-{self.count}")):
                try:
                    one = reader.look(channel=channel, floor=self.now.timestamp())
                except RefusedError as error:
                    assert "no release" in str(error)  # noqa: PT017 - one of two answers that are right
                    continue
                made = RELEASES[int(one.version[1:])]
                assert reader.fetch(one) == (made.boot, made.root)
                assert self.withdrawn or one.sequence >= self.seen.get(channel, 0)
                self.seen[channel] = one.sequence


steps = st.tuples(
    st.sampled_from(["publish", "publish", "publish", "promote", "withdraw", "rotate", "refresh", "lose"]),
    st.integers(1, 4),
    st.sampled_from(CHANNELS),
    st.sampled_from([None, None, 1, 2]),
    st.sampled_from([0, 0, 1, 10, 25]),
    st.sampled_from([0, 0, 0, 1, 2, 3, 5, 7, 9, 12]),
)


@pytest.mark.long
@settings(max_examples=25)
@given(st.lists(steps, min_size=1, max_size=8))
def test_machines_can_always_go_on(life: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        one = Life(Path(folder))
        for step in life:
            one.does(step)
            one.holds()
