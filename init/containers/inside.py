"""Reads files of a container's root without being led out of it, and finds accounts in it.

An image's `/etc/passwd` may be a symbolic link to anywhere. Each step is therefore taken by a descriptor, links are
followed by hand inside the root (what `openat2(RESOLVE_IN_ROOT)` does, which Python has no name for).
"""

from __future__ import annotations

import os
import stat

from init.containers.bundle import Account, BundleError

_MOST_LINKS = 40
_MOST_BYTES = 4 << 20


def read_inside(root: str, path: str) -> bytes:
    """Return a regular file's first 4 MiB, resolved inside `root`. Raise OSError where there is none."""
    words = [word for word in reversed(path.split("/")) if word]
    held = [os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)]
    links = 0
    try:
        while words:
            word = words.pop()
            if word == ".":
                continue
            if word == "..":
                if len(held) > 1:
                    os.close(held.pop())
                continue
            node = os.open(word, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held[-1])
            if not stat.S_ISLNK(os.fstat(node).st_mode):
                held.append(node)
                continue
            target = os.readlink("", dir_fd=node)
            os.close(node)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(40, os.strerror(40), path)
            if target.startswith("/"):
                while len(held) > 1:
                    os.close(held.pop())
            words += [part for part in reversed(target.split("/")) if part]
        return _read(held[-1], path)
    finally:
        for descriptor in held:
            os.close(descriptor)


def _read(node: int, path: str) -> bytes:
    if not stat.S_ISREG(os.fstat(node).st_mode):
        raise OSError(22, os.strerror(22), path)
    descriptor = os.open(f"/proc/self/fd/{node}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _MOST_BYTES)
    finally:
        os.close(descriptor)


def account(root: str, user: str) -> Account:
    """Return who `user` (`NAME`, `UID`, each with `:GROUP`) is in the container.

    Raise BundleError for an unknown name.
    """
    name, _, group = user.partition(":")
    name = name or "0"
    records = _records(root, "etc/passwd", 7)
    found = next((record for record in records if name in (record[0], record[2])), None)
    groups = _records(root, "etc/group", 4)
    if found is not None:
        uid, gid, home = int(found[2]), int(found[3]), found[5] or "/"
    elif name.isdecimal():
        uid, gid, home = int(name), 0, "/root" if name == "0" else "/"
    else:
        raise BundleError(f"the user `{name}` is not in the image's /etc/passwd")
    if group:
        return Account(uid=uid, gid=_group(groups, group), home=home)
    own = found[0] if found is not None else None
    further = tuple(int(record[2]) for record in groups if own in record[3].split(","))
    return Account(uid=uid, gid=gid, groups=further, home=home)


def _group(groups: list[list[str]], name: str) -> int:
    for record in groups:
        if name in (record[0], record[2]):
            return int(record[2])
    if name.isdecimal():
        return int(name)
    raise BundleError(f"the group `{name}` is not in the image's /etc/group")


def _records(root: str, path: str, fields: int) -> list[list[str]]:
    """Return the well-formed lines of an account file; none where there is no such file."""
    try:
        text = read_inside(root, path).decode("utf-8", "replace")
    except OSError:
        return []
    records = [line.split(":") for line in text.splitlines()]
    numbers = (2, 3) if fields == 7 else (2,)
    return [
        record for record in records if len(record) == fields and all(record[number].isdecimal() for number in numbers)
    ]
