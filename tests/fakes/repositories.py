"""A repository in memory whose publisher can be cut off at any step, and a machine that reads it with its own code."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from builder.repository import rotation
from builder.repository.folder import Files
from builder.repository.publish import Publisher
from builder.repository.signing import KeyFolder
from init.formats import blocks
from init.formats.offer import Image, Offer
from init.updater import check
from init.updater.fetch import Repository
from init.updater.http import NotFoundError, TooLargeError

BASE = "memory:"
CLASS = "minimal-amd64"


class CutError(Exception):
    """The publisher's power failed."""


@dataclass(kw_only=True)
class MemoryFiles:
    """`Files` in memory; the `last`-th change is the last that is not done. `seen` is called after each change."""

    files: dict[str, bytes] = field(default_factory=dict)
    times: dict[str, float] = field(default_factory=dict)
    now: float = 0.0
    changes: int = 0
    last: int = 0
    seen: Callable[[], None] = lambda: None

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)

    def size(self, path: str) -> int | None:
        return len(self.files[path]) if path in self.files else None

    def modified(self, path: str) -> float:
        return self.times.get(path, 0.0)

    def write(self, path: str, data: bytes) -> None:
        self._count()
        self.files[path] = data
        self.times[path] = self.now
        self.seen()

    def remove(self, path: str) -> None:
        self._count()
        self.files.pop(path, None)
        self.seen()

    def names(self, folder: str) -> list[str]:
        return sorted(path for path in self.files if path.startswith(f"{folder}/"))

    def _count(self) -> None:
        self.changes += 1
        if self.changes == self.last:
            raise CutError

    def copy(self) -> MemoryFiles:
        return MemoryFiles(files=dict(self.files), times=dict(self.times), now=self.now)

    # A machine's getter

    def get(self, url: str, limit: int) -> bytes:
        data = self.files.get(unquote(url.removeprefix(f"{BASE}/")))
        if data is None:
            raise NotFoundError(2, "404", url)
        if len(data) > limit:
            raise TooLargeError(27, "too large", url)
        return data


@dataclass(frozen=True, kw_only=True)
class Reader:
    """A machine as far as it reads repositories. `kept` is its folder on state."""

    files: MemoryFiles
    root: bytes
    kept: Path

    def look(self, *, channel: str = "stable", machine_class: str = CLASS, floor: float = 0.0) -> Offer:
        return check.newest(
            repository=BASE, machine_class=machine_class, channel=channel, root=self.root, kept=self.kept,
            floor=floor, fetcher=check.Fetcher(self.files, sleep=lambda _: None),
        )  # fmt: skip

    def fetch(self, one: Offer) -> tuple[bytes, bytes]:
        """Return both images, put together of the repository's blocks alone."""
        source = Repository(BASE, self.files, sleep=lambda _: None, alive=lambda: None)
        return self._image(source, one.boot), self._image(source, one.root)

    @staticmethod
    def _image(source: Repository, image: Image) -> bytes:
        index: blocks.Index = source.index(image.index_sha256, image.index_size)
        return b"".join(source.block(block) if block.sha256 else bytes(block.size) for block in index.blocks)


def no_passphrase(name: str) -> bytes:
    raise AssertionError(f"{name} is not encrypted")


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def keys(
    folder: Path, *, root_keys: int = 1, threshold: int = 1, days: Mapping[str, int] | None = None,
    at: datetime.datetime | None = None,
) -> Path:  # fmt: skip
    """Make a folder of keys."""
    rotation.initialise(folder, root_keys=root_keys, threshold=threshold, days=days or {}, now=at or now())
    return folder


def publisher(
    files: Files, folder: Path, *, at: datetime.datetime | None = None, keep: int | None = None,
    days: Mapping[str, int] | None = None,
) -> Publisher:  # fmt: skip
    """Return who publishes with a folder of keys, at a time."""
    private = KeyFolder.open(folder, no_passphrase, days)
    return Publisher(files=files, private=private, now=at or now(), keep=keep)
