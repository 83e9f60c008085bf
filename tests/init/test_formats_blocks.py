from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats.blocks import LARGEST_INDEX, LARGEST_PACK, PAGE, Block, Index, Pack, cut

images = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 20), st.booleans()), max_size=6).map(
    lambda runs: b"".join(bytes(n * PAGE) if zero else noise(seed, n) for seed, n, zero in runs)
)
HASHES = (b"\xab" * 32, b"\xcd" * 32)
WHOLE, PACK = "1f" * 32, "34" * 32


def noise(seed: int, pages: int) -> bytes:
    return random.Random(seed).randbytes(pages * PAGE)


def pieces(image: bytes, lengths: list[int]) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield image[start : start + length]
        start += length
    yield image[start:]


@given(images, st.binary(max_size=PAGE - 1), st.lists(st.integers(0, 3 * PAGE), max_size=20))
def test_blocks_are_the_image_however_it_comes_in(image: bytes, tail: bytes, lengths: list[int]) -> None:
    image += tail
    found = list(cut(pieces(image, lengths)))
    assert b"".join(data if block.sha256 else bytes(block.size) for block, data in found) == image
    assert all(block.size <= PAGE for block, _ in found if block.sha256)
    assert all(bool(block.sha256) == bool(data) for block, data in found)


def test_zeros_cost_nothing() -> None:
    image = noise(1, 1) + bytes(10_000 * PAGE) + noise(2, 1) + bytes(100)
    assert [block.size for block, _ in cut([image]) if block.sha256] == [PAGE, PAGE]
    assert len(list(cut([image]))) == 4


def encoded(hashes: bytes = b"".join(HASHES), **changes: object) -> bytes:
    value = {
        "format": "berth.blocks/1",
        "size": 4 * PAGE + 100,
        "sha256": WHOLE,
        "packs": [[PACK, 2 * PAGE + 100]],
        "runs": [[-1, 0, 3], [0, 1, 2]],
    }
    return json.dumps(value | changes, separators=(",", ":")).encode() + b"\n" + hashes


def test_the_form_is_frozen() -> None:
    index = Index.decode(encoded())
    pack = Pack(sha256=PACK, size=2 * PAGE + 100)
    assert index == Index(
        size=4 * PAGE + 100,
        sha256=WHOLE,
        blocks=(
            Block(sha256="", size=3 * PAGE),
            Block(sha256=HASHES[0].hex(), size=PAGE, pack=pack, offset=PAGE),
            Block(sha256=HASHES[1].hex(), size=100, pack=pack, offset=2 * PAGE),
        ),
    )
    assert index.encode() == encoded()
    page = noise(1, 1)
    assert [block for block, _ in cut([page + bytes(PAGE)])] == [
        Block(sha256=hashlib.sha256(page).hexdigest(), size=PAGE),
        Block(sha256="", size=PAGE),
    ]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]\n",
        b"null\n",
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 100_000,
        encoded(format="berth.blocks/2"),
        encoded(size=3 * PAGE),
        encoded(size=5 * PAGE),  # then the last block lies behind its pack's end
        encoded(size=True, runs=[[-1, 0, True]], hashes=b""),
        encoded(size=float("nan")),
        encoded(size=1e400),
        encoded(size=16484.0),
        encoded(size=10**30, runs=[[-1, 0, 10**30]], hashes=b""),
        encoded(size=0, runs=[], packs=[], hashes=b""),
        encoded(sha256=WHOLE.upper()),
        encoded(sha256=""),
        encoded(sha256="../" + WHOLE[3:]),
        encoded(packs=[]),
        encoded(packs=[["../../../etc/passwd", PAGE]]),
        encoded(packs=[[PACK, LARGEST_PACK + 1]]),
        encoded(packs=[[PACK, 2 * PAGE + 100], [WHOLE, PAGE]]),  # one that nothing lies in
        encoded(packs=[[PACK, 2 * PAGE + 100, 1]]),
        encoded(packs={PACK: 1}),
        encoded(packs=None),
        encoded(runs=[[-1, 0, 3], [1, 1, 2]]),
        encoded(runs=[[-2, 0, 3], [0, 1, 2]]),
        encoded(runs=[[-1, 1, 3], [0, 1, 2]]),
        encoded(runs=[[-1, 0, 3], [0, -1, 2]]),
        encoded(runs=[[-1, 0, 3], [0, 2, 2]]),
        encoded(runs=[[-1, 0, 3], [0, 1, 1], [0, 2, 1]]),  # another way to say the same
        encoded(runs=[[-1, 0, 6], [0, 1, -1]]),
        encoded(runs=[[-1, 0, 3], [0, 1 << 50, 2]]),
        encoded(runs=[[0, 0, 1 << 39]], size=1 << 40),
        encoded(hashes=HASHES[0]),
        encoded() + b"\0",
        encoded(more=1),
        encoded().replace(b'"size"', b'"size":1,"size"', 1),
        encoded() + bytes(LARGEST_INDEX),
    ],
)
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Index.decode(data)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=8))
def test_no_json_gets_past_the_reader_but_an_index(value: object) -> None:
    wrong = [encoded(runs=value), encoded(packs=value), encoded(sha256=value), json.dumps(value).encode()]
    for data in [*wrong, encoded(size=-1 if value == 4 * PAGE + 100 else value)]:
        with pytest.raises(ValueError, match=r"."):
            Index.decode(data)
