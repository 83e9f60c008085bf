"""Unpacks the tools tree: the packages that the tools lock names, as plain files below `build/`.

Nothing is installed: no maintainer script runs and owners are not kept, for these programs only read and write files of
the build. A tree is named by a hash of its lock, appears by one rename, and is never changed afterwards.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.lock.model import Lock, LockedPackage
from builder.progress import Progress
from builder.rootfs.archive import Bounds, BrokenArchive, ByteStream, expand, parts
from builder.rootfs.entry import Kind
from builder.rootfs.mergedusr import resolve
from builder.rootfs.tarread import Member, members
from builder.tools.call import Tools

_FORMAT = "2"  # raise it when the way of unpacking changes
_PARTIAL = ".unpacking-"

# Never read by a tool that runs here, and half of the bytes.
_LEFT_OUT = ("usr/share/doc/", "usr/share/man/", "usr/share/locale/", "usr/share/info/", "etc/", "var/")


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
        temporary = Path(tempfile.mkdtemp(prefix=f"{_PARTIAL}{os.getpid()}-", dir=root))
        try:
            temporary.chmod(0o755)
            _unpack_all(lock.packages, store, temporary, progress)
            try:
                temporary.rename(final)
            except OSError:
                if not final.is_dir():  # else another build was faster, with the same bytes
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    return Tools(root=final, key=key, packages=lock.packages)


def _remove_leftovers(root: Path) -> None:
    """Delete what killed builds left: their process is gone."""
    for path in root.glob(f"{_PARTIAL}*"):
        process = path.name.removeprefix(_PARTIAL).partition("-")[0]
        if process.isdecimal() and not Path(f"/proc/{process}").exists():
            shutil.rmtree(path, ignore_errors=True)


def _unpack_all(packages: tuple[LockedPackage, ...], store: Store, into: Path, progress: Progress) -> None:
    task = progress.task("unpacking the tools", total=len(packages), unit="packages")
    with concurrent.futures.ProcessPoolExecutor() as pool:
        for _ in pool.map(_unpack_one, *zip(*((package, store, into) for package in packages), strict=True)):
            task.advance(1)
    task.done(f"{len(packages)} packages")


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
                path = resolve(member.path)
                if not (path + "/").startswith(_LEFT_OUT):
                    _write(member, into / path, into, content)


def _write(member: Member, path: Path, root: Path, content: ByteStream) -> None:
    """Write one member. A tree is private to this build and the archive's reader lets nothing point outside."""
    if member.kind is Kind.DIRECTORY:
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    if member.kind is Kind.SYMLINK:
        target = member.target
        if target.startswith("/"):  # the tree is not the root of anything that runs here
            target = os.path.relpath(root / resolve(target.lstrip("/")), path.parent)
        path.symlink_to(target)
    elif member.kind is Kind.HARDLINK:
        os.link(root / resolve(member.target), path)
    elif member.kind is Kind.FILE:
        with path.open("wb") as out:
            while piece := content.read(1 << 18):
                out.write(piece)
        path.chmod(0o755 if member.mode & 0o111 else 0o644)
