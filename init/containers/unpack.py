"""Unpacks one layer into an empty folder, verified, by a child that can reach nothing but that folder.

The child's root directory is the folder (chroot(2)): a name with `..`, an absolute name, and a link to anywhere end
inside it. On top, as the builder does with baked images, names that lead out, device nodes and unknown types are
refused, since an image that holds them is broken or hostile.
"""

# After chroot(2) nothing can be imported any more, pathlib neither.
# ruff: noqa: PTH101, PTH102, PTH103, PTH108, PTH112, PTH114, PTH123, PTH211

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import resource
import shutil
import stat
import sys
import tarfile
import zlib

from init.containers import namespaces
from init.formats.layers import OPAQUE_VALUE, OPAQUE_XATTR, Change, change_of, clean_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

_RESERVE = 64 << 20  # bytes of the file system that a layer has to leave free
_RESERVED_NODES = 1024  # files that it has to leave room for
_MEMORY = 256 << 20  # bytes that it may take: a header of a tar may state any length, and is held as a whole
_MOST_MEMBERS = 1_000_000
_PIECE = 1 << 18
_XATTR = "SCHILY.xattr."
_OVERSTATED = (MemoryError, OverflowError, RecursionError)  # what numbers and depths that no layer has lead to


class UnpackError(Exception):
    """The layer is damaged, not the one that was asked for, or holds what a layer may not hold."""


class _Hashed(io.RawIOBase):
    """A stream whose bytes are hashed and counted as they are read."""

    def __init__(self, inner: Any, most: int | None = None) -> None:
        super().__init__()
        self._inner = inner
        self._most = most
        self.digest = hashlib.sha256()
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._inner.read(len(buffer))
        self.digest.update(data)
        self.size += len(data)
        if self._most is not None and self.size > self._most:
            raise UnpackError(f"it is larger than the {self._most} bytes that are stated")
        buffer[: len(data)] = data
        return len(data)


def unpack(stream: BinaryIO, folder: str, *, digest: str, size: int | None, diff_id: str) -> None:
    """Fill `folder` with a layer (a tar, plain, gzip or zstd).

    `digest` and `size` are of the bytes of `stream` (`sha256:…` or "", and None, where they are unknown), `diff_id`
    (hex) of the tar. Raise UnpackError; the caller then removes what is there.
    """
    answer, question = os.pipe()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(answer)
            status = _child(stream, folder, question, digest=digest, size=size, diff_id=diff_id)
        finally:
            os._exit(status)  # whatever happens: two processes may not go on from here
    os.close(question)
    with open(answer, "rb") as pipe:
        reason = pipe.read().decode("utf-8", "replace")
    _, status = os.waitpid(pid, 0)
    if reason or status != 0:
        raise UnpackError(reason or f"unpacking it ended with {os.waitstatus_to_exitcode(status)}")


def _child(stream: BinaryIO, folder: str, question: int, *, digest: str, size: int | None, diff_id: str) -> int:
    """Do the work inside; say what went wrong through the pipe. Everything that has to be imported is."""
    try:
        raw = _Hashed(stream, size)
        buffered = io.BufferedReader(raw, _PIECE)
        plain = _Hashed(_decompressed(buffered))
        if os.geteuid() != 0:
            namespaces.own_user()  # on a developer's machine: every file is then the developer's
        _bound_memory()
        os.chroot(folder)
        os.chdir("/")
        os.umask(0)
        _extract(plain)
        while plain.read(_PIECE):
            pass
        while buffered.read(_PIECE):
            pass
        _compare(raw, plain, digest=digest, size=size, diff_id=diff_id)
    except (UnpackError, OSError, tarfile.TarError, zlib.error, EOFError, ValueError, *_OVERSTATED) as error:
        os.write(question, (str(error) or type(error).__name__).encode()[:2000])
        return 1
    return 0


def _bound_memory() -> None:
    with open("/proc/self/statm") as stream:
        data = int(stream.read().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (data + _MEMORY, data + _MEMORY))


def _compare(raw: _Hashed, plain: _Hashed, *, digest: str, size: int | None, diff_id: str) -> None:
    if digest and f"sha256:{raw.digest.hexdigest()}" != digest:
        raise UnpackError(f"its bytes are not those of {digest}")
    if size is not None and raw.size != size:
        raise UnpackError(f"it is {raw.size} bytes, not the {size} that are stated")
    if plain.digest.hexdigest() != diff_id:
        raise UnpackError("its content is not what the image's configuration names")


def _decompressed(stream: Any) -> Any:
    head = stream.peek(4)[:4]
    if head[:2] == b"\x1f\x8b":
        import gzip  # noqa: PLC0415 - a plain tar needs none

        return gzip.GzipFile(fileobj=stream)
    if head == b"\x28\xb5\x2f\xfd":
        from init.containers.zstd import ZstdStream  # noqa: PLC0415 - few images use it

        return ZstdStream(stream)
    return stream


def _extract(plain: _Hashed) -> None:
    written = _PIECE * 64  # the first look comes before the first byte
    folders: dict[str, float] = {}  # path → time of its last change
    with tarfile.open(fileobj=plain, mode="r|", errorlevel=2) as archive:
        for number, member in enumerate(archive):
            if number > _MOST_MEMBERS:
                raise UnpackError(f"it has more than {_MOST_MEMBERS} members")
            archive.members = []  # type: ignore[attr-defined]  # else all of them are kept
            change, path = change_of(clean_path(member.name))
            if change is Change.IGNORED:
                continue
            _parents(path)
            if change is Change.REMOVED:
                _clear(path)
                os.mknod(path, stat.S_IFCHR | 0o000, os.makedev(0, 0))
                continue
            if change is Change.OPAQUE:
                os.setxattr(path or "/", OPAQUE_XATTR, OPAQUE_VALUE)
                continue
            if member.isdir():
                folders[path] = member.mtime
            written += 4096 + member.size
            if written >= _PIECE * 64:
                written = 0
                _leave_space()
            _make(archive, member, path)
    # times of folders change with what is put into them
    for path, time in folders.items():
        with contextlib.suppress(OSError):
            os.utime(path or "/", (time, time), follow_symlinks=False)


def _leave_space() -> None:
    space = os.statvfs("/")
    if space.f_bavail * space.f_frsize < _RESERVE:
        raise UnpackError(f"there is no room: less than {_RESERVE >> 20} MB would be left")
    if space.f_files and space.f_favail < _RESERVED_NODES:
        raise UnpackError("there is no room for more files")


def _parents(path: str) -> None:
    """Make the folders above; one that only is implied gets the mode that everybody expects."""
    parent = path.rpartition("/")[0]
    if parent and not os.path.isdir(parent):
        os.makedirs(parent, mode=0o755, exist_ok=True)


def _clear(path: str) -> None:
    """Take away what stands in a member's place: the later one wins."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def _make(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    mode = member.mode & 0o7777
    if member.isdir():
        if not path or (os.path.isdir(path) and not os.path.islink(path)):
            path = path or "/"
        else:
            _clear(path)
            os.mkdir(path)
    elif not path:
        raise UnpackError("its root is no folder")
    else:
        _clear(path)
        _make_node(archive, member, path)
    if member.islnk():
        return
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if not member.issym():
        os.chmod(path, mode)
    _set_xattrs(member, path)
    if not member.isdir():
        os.utime(path, (member.mtime, member.mtime), follow_symlinks=False)


def _make_node(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        os.link(clean_path(member.linkname), path, follow_symlinks=False)
    elif member.isfifo():
        os.mkfifo(path, 0o600)
    elif member.isreg():
        source: Any = archive.extractfile(member)
        if source is None:
            raise UnpackError(f"`/{path}` has no content")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as out:
            _copy(source.raw, out, member)  # unbuffered: a buffer asks whether the archive can be wound back
    else:
        what = "a device node" if member.isdev() else f"of the unknown type {member.type!r}"
        raise UnpackError(f"`/{path}` is {what}")


def _copy(source: Any, out: BinaryIO, member: tarfile.TarInfo) -> None:
    """Write a file's bytes, and leave holes where a sparse one has them: its size says nothing of what it takes."""
    written = 0
    pieces: Any = member.sparse or ((0, member.size),)  # an old and a new form, both read by tarfile
    for offset, size in pieces:
        source.seek(offset)
        out.seek(offset)
        left = size
        while left > 0:
            data = source.read(min(left, _PIECE))
            if not data:
                raise UnpackError(f"`{member.name[:200]}` ends too early")
            out.write(data)
            left -= len(data)
            written += len(data)
            if written >= _PIECE * 64:
                written = 0
                _leave_space()
    out.truncate(member.size)


def _set_xattrs(member: tarfile.TarInfo, path: str) -> None:
    for name, value in member.pax_headers.items():
        key = name.removeprefix(_XATTR)
        if name.startswith(_XATTR) and key.startswith(("user.", "security.capability")):
            with contextlib.suppress(OSError):  # a file system without them
                os.setxattr(path, key, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
