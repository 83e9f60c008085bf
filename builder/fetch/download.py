"""Brings one file of known hash and size into the store: resumes, retries, verifies.

What came is kept in `partial/SHA256` below the store, locked by the process that writes it, so that a download goes on
after a broken line, a Ctrl-C or a `kill -9`, and two builds never fetch the same file twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import BerthError, FetchError, VerificationError
from builder.fetch.http import Gone, Interrupted, RangeRefused, shown
from builder.fetch.store import explain_full_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from io import BufferedRandom
    from pathlib import Path

    from builder.fetch.http import Client
    from builder.fetch.store import Store

_ASLEEP = 60.0  # seconds without a byte after which another build's download is not waited for


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How often and after what time to try again. Seconds; each wait is twice the one before, plus a random part."""

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A file: where it may be asked for, in order, and what it has to be. `size` is in bytes, `title` for messages."""

    title: str
    urls: Sequence[str]
    sha256: str
    size: int


def bring(
    client: Client,
    store: Store,
    wanted: Wanted,
    *,
    patience: Patience,
    report: Callable[[int], object] = lambda _: None,
) -> None:
    """Make `wanted` present in the store. `report` is told bytes as they come; a negative number takes some back.

    Raises Gone when every address says that there is no such file, VerificationError when the right number of bytes
    came and they are wrong, FetchError otherwise.
    """
    with _partial(store, wanted.sha256) as part:
        if store.has(wanted.sha256):
            report(wanted.size)  # another build brought it while this one waited
            part.path.unlink(missing_ok=True)
            return
        failures: list[BerthError] = []
        for url in wanted.urls:
            try:
                _from_one(client, url, part, wanted=wanted, patience=patience, report=report)
                store.adopt(part.path, wanted.sha256)
                return
            except (FetchError, VerificationError) as failure:
                failures.append(failure)
        raise next((failure for failure in failures if not isinstance(failure, Gone)), failures[0])


def wait_before(attempt: int, patience: Patience, asked: float | None = None) -> None:
    """Sleep before attempt number `attempt` (from 1); `asked` is the server's own wish."""
    wait = min(patience.longest_wait, max(asked or 0.0, patience.first_wait * 2 ** (attempt - 1)))
    time.sleep(wait * (1 + random.random() / 4))


@dataclass(slots=True)
class _Part:
    path: Path
    stream: BufferedRandom


def _from_one(
    client: Client, url: str, part: _Part, *, wanted: Wanted, patience: Patience, report: Callable[[int], object]
) -> None:
    start = _reusable(part, wanted.size)
    report(start)
    resumed = start > 0
    attempt = 1
    while True:
        try:
            _append(client, url, part, wanted, report)
            _check(part, wanted, url)
            return
        except RangeRefused:
            report(-_cut(part, 0))
        except VerificationError:
            report(-_cut(part, 0))
            if not resumed:
                raise
            resumed = False  # the bytes of an earlier run may be to blame: once more from the beginning
        except Interrupted as failure:
            attempt += 1
            if attempt > patience.attempts:
                raise FetchError(
                    f"{wanted.title}: {failure.message} ({patience.attempts} attempts)",
                    hint=failure.hint
                    or "what came so far is kept: run the same command again, or choose another mirror",
                ) from failure
            wait_before(attempt - 1, patience, failure.after)
            resumed = True


def _append(client: Client, url: str, part: _Part, wanted: Wanted, report: Callable[[int], object]) -> None:
    offset = part.stream.seek(0, os.SEEK_END)
    if offset == wanted.size:
        return

    def write(chunk: bytes) -> None:
        with explain_full_disk(part.path.parent):  # here, for the client takes any other error for the network's
            part.stream.write(chunk)
        report(len(chunk))

    with explain_full_disk(part.path.parent):
        try:
            client.fetch(url, write, limit=wanted.size, offset=offset, exact=True)
        finally:
            part.stream.flush()
    if part.stream.tell() < wanted.size:
        # Without a Content-Length a broken line looks like an end.
        raise Interrupted(f"{shown(url)}: ended after {part.stream.tell()} of {wanted.size} bytes")


def _check(part: _Part, wanted: Wanted, url: str) -> None:
    part.stream.seek(0)
    head = part.stream.read(64)
    part.stream.seek(0)
    found = hashlib.file_digest(part.stream, "sha256").hexdigest()
    if found != wanted.sha256:
        page = ": it is a web page (a log-in portal?)" if head.lstrip()[:1] == b"<" else ""
        raise VerificationError(
            f"{wanted.title}: {shown(url)} does not have the SHA-256 {wanted.sha256}{page}",
            hint="the mirror's file is altered or damaged: choose another mirror",
        )
    os.fsync(part.stream.fileno())


def _reusable(part: _Part, size: int) -> int:
    have = part.stream.seek(0, os.SEEK_END)
    if have > size:
        _cut(part, 0)
        return 0
    return have


def _cut(part: _Part, size: int) -> int:
    """Shorten the file to `size` bytes and return how many went."""
    have = part.stream.seek(0, os.SEEK_END)
    part.stream.truncate(size)
    part.stream.seek(size)
    return have - size


@contextlib.contextmanager
def _partial(store: Store, sha256: str) -> Iterator[_Part]:
    """Open the file that what came of `sha256` is kept in, locked for this thread."""
    path = store.root / "partial" / sha256
    while True:
        with explain_full_disk(store.root):
            stream = path.open("a+b")
        with stream:
            if not _lock(stream):
                path = store.scratch() / sha256  # its owner is asleep or hangs: fetch for ourselves
                continue
            # The one who had it may have moved it into the store: then this descriptor's file has another name.
            if path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
                yield _Part(path, stream)
                return


def _lock(stream: BufferedRandom) -> bool:
    """Wait for the file's lock. False when another one has it and nothing has come for it for a minute."""
    size, since = -1, time.monotonic()
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            now = os.fstat(stream.fileno()).st_size
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > _ASLEEP:
                return False
            time.sleep(0.05)
