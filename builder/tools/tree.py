"""Unpacks the tools tree: the packages that the tools lock names, as plain files below `build/`.

Nothing is installed: no maintainer script runs and owners are not kept, for these programs only read and write files of
the build. A tree is named by a hash of its lock, appears by one rename once it is on the disk, and is never changed
afterwards.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.lock.model import Lock, LockedPackage
from builder.progress import Progress
from builder.rootfs.archive import Bounds, BrokenArchive, ByteStream, expand, parts
from builder.rootfs.entry import Kind
from builder.rootfs.mergedusr import LINKS, resolve
from builder.rootfs.tarread import Member, members
from builder.tools import listing
from builder.tools.beneath import LeavesTree, open_beneath
from builder.tools.call import Tools

_FORMAT = "3"  # raise it when the way of unpacking changes
_PARTIAL = ".unpacking-"
_UNUSED = 30 * 86400  # seconds after which a tree is taken away when another one comes
_STOPS = (signal.SIGINT, signal.SIGTERM)

# Never read by a tool that runs here, and half of the bytes. Copyright texts stay: GRUB's goes into every slot.
_LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "etc/", "var/")
_NAME = re.compile("[0-9a-f]{32}")
_KEPT = re.compile(r"usr/share/doc/[^/]+/copyright")


def tools_key(lock: Lock) -> str:
    """Return the name of a tools tree: a hash of every package that is unpacked into it."""
    text = "".join(f"{package.name} {package.sha256}\n" for package in lock.packages)
    return hashlib.sha256(f"{_FORMAT}\n{text}".encode()).hexdigest()


def tools_tree(lock: Lock, store: Store, root: Path, progress: Progress) -> Tools:
    """Return the tree of `lock`, unpacked below `root` where it is not there yet.

    Every .deb has to be in the store (see `builder.fetch.packages`). Raise BuildError where one can't be unpacked.
    """
    key = tools_key(lock)
    final = root / key[:32]
    if not final.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(root)
        _remove_unused(root)
        temporary = Path(tempfile.mkdtemp(prefix=f"{_PARTIAL}{os.getpid()}-", dir=root))
        try:
            temporary.chmod(0o755)
            _unpack_all(lock.packages, store, temporary, progress)
            listing.write(temporary)
            sync_around(temporary)  # else a power cut could leave empty programs under the final name
            try:
                temporary.rename(final)
            except OSError:
                if not final.is_dir():  # else another build was faster, with the same bytes
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    with contextlib.suppress(OSError):  # another user's tree
        os.utime(final)  # by this `_remove_unused` judges
    return Tools(root=final, key=key, packages=lock.packages)


def sync_around(folder: Path) -> None:
    """Write the file system of a folder through to its disk, syncfs(2), for which Python has no name.

    That takes a quarter of a second for a tools tree, fsync(2) of each of its 3000 files seventeen. Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def discard(tree: Path) -> None:
    """Take a tree away that is no longer what was unpacked: whoever needs it unpacks it anew."""
    away = Path(tempfile.mkdtemp(prefix=f"{_PARTIAL}{os.getpid()}-", dir=tree.parent))
    try:
        tree.rename(away)
    finally:
        shutil.rmtree(away, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Delete what killed builds left: their process is gone."""
    for path in root.glob(f"{_PARTIAL}*"):
        process = path.name.removeprefix(_PARTIAL).partition("-")[0]
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(path, ignore_errors=True)


def _remove_unused(root: Path) -> None:
    """Delete the trees that nobody has used for a month: each has 250 MB, and every new tools lock brings one."""
    before = time.time() - _UNUSED
    for path in root.iterdir():
        with contextlib.suppress(OSError):  # another build was faster, or it is another user's
            if _NAME.fullmatch(path.name) and path.stat().st_mtime < before:
                discard(path)


def _unpack_all(packages: tuple[LockedPackage, ...], store: Store, into: Path, progress: Progress) -> None:
    task = progress.task("unpacking the tools", total=len(packages), unit="packages")
    with concurrent.futures.ProcessPoolExecutor(initializer=_end_in_silence) as pool:
        try:
            # Until a worker knows how to end, it must not hear that it shall.
            before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
            try:
                results = pool.map(_unpack_one, *zip(*((package, store, into) for package in packages), strict=True))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            for _ in results:
                task.advance(1)
        except BrokenProcessPool as error:
            raise BuildError(
                "a process that unpacks the tools was killed", hint="is memory short? `dmesg` tells; then try again"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    task.done(f"{len(packages)} packages")


def _end_in_silence() -> None:
    """Let Ctrl-C end this process, a worker of a pool, as any program: Python's own answer is a traceback."""
    for number in _STOPS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)


def _unpack_one(package: LockedPackage, store: Store, into: Path) -> None:
    try:
        with store.open(package.sha256) as stream:
            _unpack_stream(stream, package.size, into)
    except BrokenArchive as error:
        raise BuildError(
            f"the package {package.name} {package.version} cannot be unpacked: {error}",
            hint="its bytes are what the lock names: report it, and lock another version until then",
        ) from error


def _unpack_stream(stream: BinaryIO, size: int, into: Path) -> None:
    bounds = Bounds()
    for part in parts(stream, size):
        if part.name.startswith("data.tar"):
            for member, content in members(ByteStream(expand(stream, part, bounds)), bounds):
                if member.path in LINKS and member.kind is Kind.SYMLINK:
                    continue  # base-files' own: every path is resolved through them
                path = resolve(member.path)
                if not (path + "/").startswith(_LEFT_OUT) or _KEPT.fullmatch(path):
                    _write(member, path, into, content)


def _write(member: Member, path: str, root: Path, content: ByteStream) -> None:
    """Write one member below `root`, whatever links other packages laid on its way."""
    folder, _, name = path.rpartition("/")
    try:
        if member.kind is Kind.DIRECTORY:
            os.close(open_beneath(root, path))
            return
        parent = open_beneath(root, folder)
        try:
            _remove(name, parent, path)
            if member.kind is Kind.SYMLINK:
                target = member.target
                if target.startswith("/"):  # the tree is not the root of anything that runs here
                    target = os.path.relpath(resolve(target.lstrip("/")) or ".", folder or ".")
                os.symlink(target, name, dir_fd=parent)
            elif member.kind is Kind.HARDLINK:
                _link(resolve(member.target), name, parent, root)
            elif member.kind is Kind.FILE:
                _fill(name, parent, content, mode=0o755 if member.mode & 0o111 else 0o644)
        finally:
            os.close(parent)
    except LeavesTree as error:
        raise BrokenArchive(f"its `/{member.path}` would be written through another package's link: {error}") from error


def _remove(name: str, parent: int, path: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError as error:
        raise BrokenArchive(f"`/{path}` is a folder of another package") from error


def _link(target: str, name: str, parent: int, root: Path) -> None:
    folder, _, file = target.rpartition("/")
    source = open_beneath(root, folder)
    try:
        os.link(file, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
    finally:
        os.close(source)


def _fill(name: str, parent: int, content: ByteStream, *, mode: int) -> None:
    descriptor = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=parent
    )
    with os.fdopen(descriptor, "wb") as out:
        while piece := content.read(1 << 18):
            out.write(piece)
        os.fchmod(descriptor, mode)
