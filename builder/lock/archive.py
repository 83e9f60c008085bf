"""Asks a mirror what there is: Release files, then the indexes that they cover, all verified."""

from __future__ import annotations

import contextlib
import lzma
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import BerthError, FetchError, OfflineError, VerificationError
from builder.fetch.download import Patience, Wanted, bring, wait_before
from builder.fetch.http import Client, Gone, Interrupted
from builder.fetch.mirrors import no_mirror
from builder.fetch.parallel import for_each
from builder.fetch.store import BlobMissing
from builder.lock.index import PackageIndex, read_index
from builder.lock.release import OTHER_MIRROR, Release, load_keys, verify_release
from builder.lock.universe import Suites, Universe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from builder.fetch.mirrors import Mirrors
    from builder.fetch.snapshots import Snapshots
    from builder.fetch.store import Store
    from builder.lock.model import LockedRelease
    from builder.lock.release import IndexFile
    from builder.progress import Progress

KEYS = Path(__file__).resolve().parent.parent / "keys"

_MOST_RELEASE = 4 << 20  # bytes; trixie's has 140 KB
_MOST_INDEX = 512 << 20  # bytes; trixie's main has 57 MB
_MOST_MEMORY = 256 << 20  # bytes that an .xz may make its reader use; Debian's need 65 MB
_CHUNK = 1 << 20


class SuiteMissing(FetchError):
    """The mirror has no such suite, or none of its updates or security."""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """All suites of one distribution as they are now."""

    suite: str
    architecture: str
    releases: tuple[LockedRelease, ...]
    indexes: tuple[PackageIndex, ...]
    universe: Universe


@dataclass(frozen=True, kw_only=True)
class Source:
    """Whom to ask, and whom to believe: everything that reading an archive needs besides a suite's name.

    `snapshots` are for packages that the mirror no longer has, never for what is read here.
    `now` is seconds since 1970 for tests that play another day; None is this computer's clock.
    """

    store: Store
    mirrors: Mirrors | None
    progress: Progress
    client: Client
    keys: Path = KEYS
    patience: Patience = field(default_factory=Patience)
    offline: bool = False
    snapshots: Snapshots | None = None
    now: float | None = None


def suites_of(suite: str) -> tuple[tuple[str, str], ...]:
    """Return (suite, archive) of the suite itself, its updates and its security suite, in the order of preference."""
    return ((suite, "main"), (f"{suite}-updates", "main"), (f"{suite}-security", "security"))


def open_archive(source: Source, suite: str, architecture: str, *, previous: Sequence[LockedRelease] = ()) -> Archive:
    """Fetch and verify all indexes of `suite`. `previous` are a lock's releases: nothing older is believed.

    Raises OfflineError, FetchError (SuiteMissing), VerificationError.
    """
    if source.mirrors is None and not source.offline:
        raise no_mirror()
    if source.offline:
        raise OfflineError(
            f"to lock packages of {suite} a mirror has to be asked, and that is forbidden by --offline",
            hint="run the command without --offline, or build from the lock that there is",
        )
    keys = load_keys(source.keys, now=source.now)

    def release_of(pair: tuple[str, str]) -> Release:
        data = _get_release(source, pair[0], pair[1])
        return verify_release(data, suite=pair[0], archive=pair[1], keys=keys, previous=previous, now=source.now)

    releases = for_each(suites_of(suite), release_of, threads=3)
    indexes = for_each(releases, lambda release: _index_of(source, release, architecture), threads=3)
    return Archive(
        suite=suite,
        architecture=architecture,
        releases=tuple(release.locked for release in releases),
        indexes=tuple(indexes),
        universe=Suites(indexes, architecture),
    )


def _get_release(source: Source, suite: str, archive: str) -> bytes:
    assert source.mirrors is not None
    url = source.mirrors.url(archive, f"dists/{suite}/InRelease")
    hint = f"the address comes from {source.mirrors.origin}; --mirror or BERTH_MIRROR name another (and its security)"
    for attempt in range(1, source.patience.attempts + 1):
        try:
            return source.client.get(url, limit=_MOST_RELEASE)
        except Interrupted as failure:
            if attempt == source.patience.attempts:
                raise FetchError(failure.message, hint=failure.hint or hint) from failure
            wait_before(attempt, source.patience, failure.after)
        except Gone as failure:
            raise SuiteMissing(f"the mirror has no suite {suite} ({failure.message})", hint=hint) from failure
        except FetchError as failure:
            raise FetchError(failure.message, hint=failure.hint or hint) from failure
    raise AssertionError("the loop above returns or raises")


def _index_of(source: Source, release: Release, architecture: str) -> PackageIndex:
    suite = release.locked.suite
    plain = release.files.get(f"main/binary-{architecture}/Packages")
    if plain is None:
        raise FetchError(f"{suite} has no packages for {architecture}", hint="`build.architecture` is amd64 so far")
    if plain.size > _MOST_INDEX:
        raise VerificationError(
            f"the index of {suite} would have {plain.size} bytes: more than any that is known", hint=OTHER_MIRROR
        )
    if not source.store.verify(plain.sha256):
        _bring_index(source, release, plain)
    return read_index(source.store.read(plain.sha256), suite)


def _bring_index(source: Source, release: Release, plain: IndexFile) -> None:
    packed = next(
        (release.files[plain.path + end] for end in (".xz", ".gz") if plain.path + end in release.files), None
    )
    if packed is None:
        _bring_file(source, release, plain)
        return
    # Two suites may have the same index (an empty one), and another build may be at it: who is first takes the packed
    # file away when the plain one is in its place.
    while not source.store.has(plain.sha256):
        _bring_file(source, release, packed)
        with contextlib.suppress(BlobMissing):
            _unpack_index(source, release, packed, plain)


def _unpack_index(source: Source, release: Release, packed: IndexFile, plain: IndexFile) -> None:
    try:
        with source.store.open(packed.sha256) as stream:
            pieces = _unpacked(stream.read(), packed.path, plain.size)
            source.store.put_stream(_Pieces(pieces), sha256=plain.sha256, size=plain.size)
    except (VerificationError, lzma.LZMAError, zlib.error, EOFError) as error:
        message = error.message if isinstance(error, BerthError) else "it cannot be unpacked"
        raise VerificationError(f"{packed.path} of {release.locked.suite}: {message}", hint=OTHER_MIRROR) from error
    finally:
        source.store.remove(packed.sha256)


def _bring_file(source: Source, release: Release, file: IndexFile) -> None:
    assert source.mirrors is not None
    base = f"dists/{release.locked.suite}"
    folder = file.path.rpartition("/")[0]
    # By hash first: the plain name may already be the next version's while a mirror is updated.
    paths = [f"{base}/{folder}/by-hash/SHA256/{file.sha256}"] if release.by_hash else []
    paths.append(f"{base}/{file.path}")
    task = source.progress.task(f"index of {release.locked.suite}", total=file.size)
    wanted = Wanted(
        title=f"{file.path} of {release.locked.suite}",
        urls=[source.mirrors.url(release.locked.archive, path) for path in paths],
        sha256=file.sha256,
        size=file.size,
    )
    try:
        bring(source.client, source.store, wanted, patience=source.patience, report=task.advance)
    except Gone as failure:
        raise FetchError(
            failure.message, hint="the mirror is incomplete, or just being updated: try again later"
        ) from None
    task.done()


def _unpacked(data: bytes, path: str, size: int) -> Iterator[bytes]:
    """Yield the content piece by piece, at most one piece more than `size` bytes."""
    came = 0
    xz = lzma.LZMADecompressor(memlimit=_MOST_MEMORY) if path.endswith(".xz") else None
    gz = zlib.decompressobj(wbits=31)
    rest = data
    while came <= size:
        if xz is not None:
            piece = xz.decompress(rest, max_length=_CHUNK)
            rest = b""
            ended = xz.eof or (xz.needs_input and not piece)
        else:
            piece = gz.decompress(rest, _CHUNK)
            rest = gz.unconsumed_tail
            ended = gz.eof or not piece
        came += len(piece)
        if piece:
            yield piece
        if ended:
            return


class _Pieces:
    """Lets a store read from an iterator. Only `read` is there, and its argument is a wish."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces

    def read(self, _: int = -1) -> bytes:
        return next(self._pieces, b"")
