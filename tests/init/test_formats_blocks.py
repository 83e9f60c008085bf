from __future__ import annotations

import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats.blocks import LARGEST_BLOCK, LARGEST_INDEX, LEAST, MOST, PAGE, Block, Index, cut, index_of

images = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 70), st.booleans()), max_size=4).map(
    lambda runs: b"".join(bytes(n * PAGE) if zero else noise(seed, n * PAGE) for seed, n, zero in runs)
)
tails = st.binary(max_size=PAGE - 1)


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


def pieces(image: bytes, lengths: list[int]) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield image[start : start + length]
        start += length
    yield image[start:]


@given(images, tails, st.lists(st.integers(0, 3 * PAGE), max_size=20))
def test_blocks_are_the_image_however_it_comes_in(image: bytes, tail: bytes, lengths: list[int]) -> None:
    image += tail
    found = list(cut(pieces(image, lengths)))
    assert b"".join(data if block.sha256 else bytes(block.size) for block, data in found) == image
    assert [block for block, _ in found] == list(index_of([image] if image else []).blocks)
    assert all(0 < block.size <= LARGEST_BLOCK for block, _ in found if block.sha256)
    assert all(bool(block.sha256) == bool(data) for block, data in found)


@given(images, tails)
def test_an_index_reads_back_as_it_was(image: bytes, tail: bytes) -> None:
    if image + tail:
        index = index_of([image + tail])
        assert Index.decode(index.encode()) == index


def test_what_is_unchanged_is_found_wherever_it_lies() -> None:
    old = noise(1, 2000 * PAGE)
    new = old[: 700 * PAGE] + noise(2, 3 * PAGE) + old[701 * PAGE :]  # one page became three: all behind it moved
    have = {block.sha256 for block in index_of([old]).blocks}
    missing = [block for block in index_of([new]).blocks if block.sha256 not in have]
    # The change's own block, and what follows until the cuts meet again.
    assert sum(block.size for block in missing) <= 4 * LARGEST_BLOCK


def test_zeros_cost_nothing() -> None:
    image = noise(1, PAGE) + bytes(10_000 * PAGE) + noise(2, PAGE) + bytes(100)
    assert [block.size for block in index_of([image]).blocks if block.sha256] == [PAGE, PAGE]
    assert len(index_of([image]).blocks) == 4


def test_sizes_stay_within_their_bounds() -> None:
    sizes = [block.size // PAGE for block in index_of([noise(3, 4000 * PAGE)]).blocks[:-1]]
    assert min(sizes) >= LEAST
    assert max(sizes) <= MOST
    assert 12 <= sum(sizes) / len(sizes) <= 24


HASH = "ab" * 32


def encoded(**changes: object) -> bytes:
    value = {"format": "berth.blocks/1", "size": 8192, "sha256": HASH, "blocks": [[HASH, 4096], ["", 4096]]}
    return json.dumps(value | changes, separators=(",", ":")).encode()


def test_the_form_is_frozen() -> None:
    index = Index.decode(encoded())
    assert index == Index(size=8192, sha256=HASH, blocks=(Block(sha256=HASH, size=4096), Block(sha256="", size=4096)))
    assert index_of([bytes(8192)]).encode() == (
        b'{"format":"berth.blocks/1","size":8192,"sha256":'
        b'"9f1dcbc35c350d6027f98be0f5c8b43b42ca52b7604459c0c42be3aa88913d47","blocks":[["",8192]]}'
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 100_000,
        encoded(format="berth.blocks/2"),
        encoded(size=8191),
        encoded(size=True, blocks=[[HASH, True]]),
        encoded(size=float("nan")),
        encoded(size=1e400),
        encoded(size=8192.0),
        encoded(size=10**30, blocks=[["", 10**30]]),
        encoded(size=0, blocks=[]),
        encoded(sha256=HASH.upper()),
        encoded(sha256=""),
        encoded(sha256="../" + HASH[3:]),
        encoded(blocks=[[HASH, 8192], [HASH, 0]]),
        encoded(blocks=[[HASH, 12288], [HASH, -4096]]),
        encoded(blocks=[["../../../etc/passwd", 8192]]),
        encoded(blocks=[[HASH, LARGEST_BLOCK + 1]], size=LARGEST_BLOCK + 1),
        encoded(blocks=[[HASH, 8192, 1]]),
        encoded(blocks=[HASH]),
        encoded(blocks={HASH: 8192}),
        encoded(blocks=None),
        encoded(more=1),
        encoded() + b"\n",
        encoded().replace(b'"size"', b'"size":1,"size"', 1),
        encoded() + b" " * LARGEST_INDEX,
    ],
)
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Index.decode(data)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_no_json_gets_past_the_reader_but_an_index(value: object) -> None:
    for data in (encoded(blocks=value), encoded(size=value), encoded(sha256=value), json.dumps(value).encode()):
        with pytest.raises(ValueError, match=r"."):
            Index.decode(data)
