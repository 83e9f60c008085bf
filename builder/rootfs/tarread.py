"""Reads a tar stream as dpkg writes it, strictly, and refuses every member that a package has no business to hold.

    offset  bytes  header block of 512 bytes (POSIX.1-1988 ustar, with GNU's long names)
         0    100  name
       100      8  mode      108  8  owner id     116  8  group id
       124     12  size, octal or (first bit set) base 256
       136     12  time      148  8  checksum
       156      1  type: 0 file, 1 hard link, 2 symbolic link, 3 4 devices, 5 directory, 6 fifo, L K long names
       157    100  target of a link
       257      8  `ustar` and version
       265     32  owner's name     297  32  group's name
       345    155  prefix of the name (ustar without GNU's blank)

As in dpkg, PAX headers are not part of the format. What is refused is refused for the whole package: absolute
names, `..`, names or links that lead out of the tree, device nodes, members below a symbolic link of the same
package, names that are not UTF-8 or hold control characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.rootfs.archive import Bounds, BrokenArchive, ByteStream
from builder.rootfs.entry import Kind

_BLOCK = 512
_LONGEST = 4096  # bytes of a name, PATH_MAX
_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member. `path` is relative without `./`, "" for the root; `size` is the file's, in bytes."""

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    target: str
    owner: str = ""
    group: str = ""


def members(stream: ByteStream, bounds: Bounds) -> Iterator[tuple[Member, ByteStream]]:
    """Yield each member with a stream that holds exactly its content; raise BrokenArchive.

    What the caller leaves unread is passed over. A symbolic link's place in the tree is remembered, so that no
    later member can hide below it.
    """
    seen: dict[str, Kind] = {}
    position = 0
    for header, long_name, long_target, position in _headers(stream):
        member = _member(header, long_name, long_target, position)
        _admit(member, seen)
        seen[member.path] = member.kind
        if len(seen) > bounds.entries:
            raise BrokenArchive(f"it has more than {bounds.entries} members")
        content = _Content(stream, member)
        yield member, ByteStream(content.pieces())
        content.finish()


class _Content:
    """The bytes of one member, with what is left of them at the end."""

    def __init__(self, stream: ByteStream, member: Member) -> None:
        self._stream = stream
        self._path = member.path
        self._left = member.size
        self._padding = -member.size % _BLOCK

    def pieces(self) -> Iterator[bytes]:
        while self._left:
            piece = self._stream.read(min(self._left, 1 << 18))
            if not piece:
                raise BrokenArchive(f"`/{self._path}` is cut off: {self._left} bytes are missing")
            self._left -= len(piece)
            yield piece

    def finish(self) -> None:
        for _ in self.pieces():
            pass
        if self._stream.skip(self._padding) != self._padding:
            raise BrokenArchive(f"it ends in the middle of `/{self._path}`")


def _headers(stream: ByteStream) -> Iterator[tuple[bytes, bytes | None, bytes | None, int]]:
    """Yield (header, GNU long name, GNU long target, number) until the end mark."""
    name: bytes | None = None
    target: bytes | None = None
    number = 0
    while True:
        header = stream.read(_BLOCK)
        if len(header) < _BLOCK:
            raise BrokenArchive("its tar stream ends without an end mark")
        if not any(header):
            return  # dpkg stops at the first block of zeros, too
        number += 1
        _check(header, number)
        kind = header[156:157]
        if kind in (b"L", b"K"):
            size = _number(header[124:136], number)
            if not 0 < size <= _LONGEST + 1:
                raise BrokenArchive(f"member {number} has a name of {size} bytes")
            text = stream.read(size).rstrip(b"\0")
            stream.skip(-size % _BLOCK)
            if kind == b"L":
                name = text
            else:
                target = text
            continue
        yield header, name, target, number
        name = target = None


def _check(header: bytes, number: int) -> None:
    stated = _number(header[148:156], number)
    if sum(header[:148]) + 8 * 32 + sum(header[156:]) != stated:
        raise BrokenArchive(f"the checksum of member {number}'s header is wrong")


def _number(field: bytes, number: int) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if value >> 62:
            raise BrokenArchive(f"member {number} states an impossible number")
        return value
    text = field.strip(b" \0")
    if any(byte not in b"01234567" for byte in text):
        raise BrokenArchive(f"member {number} has a damaged number in its header")
    return int(text or b"0", 8)


def _member(header: bytes, long_name: bytes | None, long_target: bytes | None, number: int) -> Member:
    name = long_name if long_name is not None else _name(header)
    target = long_target if long_target is not None else header[157:257].split(b"\0")[0]
    path = _path(_text(name, number), number)
    code = header[156:157]
    kind = _KINDS.get(code)
    if kind is None:
        if code in (b"3", b"4"):
            raise BrokenArchive(f"`/{path}` is a device node; packages may not bring any")
        raise BrokenArchive(f"`/{path}` has the tar type {code!r}, which packages do not use")
    if kind is Kind.FILE and name.endswith(b"/"):
        kind = Kind.DIRECTORY  # V7's way to write a directory
    return Member(
        path=path,
        kind=kind,
        mode=_number(header[100:108], number) & 0o7777,
        uid=_number(header[108:116], number),
        gid=_number(header[116:124], number),
        size=_number(header[124:136], number) if kind is Kind.FILE else 0,
        target=_target(kind, _text(target, number), path, number),
        owner=_text(header[265:297].split(b"\0")[0], number),
        group=_text(header[297:329].split(b"\0")[0], number),
    )


def _name(header: bytes) -> bytes:
    name = header[:100].split(b"\0")[0]
    if header[257:263] == b"ustar\0":  # GNU's own variety has a blank here, and no prefix
        prefix = header[345:500].split(b"\0")[0]
        if prefix:
            return prefix + b"/" + name
    return name


def _text(raw: bytes, number: int) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BrokenArchive(f"member {number} has a name that is not UTF-8: {raw!r}") from error
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise BrokenArchive(f"member {number} has a control character in its name: {raw!r}")
    return text


def _path(name: str, number: int) -> str:
    if name.startswith("/"):
        raise BrokenArchive(f"`{name}` is an absolute name")
    words = [word for word in name.split("/") if word not in ("", ".")]
    if ".." in words:
        raise BrokenArchive(f"`{name}` leads out of the tree")
    if not words and not name:
        raise BrokenArchive(f"member {number} has no name")
    if len(name.encode()) > _LONGEST or any(len(word.encode()) > 255 for word in words):
        raise BrokenArchive(f"member {number} has a name that is too long for Linux")
    return "/".join(words)


def _target(kind: Kind, target: str, path: str, number: int) -> str:
    if kind is Kind.HARDLINK:
        return _path(target, number)
    if kind is not Kind.SYMLINK:
        return ""
    if not target or len(target.encode()) >= _LONGEST:
        raise BrokenArchive(f"the symbolic link `/{path}` has no target that Linux can hold")
    depth = path.count("/")
    for word in [] if target.startswith("/") else target.split("/"):
        depth += -1 if word == ".." else 0 if word in ("", ".") else 1
        if depth < 0:
            raise BrokenArchive(f"the symbolic link `/{path}` leads out of the tree: `{target}`")
    if target.startswith("/"):
        level = 0
        for word in target.split("/"):
            level += -1 if word == ".." else 0 if word in ("", ".") else 1
            if level < 0:
                raise BrokenArchive(f"the symbolic link `/{path}` leads out of the tree: `{target}`")
    return target


def _admit(member: Member, seen: dict[str, Kind]) -> None:
    """Refuse what cannot stand where it says beside what came before."""
    before = seen.get(member.path)
    if before is not None and not (before is Kind.DIRECTORY and member.kind is Kind.DIRECTORY):
        raise BrokenArchive(f"`/{member.path}` is in it twice")
    if member.kind is Kind.HARDLINK and seen.get(member.target) not in (Kind.FILE, Kind.HARDLINK):
        raise BrokenArchive(f"the hard link `/{member.path}` leads to `{member.target}`, which is no file before it")
    parent = member.path.rpartition("/")[0]
    while parent:
        kind = seen.get(parent)
        if kind not in (None, Kind.DIRECTORY):
            raise BrokenArchive(f"`/{member.path}` lies below `/{parent}`, which is no directory in it")
        parent = parent.rpartition("/")[0]
