"""Reads the outer layers of a .deb: the ar container, and what it holds compressed, never more than was allowed.

    offset  bytes  ar member header (deb(5), ar(5))
         0     16  name, padded with blanks (`data.tar.xz`)
        16     32  time, owner, group, mode: not used
        48     10  size in bytes, decimal
        58      2  "`\\n"
    then the bytes, then a newline where their number is odd

Nothing here trusts a number that the file states: sizes are compared with what is there, and expansion is bounded.
"""

from __future__ import annotations

import lzma
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b"!<arch>\n"
_PIECE = 1 << 18  # bytes read and written at a time
_XZ_MEMORY = 512 << 20  # bytes; dpkg-deb's own presets need at most 66 MiB
_ZSTD_WINDOW = 27  # log2 of bytes, what `zstd -d` takes without being asked for more

NOT_DEBIANS = "it is not what Debian ships; fetch it again, and if it stays so, tell its maintainer"


class BrokenArchive(ValueError):
    """The bytes are not a package that may be unpacked. The text says what is wrong and where."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The most that one archive may become. A .deb that needs more is taken for a decompression bomb.

    An archive of n bytes may become `floor + ratio * n` bytes, and `content` at the most. The largest of trixie's
    ratios that was seen is 12; text alone reaches about 40.
    """

    content: int = 8 << 30  # bytes
    floor: int = 64 << 20  # bytes
    ratio: int = 100
    entries: int = 400_000

    def expanded(self, compressed: int) -> int:
        """Return how many bytes `compressed` bytes may become."""
        return min(self.content, self.floor + self.ratio * compressed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One member of an ar container: where its bytes lie in the file."""

    name: str
    offset: int  # bytes
    size: int  # bytes


def parts(stream: BinaryIO, size: int) -> tuple[Part, ...]:
    """Read the ar headers of a file of `size` bytes; raise BrokenArchive."""
    if stream.read(len(MAGIC)) != MAGIC:
        raise BrokenArchive("it does not begin as an ar archive does")
    found: list[Part] = []
    position = len(MAGIC)
    while position < size:
        header = stream.read(60)
        if len(header) != 60 or header[58:] != b"`\n":
            raise BrokenArchive(f"there is no ar header at byte {position}")
        try:
            name = header[:16].decode("ascii").rstrip(" ").rstrip("/")
            length = int(header[48:58].decode("ascii"))
        except ValueError as error:
            raise BrokenArchive(f"the ar header at byte {position} is damaged") from error
        start = position + 60
        if length < 0 or start + length > size:
            raise BrokenArchive(f"its member {name!r} is cut off: {size - start} of {length} bytes are there")
        found.append(Part(name=name, offset=start, size=length))
        if len(found) > 16:
            raise BrokenArchive("it has more than 16 members")
        position = start + length + length % 2
        stream.seek(position)
    return tuple(found)


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...

    @property
    def unused_data(self) -> bytes: ...


class _Gzip:
    """zlib's object with the manners of lzma's."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.eof = False
        self.needs_input = True

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        output = self._inner.decompress(self._inner.unconsumed_tail + data, max_length)
        self.eof = self._inner.eof
        # zlib may hold output back without input left over: a full piece means that there may be more
        self.needs_input = not self._inner.unconsumed_tail and len(output) < max_length
        return output

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _decompressor(suffix: str) -> _Decompressor:
    if suffix == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)
    if suffix == "gz":
        return _Gzip()
    if suffix == "zst":
        options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW}
        return zstd.ZstdDecompressor(options=options)
    raise BrokenArchive(f"it is compressed in a way that is not known here: {suffix!r}")


def _plain(stream: BinaryIO, part: Part) -> Iterator[bytes]:
    stream.seek(part.offset)
    left = part.size
    while left:
        piece = stream.read(min(left, _PIECE))
        if not piece:
            raise BrokenArchive(f"its member {part.name!r} is cut off")
        left -= len(piece)
        yield piece


def expand(stream: BinaryIO, part: Part, bounds: Bounds) -> Iterator[bytes]:
    """Yield the bytes that a member (`data.tar`, `data.tar.xz` …) holds; raise BrokenArchive.

    Memory stays at a few pieces whatever the member expands to.
    """
    suffix = part.name.partition(".tar")[2].lstrip(".")
    what = f"its member {part.name!r}"
    source = _plain(stream, part)
    return _bounded(source if not suffix else _expanded(source, suffix, what), part.size, bounds, what)


def expand_xz(data: bytes, bounds: Bounds) -> bytes:
    """Return what a small file packed by xz holds; raise BrokenArchive."""
    return b"".join(_bounded(_expanded(iter((data,)), "xz", "it"), len(data), bounds, "it"))


def _bounded(pieces: Iterator[bytes], size: int, bounds: Bounds, what: str) -> Iterator[bytes]:
    allowed = bounds.expanded(size)
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > allowed:
            raise BrokenArchive(
                f"{what} of {size} bytes expands to more than {allowed}: that is how a decompression bomb looks"
            )
        yield piece


def _expanded(source: Iterator[bytes], suffix: str, what: str) -> Iterator[bytes]:
    engine = _decompressor(suffix)
    data = b""
    try:
        while True:
            piece = engine.decompress(data, max_length=_PIECE)
            if piece:
                yield piece
            data = b""
            if engine.eof:
                rest = engine.unused_data + next(source, b"")
                if not rest:
                    return
                engine = _decompressor(suffix)  # streams may follow one another, as pxz and pzstd write them
                data = rest
            elif engine.needs_input:
                data = next(source, b"")
                if not data:
                    raise BrokenArchive(f"{what} is cut off in the middle of a compressed stream")
    except (lzma.LZMAError, zlib.error, zstd.ZstdError, EOFError, MemoryError) as error:
        raise BrokenArchive(f"{what} cannot be decompressed: {error}") from error


class ByteStream:
    """Pieces of any length, read by exact counts."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def read(self, count: int) -> bytes:
        """Return `count` bytes, fewer only at the end."""
        if count <= len(self._rest):
            taken = bytes(self._rest[:count])
            self._rest = self._rest[count:]
            return taken
        gathered = [bytes(self._rest)]
        missing = count - len(self._rest)
        self._rest = memoryview(b"")
        while missing:
            piece = next(self._pieces, None)
            if piece is None:
                break
            if len(piece) > missing:
                self._rest = memoryview(piece)[missing:]
                piece = piece[:missing]
            gathered.append(piece)
            missing -= len(piece)
        return b"".join(gathered)

    def skip(self, count: int) -> int:
        """Pass over `count` bytes and return how many there were."""
        passed = 0
        while passed < count:
            piece = self.read(min(count - passed, _PIECE))
            if not piece:
                break
            passed += len(piece)
        return passed
