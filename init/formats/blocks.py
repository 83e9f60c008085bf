"""An image as blocks, and the index that lists them: what an update needs not fetch, it finds by this.

A block is a page of 4 KiB, the last of an image perhaps shorter: EROFS moves data by whole pages, never by less, and
what changes with a small package is strewn all over an image in single pages of inodes and folders. A run of zeros,
however short or long, is one block without a hash. Blocks are stored many together in packs of at most 256 KiB, so that
a machine asks a web server seldom: what is new with a release lies in packs of its own, in the order of the image; what
is not new is left in the packs of the releases before.

The index is one line of JSON and the blocks' SHA-256, 32 bytes each, in the image's order, runs of zeros left out:

    {"format": "berth.blocks/1", "size": BYTES, "sha256": "HEX",
     "packs": [["HEX", BYTES], …], "runs": [[PACK, FIRST, COUNT], …]}

A run is COUNT pages that lie one after the other in a pack, from its page FIRST on; PACK is the pack's place in the
list, -1 for zeros. The index comes from outside: `decode` bounds everything, and whoever writes an image still compares
each block, and the whole, with the hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

FORMAT = "berth.blocks/1"
PAGE = 4096
LARGEST_PACK = 64 * PAGE  # bytes
LARGEST_INDEX = 8 << 20  # bytes of the encoded index: images of about 1 GiB

_HASH = 32  # bytes
_ZEROS = -1
_ZERO_PAGE = bytes(PAGE)
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """A stored file of blocks; `size` in bytes, `sha256` in hex."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A piece of an image: `size` in bytes, `sha256` in hex or empty for a run of zeros.

    `pack` and `offset` (bytes in it) tell where it is stored, once it is.
    """

    sha256: str
    size: int
    pack: Pack | None = None
    offset: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Index:
    """An image as blocks in order, each stored; `size` in bytes and `sha256` are the whole image's."""

    size: int
    sha256: str
    blocks: tuple[Block, ...]

    def encode(self) -> bytes:
        """Return the index's one encoding."""
        packs: dict[Pack, int] = {}
        runs: list[list[int]] = []
        hashes = bytearray()
        for block in self.blocks:
            pages = -(-block.size // PAGE)
            if block.pack is None:
                runs.append([_ZEROS, 0, pages])
                continue
            pack, first = packs.setdefault(block.pack, len(packs)), block.offset // PAGE
            if runs and runs[-1][0] == pack and runs[-1][1] + runs[-1][2] == first:
                runs[-1][2] += 1
            else:
                runs.append([pack, first, 1])
            hashes += bytes.fromhex(block.sha256)
        value = {
            "format": FORMAT,
            "size": self.size,
            "sha256": self.sha256,
            "packs": [[pack.sha256, pack.size] for pack in packs],
            "runs": runs,
        }
        return json.dumps(value, separators=(",", ":")).encode() + b"\n" + hashes

    @staticmethod
    def decode(data: bytes) -> Index:
        """Read an index; raise ValueError where it is not one, is not in its one encoding, or is too large."""
        if len(data) > LARGEST_INDEX:
            raise ValueError(f"an index of blocks has at most {LARGEST_INDEX} bytes")
        head, _, hashes = data.partition(b"\n")
        try:
            value = json.loads(head)
            if value["format"] != FORMAT:
                raise ValueError(f"not an index of blocks of the format {FORMAT}")
            packs = [_pack(sha256, size) for sha256, size in value["packs"]]
            runs = [_run(pack, first, count) for pack, first, count in value["runs"]]
            size, sha256 = _number(value["size"]), _sha256(value["sha256"])
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("not an index of blocks") from error
        index = Index(size=size, sha256=sha256, blocks=tuple(_blocks(size, packs, runs, hashes)))
        # One image, one index, one hash of it: nothing else may hide in the file.
        if index.encode() != data:
            raise ValueError("the index of blocks is not in its canonical form")
        return index


def cut(pieces: Iterable[bytes]) -> Iterator[tuple[Block, bytes]]:
    """Cut an image, given in pieces of any lengths, into its blocks, and say nothing of where they are stored.

    Yield each block in order with its bytes, which are none for a run of zeros. Needs memory for a piece or two.
    """
    zeros = 0  # bytes of the run under way
    for page in _pages(pieces):
        if page == _ZERO_PAGE[: len(page)]:
            zeros += len(page)
            continue
        if zeros:
            yield Block(sha256="", size=zeros), b""
            zeros = 0
        yield Block(sha256=hashlib.sha256(page).hexdigest(), size=len(page)), page
    if zeros:
        yield Block(sha256="", size=zeros), b""


def pack_path(sha256: str) -> str:
    """Return where a pack lies, as a path below the repository's folder or URL."""
    return f"packs/{sha256[:2]}/{sha256}"


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


def _blocks(size: int, packs: list[Pack], runs: list[tuple[int, int, int]], hashes: bytes) -> Iterator[Block]:
    """Yield the blocks that the runs tell of; raise ValueError where they don't fit size, packs or hashes."""
    if sum(count for _, _, count in runs) != -(-size // PAGE):
        raise ValueError("the blocks do not add up to the image's size")
    if sum(count for pack, _, count in runs if pack != _ZEROS) * _HASH != len(hashes):
        raise ValueError("the index of blocks has not one hash for each block")
    place, done = 0, 0  # in `hashes` and in the image, both in bytes
    for number, first, count in runs:
        if number == _ZEROS:
            length = min(count * PAGE, size - done)
            yield Block(sha256="", size=length)
            done += length
            continue
        if number >= len(packs):
            raise ValueError("a block lies in a pack that the index does not list")
        for page in range(first, first + count):
            length = min(PAGE, size - done)
            if page * PAGE + length > packs[number].size:
                raise ValueError("a block lies behind its pack's end")
            sha256 = hashes[place : place + _HASH].hex()
            yield Block(sha256=sha256, size=length, pack=packs[number], offset=page * PAGE)
            place += _HASH
            done += length


def _pack(sha256: object, size: object) -> Pack:
    if _number(size) > LARGEST_PACK:
        raise ValueError(f"a pack has at most {LARGEST_PACK} bytes")
    return Pack(sha256=_sha256(sha256), size=_number(size))


def _run(pack: object, first: object, count: object) -> tuple[int, int, int]:
    return _number(pack, least=_ZEROS), _number(first, least=0), _number(count)


def _sha256(value: object) -> str:
    if isinstance(value, str) and len(value) == _HASH * 2 and set(value) <= _HEX:
        return value
    raise ValueError("a SHA-256 in an index of blocks is not 64 hexadecimal digits")


def _number(value: object, *, least: int = 1) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= 1 << 40:
        return value
    raise ValueError("a number in an index of blocks is out of bounds")
