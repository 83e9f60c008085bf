"""Writes a tree as a tar stream: the only step that touches what files hold, and the last one before an image.

PAX where ustar is too small (long names, big numbers) and for extended attributes (`SCHILY.xattr.NAME`, which
mkfs.erofs --tar=f, GNU tar and bsdtar read). Owners are numbers alone, every time is `mtime`: the same tree gives
the same bytes on every host.

    offset  bytes  ustar header (POSIX.1-1988)
         0    100  name            257  8  `ustar` NUL `00`
       100      8  mode            265 32  owner's name: empty
       108      8  owner id        297 32  group's name: empty
       116      8  group id        329  8  device, major
       124     12  size            337  8  device, minor
       136     12  time            345 155  prefix of the name
       148      8  checksum
       156      1  type
       157    100  target of a link
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from builder.errors import BuildError
from builder.rootfs.entry import Entry, Kind, Tree

if TYPE_CHECKING:
    from builder.fetch.store import Store

_BLOCK = 512
_PIECE = 1 << 20  # bytes
_TYPES = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}


def write_tar(tree: Tree, store: Store, out: BinaryIO, mtime: int) -> None:
    """Write all entries in order; `mtime` is in seconds since 1970, UTC.

    Raises BuildError where a hard link comes before its file, and the store's errors where content is missing or
    damaged.
    """
    files: set[str] = set()
    for node in tree.entries:
        if node.kind is Kind.HARDLINK and node.target not in files:
            raise BuildError(f"the hard link `/{node.path}` comes before its file `/{node.target}`")
        for block in headers(node, mtime):
            out.write(block)
        if node.kind is Kind.FILE:
            files.add(node.path)
            _content(node, store, out)
    out.write(bytes(2 * _BLOCK))


def _content(node: Entry, store: Store, out: BinaryIO) -> None:
    if not node.size:
        return
    written = 0
    if node.size <= _PIECE:
        data = store.read(node.sha256)
        written = len(data)
        out.write(data)
    else:
        with store.open(node.sha256) as stream:
            while piece := stream.read(_PIECE):
                written += len(piece)
                out.write(piece)
    if written != node.size:
        raise BuildError(f"`/{node.path}` has {written} bytes, and its entry says {node.size}")
    out.write(bytes(-written % _BLOCK))


def headers(node: Entry, mtime: int) -> Iterator[bytes]:
    """Yield the header blocks of one entry, a PAX header before its own where it needs one."""
    name = ("./" + node.path + ("/" if node.kind is Kind.DIRECTORY and node.path else "")).encode()
    target = (f"./{node.target}" if node.kind is Kind.HARDLINK else node.target).encode()
    size = node.size if node.kind is Kind.FILE else 0
    records: list[tuple[bytes, bytes]] = []
    if len(name) > 100:
        records.append((b"path", name))
    if len(target) > 100:
        records.append((b"linkpath", target))
    if size >= 1 << 33:
        records.append((b"size", str(size).encode()))
    records += [
        (key, str(number).encode()) for key, number in ((b"uid", node.uid), (b"gid", node.gid)) if number >= 1 << 21
    ]
    records += [(b"SCHILY.xattr." + key.encode(), value) for key, value in sorted(node.xattrs)]
    if records:
        body = b"".join(_record(key, value) for key, value in records)
        yield _header(b"././@PaxHeader", b"x", mtime, size=len(body))
        yield body + bytes(-len(body) % _BLOCK)
    yield _header(
        name, _TYPES[node.kind], mtime, mode=node.mode, owner=(node.uid, node.gid), size=size, target=target,
        device=node.device,
    )  # fmt: skip


def _record(key: bytes, value: bytes) -> bytes:
    """Return `LENGTH KEY=VALUE` and a newline, where LENGTH counts itself."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) + rest != length:
        length += 1
    return b"%d %s=%s\n" % (length, key, value)


def _header(
    name: bytes,
    kind: bytes,
    mtime: int,
    *,
    mode: int = 0o644,
    owner: tuple[int, int] = (0, 0),
    size: int = 0,
    target: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    """Return one block. Numbers that do not fit are 0: a PAX record before it has them."""
    uid, gid = owner
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0" % mode,
            b"%07o\0" % (uid if uid < 1 << 21 else 0),
            b"%07o\0" % (gid if gid < 1 << 21 else 0),
            b"%011o\0" % (size if size < 1 << 33 else 0),
            b"%011o\0" % mtime,
            b" " * 8,
            kind,
            target[:100].ljust(100, b"\0"),
            b"ustar\00000",
            bytes(64),
            b"%07o\0%07o\0" % device,
            bytes(167),
        )
    )
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]
