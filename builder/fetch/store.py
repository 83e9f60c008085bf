"""The content store: every byte that a build reads, kept below the name of its SHA-256.

Layout below the root:

    blobs/ab/abcdef…      one blob, mode 0444, named by the hex SHA-256 of its content
    partial/abcdef…       a download under way, kept so that the next try resumes (see `download.py`)
    scratch/XXXXXXXX/     private folders of running builds, each locked by its owner

Any number of builds may use one store at the same time, and each may be killed at any instant: a blob gets its
name by one rename after its content is whole, so a name either has the right bytes or is damaged by the disk
itself, which each reading finds out. Nothing else is ever renamed over or shortened.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.errors import BerthError, FetchError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

_CHUNK = 1 << 20  # bytes; large enough that hashing, not calling, takes the time
_USED_AGAIN = 86400  # seconds after which a use is noted again


class Readable(Protocol):
    """What `put_stream` reads from."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, none at the end."""


class BlobMissing(FetchError):
    """The store does not have a blob that was asked for by name."""

    def __init__(self, sha256: str) -> None:
        super().__init__(
            f"the store has no content with the SHA-256 {sha256}", hint="run `berth fetch RECIPE` and try again"
        )
        self.sha256 = sha256


class BlobDamaged(VerificationError):
    """A file of the store no longer has the bytes that its name promises. It is already taken away."""

    def __init__(self, sha256: str, path: Path) -> None:
        super().__init__(
            f"a file of the store was damaged and is taken away: {path}",
            hint="run the same command again: what is missing is fetched or made anew. Comes it back, check the disk",
        )
        self.sha256 = sha256
        self.path = path


def default_root() -> Path:
    """Return where the store is: `$BERTH_CACHE`, else `$XDG_CACHE_HOME/berth`, else `~/.cache/berth`.

    Raises BerthError where that needs the home of somebody who has none, such as a container's user without a name.
    """
    chosen = os.environ.get("BERTH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        if chosen:
            return Path(chosen).expanduser().absolute()
        # The XDG rules: a relative path in the variable is to be ignored.
        return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "berth"
    except RuntimeError:
        whose = f"BERTH_CACHE is {chosen}, and that user" if chosen else f"HOME is not set, and the user {os.getuid()}"
        raise BerthError(
            f"there is no place for the store: {whose} has no home folder on this computer",
            hint="set BERTH_CACHE to a folder that you may write to, such as BERTH_CACHE=/var/tmp/berth",
        ) from None


class Store:
    """A content-addressed store. Safe among threads, processes and against `kill -9`."""

    def __init__(self, root: Path) -> None:
        """Use the store at `root` and make its folders. Raises BerthError if that isn't possible."""
        self.root = root.absolute()
        self._blobs = self.root / "blobs"
        self._scratch: Path | None = None
        self._users: int | None = None
        with explain_full_disk(self.root):
            for folder in (self._blobs, self.root / "partial", self.root / "scratch"):
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                except FileNotFoundError as error:  # below /proc, for one
                    raise BerthError(
                        f"no folder can be made at {self.root}", hint="point BERTH_CACHE to a folder of yours"
                    ) from error

    def hold(self) -> None:
        """Say, for as long as this process lives, that the store is in use, and wait for who is emptying it."""
        if self._users is None:
            with contextlib.suppress(OSError):  # a file system without locks: as safe as it lets us be
                self._users = self._open_root()
                fcntl.flock(self._users, fcntl.LOCK_SH)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have the store for oneself. Raises BerthError while another command works with it."""
        users = self._open_root()
        held = self._users is not None
        if self._users is not None:
            os.close(self._users)
            self._users = None
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise BerthError(
                f"another command works with the store {self.root}, which would lose what it has just fetched",
                hint="wait until that has ended, and try again",
            ) from None
        finally:
            os.close(users)
            if held:
                self.hold()

    def _open_root(self) -> int:
        return os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # a lock needs no file of its own

    def path(self, sha256: str) -> Path:
        """Return where the blob is or would be. Its content is not checked: see `read`, `open`, `verify`."""
        return self._blobs / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Tell whether the blob is there. Cheap: its content is not checked."""
        path = self.path(sha256)
        try:
            _mark_used(path, path.stat())
        except FileNotFoundError:
            return False
        return True

    def verify(self, sha256: str) -> bool:
        """Tell whether the blob is there with the right content; a damaged one is taken away."""
        try:
            with self.open(sha256):
                return True
        except (BlobMissing, BlobDamaged):
            return False

    def read(self, sha256: str) -> bytes:
        """Return the whole content, verified. Raises BlobMissing, BlobDamaged."""
        path = self.path(sha256)
        try:
            with path.open("rb") as stream:
                _mark_used(path, os.fstat(stream.fileno()))
                data = stream.read()
        except FileNotFoundError:
            raise BlobMissing(sha256) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._take_away(sha256)
        return data

    def open(self, sha256: str) -> BinaryIO:
        """Open the content for reading; it was verified through the very descriptor that is returned.

        Raises BlobMissing, BlobDamaged.
        """
        path = self.path(sha256)
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            raise BlobMissing(sha256) from None
        try:
            _mark_used(path, os.fstat(stream.fileno()))
            good = hashlib.file_digest(stream, "sha256").hexdigest() == sha256
            stream.seek(0)
        except BaseException:
            stream.close()
            raise
        if not good:
            stream.close()
            raise self._take_away(sha256)
        return stream

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256. Not synced: a build makes thousands, and reading verifies each."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.has(sha256):
            temporary = self._temporary()
            with explain_full_disk(self.root), _removed_on_error(temporary):
                temporary.write_bytes(data)
                self._place(temporary, sha256)
        return sha256

    def put_stream(self, stream: Readable, *, sha256: str | None = None, size: int | None = None) -> str:
        """Keep what `stream` gives until its end and return its SHA-256; the content is synced to the disk.

        `sha256` and `size` (bytes), where given, must be met: VerificationError, and nothing is kept. No more
        than `size` bytes are read from a stream that goes on.
        """
        temporary = self._temporary()
        with explain_full_disk(self.root), _removed_on_error(temporary):
            found, length = _copy(stream, temporary, size)
            if size is not None and length != size:
                raise VerificationError(f"{length} bytes instead of {size}")
            if sha256 is not None and found != sha256:
                raise VerificationError(f"its SHA-256 is {found} instead of {sha256}")
            self._place(temporary, found)
        return found

    def adopt(self, path: Path, sha256: str) -> None:
        """Take over a file of the store's own file system whose content the caller has verified and synced."""
        with explain_full_disk(self.root):
            self._place(path, sha256)

    def remove(self, sha256: str) -> None:
        """Take a blob out of the store; readers that have it open keep it."""
        self.path(sha256).unlink(missing_ok=True)

    def scratch(self) -> Path:
        """Return a new private folder in the store's file system, removed when this process ends.

        What a killed build leaves is removed by the next `sweep`.
        """
        return _make_unique(self._own_scratch())

    def sweep(self) -> int:
        """Remove private folders whose owners are gone. Return how many were removed."""
        removed = 0
        for folder in (self.root / "scratch").iterdir():
            descriptor = _lock_folder(folder, wait=False)
            if descriptor is None:
                continue
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)
            removed += 1
        return removed

    def _own_scratch(self) -> Path:
        if self._scratch is None:
            self._scratch = _claim_folder(self.root / "scratch")
            finalizer = weakref.finalize(self, _remove_own, self._scratch, os.getpid())
            atexit.register(finalizer)
        return self._scratch

    def _temporary(self) -> Path:
        with explain_full_disk(self.root):
            return self._own_scratch() / f"put-{secrets.token_hex(12)}"

    def _place(self, temporary: Path, sha256: str) -> None:
        temporary.chmod(0o444)
        target = self.path(sha256)
        try:
            temporary.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(exist_ok=True)
            temporary.rename(target)

    def _take_away(self, sha256: str) -> BlobDamaged:
        path = self.path(sha256)
        path.unlink(missing_ok=True)
        return BlobDamaged(sha256, path)


def _copy(stream: Readable, target: Path, size: int | None) -> tuple[str, int]:
    """Write `stream` to `target`, synced, and return SHA-256 and length. VerificationError beyond `size` bytes."""
    digest = hashlib.sha256()
    length = 0
    with target.open("wb") as out:
        while chunk := stream.read(_CHUNK):
            length += len(chunk)
            if size is not None and length > size:
                raise VerificationError(f"larger than the {size} bytes that it should have")
            digest.update(chunk)
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest(), length


def _mark_used(path: Path, status: os.stat_result) -> None:
    """Renew the time by which `prune` judges, at most once a day. In a store that others own it stays."""
    if time.time() - status.st_mtime > _USED_AGAIN:
        with contextlib.suppress(OSError):
            os.utime(path)


@contextlib.contextmanager
def explain_full_disk(root: Path) -> Iterator[None]:
    """Turn the operating system's word for a full, read-only or forbidden disk into an error for people."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) or error.errno is None:
            raise
        hint = "point BERTH_CACHE to a folder that you may write to"
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            hint = "free some space (`berth cache prune` removes what is old), or point BERTH_CACHE to another disk"
        raise BerthError(f"cannot write to the store at {root}: {os.strerror(error.errno)}", hint=hint) from error


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _make_unique(parent: Path) -> Path:
    path = parent / secrets.token_hex(8)
    path.mkdir(mode=0o700)
    return path


def _lock_folder(folder: Path, *, wait: bool) -> int | None:
    """Lock a folder for its owner. None if another one has it, or if it went away meanwhile."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        # Between opening and locking a sweep may have removed it: then the lock is on a folder without a name.
        if os.fstat(descriptor).st_ino != folder.stat().st_ino:
            raise FileNotFoundError(folder)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def _claim_folder(parent: Path) -> Path:
    """Make a folder and lock it for as long as this process lives: the lock ends with it, even by `kill -9`."""
    while True:
        folder = _make_unique(parent)
        if _lock_folder(folder, wait=True) is not None:  # the descriptor stays open on purpose
            return folder


def _remove_own(folder: Path, owner: int) -> None:
    # A forked child inherits the finalizer but not the folder.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
