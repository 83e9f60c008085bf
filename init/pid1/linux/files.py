"""Files, folders, links and descriptors."""

from __future__ import annotations

import os
import select
import stat

from init.pid1.system import FileStatus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_AHEAD = 512 << 10  # bytes


class FileCalls:
    """The body of `system.Files`."""

    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        """Return a file's content, at most `limit` bytes of it."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            parts = []
            while limit > 0 and (part := os.read(descriptor, min(limit, 1 << 20))):
                parts.append(part)
                limit -= len(part)
            return b"".join(parts)
        finally:
            os.close(descriptor)

    def read_ahead(self, path: str) -> None:
        """Advise the kernel piece by piece, for it takes no more than one at a time."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for start in range(0, os.fstat(descriptor).st_size, _AHEAD):
                os.posix_fadvise(descriptor, start, _AHEAD, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)

    def write(self, path: str, data: bytes) -> None:
        """Write into an existing file or device with one write(2)."""
        _write(path, data, os.O_WRONLY, 0)

    def replace(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file in place whole."""
        temporary = f"{path}.new-{os.getpid()}"
        try:
            _write(temporary, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode, durable=True)
            os.replace(temporary, path)
        except OSError:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            raise
        _sync_folder(os.path.dirname(path) or ".")

    def append(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add to a file's end."""
        _write(path, data, os.O_WRONLY | os.O_CREAT | os.O_APPEND, mode)

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(path))

    def status(self, path: str) -> FileStatus:
        """Return what lstat(2) says."""
        found = os.lstat(path)
        return FileStatus(
            mode=found.st_mode,
            uid=found.st_uid,
            gid=found.st_gid,
            size=found.st_size,
            modified=found.st_mtime,
            device=found.st_rdev,
            filesystem=found.st_dev,
        )

    def exists(self, path: str) -> bool:
        """Tell whether a path leads to something."""
        return os.path.exists(path)

    def make_folder(self, path: str, mode: int = 0o755) -> None:
        """Make a folder and the ones above it."""
        if os.path.isdir(path):
            return
        parent = os.path.dirname(path.rstrip("/"))
        if parent and parent != path:
            self.make_folder(parent)
        os.mkdir(path, mode)
        os.chmod(path, mode)  # whatever the umask is

    def make_link(self, path: str, target: str) -> None:
        """Make a symbolic link, in place of a link or file that is there."""
        if os.path.lexists(path):
            os.unlink(path)
        os.symlink(target, path)

    def read_link(self, path: str) -> str:
        """Return a symbolic link's target."""
        return os.readlink(path)

    def set_mode(self, path: str, mode: int) -> None:
        """Set a path's permissions."""
        os.chmod(path, mode)

    def set_owner(self, path: str, uid: int, gid: int) -> None:
        """Set a path's owner and group."""
        os.lchown(path, uid, gid)

    def rename(self, old: str, new: str) -> None:
        """Move a file within a file system."""
        os.replace(old, new)

    def remove(self, path: str) -> None:
        """Take away one file or link."""
        os.unlink(path)

    def remove_tree(self, path: str) -> None:
        """Take away a folder with what is below it on its file system."""
        _empty(path, os.lstat(path).st_dev)
        os.rmdir(path)

    def fill_tree(self, source: str, target: str) -> int:
        """Copy below `target` what is missing there."""
        count = 0
        for entry in os.scandir(source):
            copy = f"{target}/{entry.name}"
            there = os.path.lexists(copy)
            if entry.is_dir(follow_symlinks=False):
                if not there:
                    os.mkdir(copy)
                    _take_after(entry.path, copy)
                    count += 1
                elif not os.path.isdir(copy):
                    continue
                count += self.fill_tree(entry.path, copy)
            elif not there:
                _copy_node(entry.path, copy)
                count += 1
        return count


class DescriptorCalls:
    """The body of `system.Descriptors`."""

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a file close-on-exec."""
        return os.open(path, flags | os.O_CLOEXEC, mode)

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def read_from(self, descriptor: int, limit: int) -> bytes:
        """Read at most `limit` bytes."""
        return os.read(descriptor, limit)

    def write_to(self, descriptor: int, data: bytes) -> int:
        """Write once."""
        return os.write(descriptor, data)

    def duplicate(self, descriptor: int, number: int) -> None:
        """dup2(2), inherited by children."""
        if descriptor == number:
            os.set_inheritable(descriptor, True)
        else:
            os.dup2(descriptor, number, inheritable=True)

    def wait_readable(self, descriptors: Sequence[int], seconds: float | None) -> list[int]:
        """Wait until one can be read."""
        waiting = select.poll()
        for descriptor in descriptors:
            waiting.register(descriptor, select.POLLIN)
        ready = waiting.poll(None if seconds is None else max(0, int(seconds * 1000 + 0.999)))
        return [descriptor for descriptor, _ in ready]


def _write(path: str, data: bytes, flags: int, mode: int, *, durable: bool = False) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY, mode)
    try:
        if flags & os.O_CREAT:
            os.fchmod(descriptor, mode)
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _empty(path: str, filesystem: int) -> None:
    """Take away what is in a folder; what is mounted in it stays, and rmdir(2) above it will say so."""
    for entry in os.scandir(path):
        if entry.stat(follow_symlinks=False).st_dev != filesystem:
            continue
        if entry.is_dir(follow_symlinks=False):
            _empty(entry.path, filesystem)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


def _copy_node(source: str, target: str) -> None:
    found = os.lstat(source)
    if stat.S_ISLNK(found.st_mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISREG(found.st_mode):
        _copy_content(source, target)
    else:
        os.mknod(target, found.st_mode, found.st_rdev)
    _take_after(source, target)


def _copy_content(source: str, target: str) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        writing = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            while part := os.read(reading, 1 << 20):
                view = memoryview(part)
                while view:
                    view = view[os.write(writing, view) :]
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def _take_after(source: str, target: str) -> None:
    """Give a copy its model's owner, mode, attributes and time; the mode last, for chown(2) takes set-uid away."""
    found = os.lstat(source)
    os.lchown(target, found.st_uid, found.st_gid)
    for name in os.listxattr(source, follow_symlinks=False):
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    if not stat.S_ISLNK(found.st_mode):
        os.chmod(target, stat.S_IMODE(found.st_mode))
    os.utime(target, ns=(found.st_mtime_ns, found.st_mtime_ns), follow_symlinks=False)
