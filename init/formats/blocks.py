"""How an image is cut into blocks, and the index that lists them: what an update needs not fetch, it finds by this.

An image is seen as pages of 4 KiB, the last perhaps shorter. A block ends behind a page whose CRC-32 has AVERAGE_BITS
low zero bits, but is at least LEAST and at most MOST pages long. So where a block ends depends on the content around
it alone: what a release has in common with the one before is found again wherever it lies. EROFS moves data by whole
pages, never by less. A run of zero pages, however short or long, is a block without a hash, and is never stored.

The index is JSON:

    {"format": "berth.blocks/1", "size": BYTES, "sha256": "HEX", "blocks": [["HEX", BYTES], …, ["", BYTES], …]}

with the image's size and SHA-256 and its blocks in order; `""` is a run of zeros. It comes from outside: `decode`
bounds everything, and whoever writes an image still compares each block, and the whole, with the hashes.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FORMAT = "berth.blocks/1"
PAGE = 4096
LEAST = 4  # pages
MOST = 64  # pages
AVERAGE_BITS = 4  # 16 pages on average behind the least
LARGEST_BLOCK = MOST * PAGE  # bytes of one stored block
LARGEST_IMAGE = 16 << 30  # bytes
LARGEST_INDEX = 4 << 20  # bytes of the encoded index: images of about 3 GiB

_MASK = (1 << AVERAGE_BITS) - 1
_ZERO_PAGE = bytes(PAGE)
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A piece of an image: `size` in bytes, `sha256` in hex, or empty for a run of zeros."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """An image as blocks in order; `size` in bytes and `sha256` are the whole image's."""

    size: int
    sha256: str
    blocks: tuple[Block, ...]

    def encode(self) -> bytes:
        """Return the index's one encoding."""
        value = {
            "format": FORMAT,
            "size": self.size,
            "sha256": self.sha256,
            "blocks": [[block.sha256, block.size] for block in self.blocks],
        }
        return json.dumps(value, separators=(",", ":")).encode()

    @staticmethod
    def decode(data: bytes) -> Index:
        """Read an index; raise ValueError where it is not one, is not in its one encoding, or is too large."""
        if len(data) > LARGEST_INDEX:
            raise ValueError(f"an index of blocks has at most {LARGEST_INDEX} bytes")
        try:
            value = json.loads(data)
            if value["format"] != FORMAT:
                raise ValueError(f"not an index of blocks of the format {FORMAT}")
            blocks = tuple(Block(sha256=_sha256(name, empty=True), size=_size(size)) for name, size in value["blocks"])
            index = Index(size=_size(value["size"]), sha256=_sha256(value["sha256"]), blocks=blocks)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("not an index of blocks") from error
        index._check()
        # One image, one index, one hash of it: nothing else may hide in the file.
        if index.encode() != data:
            raise ValueError("the index of blocks is not in its canonical form")
        return index

    def _check(self) -> None:
        if any(block.sha256 and block.size > LARGEST_BLOCK for block in self.blocks):
            raise ValueError(f"a block has more than {LARGEST_BLOCK} bytes")
        if sum(block.size for block in self.blocks) != self.size:
            raise ValueError("the blocks' sizes do not add up to the image's")


def cut(pieces: Iterable[bytes]) -> Iterator[tuple[Block, bytes]]:
    """Cut an image, given in pieces of any lengths, into its blocks.

    Yield each block in order with its bytes, which are none for a run of zeros. Needs memory for a block or two.
    """
    pages: list[bytes] = []
    zeros = 0  # bytes of the run of zeros under way
    for page in _pages(pieces):
        if page == _ZERO_PAGE[: len(page)]:
            if pages:
                yield _block(pages)
                pages = []
            zeros += len(page)
            continue
        if zeros:
            yield Block(sha256="", size=zeros), b""
            zeros = 0
        pages.append(page)
        if len(pages) == MOST or (len(pages) >= LEAST and not zlib.crc32(page) & _MASK):
            yield _block(pages)
            pages = []
    if pages:
        yield _block(pages)
    if zeros:
        yield Block(sha256="", size=zeros), b""


def index_of(pieces: Iterable[bytes]) -> Index:
    """Return the index of an image that is given in pieces of any lengths."""
    digest = hashlib.sha256()

    def seen() -> Iterator[bytes]:
        for piece in pieces:
            digest.update(piece)
            yield piece

    blocks = tuple(block for block, _ in cut(seen()))
    return Index(size=sum(block.size for block in blocks), sha256=digest.hexdigest(), blocks=blocks)


def block_path(sha256: str) -> str:
    """Return where a block lies, as a path below the repository's folder or URL."""
    return f"blocks/{sha256[:2]}/{sha256}"


def _block(pages: list[bytes]) -> tuple[Block, bytes]:
    data = b"".join(pages)
    return Block(sha256=hashlib.sha256(data).hexdigest(), size=len(data)), data


def _pages(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        data = rest + piece if rest else piece
        whole = len(data) - len(data) % PAGE
        for start in range(0, whole, PAGE):
            yield data[start : start + PAGE]
        rest = data[whole:]
    if rest:
        yield rest


def _sha256(value: object, *, empty: bool = False) -> str:
    if isinstance(value, str) and ((len(value) == 64 and set(value) <= _HEX) or (empty and not value)):
        return value
    raise ValueError("a SHA-256 in an index of blocks is not 64 hexadecimal digits")


def _size(value: object) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_IMAGE:
        return value
    raise ValueError("a size in an index of blocks is not a number of bytes within bounds")
