"""Which blocks of an image are new, and how they are put together in packs (see `init.formats.blocks`).

Whatever a kept release has stored is left where it is. But a machine that is far behind, or new, fetches packs whole:
so an old pack of which the image uses less than half is not used; its blocks are stored once more. They come into
packs of their own, so that a machine that has them does not fetch them with what is new.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from init.formats.blocks import LARGEST_PACK, PAGE, Block, Index, Pack, cut

Stored = Mapping[str, tuple[Pack, int]]  # of each stored block, by its SHA-256: the pack, and the offset in bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """An image's index, and the packs that have to be stored for it; `fresh`: bytes of those that no release had."""

    index: Index
    packs: tuple[tuple[Pack, bytes], ...]
    fresh: int


def stored_by(indexes: Iterable[Index]) -> dict[str, tuple[Pack, int]]:
    """Return where the blocks of these indexes are stored."""
    return {block.sha256: (block.pack, block.offset) for index in indexes for block in index.blocks if block.pack}


def pack(pieces: Iterable[bytes], stored: Stored) -> Packed:
    """Cut an image, given in pieces, and put what is not stored yet into packs."""
    digest = hashlib.sha256()
    blocks: list[Block] = []
    data: dict[str, bytes] = {}
    for block, content in cut(_seen(pieces, digest)):
        blocks.append(block)
        if block.sha256:
            data.setdefault(block.sha256, content)
    used = _worth_using(data, stored)
    fresh = [name for name in data if name not in stored]
    again = [name for name in data if name in stored and stored[name][0] not in used]
    places = {name: stored[name] for name in data if name in stored and stored[name][0] in used}
    packs: list[tuple[Pack, bytes]] = []
    for names in (fresh, again):
        for group in _groups(names, data):
            content = b"".join(data[name] for name in group)
            made = Pack(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
            packs.append((made, content))
            places.update((name, (made, number * PAGE)) for number, name in enumerate(group))
    return Packed(
        index=Index(
            size=sum(block.size for block in blocks),
            sha256=digest.hexdigest(),
            blocks=tuple(_placed(block, places) for block in blocks),
        ),
        packs=tuple(packs),
        fresh=sum(len(data[name]) for name in fresh),
    )


def _worth_using(wanted: Mapping[str, bytes], stored: Stored) -> frozenset[Pack]:
    """Return the packs of which at least half is wanted."""
    parts: Counter[Pack] = Counter()
    for name, content in wanted.items():
        if name in stored:
            parts[stored[name][0]] += len(content)
    return frozenset(each for each, size in parts.items() if size * 2 >= each.size)


def _groups(names: Iterable[str], data: Mapping[str, bytes]) -> Iterator[list[str]]:
    """Share blocks out among packs. A short one, which an image has at its end, ends a pack: others lie at pages."""
    group: list[str] = []
    for name in names:
        group.append(name)
        if len(group) * PAGE == LARGEST_PACK or len(data[name]) < PAGE:
            yield group
            group = []
    if group:
        yield group


def _placed(block: Block, places: Stored) -> Block:
    if not block.sha256:
        return block
    where, offset = places[block.sha256]
    return replace(block, pack=where, offset=offset)


def _seen(pieces: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece
