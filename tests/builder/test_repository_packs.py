from __future__ import annotations

import random
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from builder.repository.packs import Packed, pack, stored_by
from init.formats.blocks import LARGEST_PACK, PAGE, Index


def noise(seed: int, pages: int) -> bytes:
    return random.Random(seed).randbytes(pages * PAGE)


images = st.lists(st.tuples(st.integers(0, 4), st.integers(1, 9), st.integers(0, 80)), min_size=1, max_size=5).map(
    lambda runs: b"".join(
        bytes(n * PAGE) if seed == 0 else noise(seed, 80)[at * PAGE :][: n * PAGE] for seed, n, at in runs
    )
)


def assembled(index: Index, packs: dict[str, bytes]) -> bytes:
    return b"".join(
        packs[block.pack.sha256][block.offset : block.offset + block.size] if block.pack else bytes(block.size)
        for block in index.blocks
    )


def files(*made: Packed) -> dict[str, bytes]:
    return {each.sha256: data for one in made for each, data in one.packs}


def pieces(image: bytes, lengths: list[int]) -> Iterator[bytes]:
    start = 0
    for length in lengths:
        yield image[start : start + length]
        start += length
    yield image[start:]


@given(
    st.lists(images, min_size=1, max_size=4),
    st.binary(max_size=PAGE - 1),
    st.lists(st.integers(0, 2 * PAGE), max_size=9),
)
def test_every_release_can_be_put_together_from_the_packs(
    releases: list[bytes], tail: bytes, lengths: list[int]
) -> None:
    made: list[Packed] = []
    for release in releases:
        image = release + tail
        if not image:
            continue
        made.append(pack(pieces(image, lengths), stored_by(one.index for one in made)))
        assert assembled(made[-1].index, files(*made)) == image
        assert Index.decode(made[-1].index.encode()) == made[-1].index
        assert all(0 < each.size <= LARGEST_PACK for each, _ in made[-1].packs)


def test_what_is_unchanged_is_not_stored_again_wherever_it_lies() -> None:
    old = noise(1, 2000)
    first = pack([old], {})
    new = old[: 700 * PAGE] + noise(2, 3) + old[701 * PAGE :]  # one page became three: all behind it moved
    second = pack([new], stored_by([first.index]))
    assert [each.size for each, _ in second.packs] == [3 * PAGE]
    assert second.fresh == 3 * PAGE
    assert len(second.index.encode()) < len(new) // 100


def test_what_is_strewn_over_an_image_comes_in_few_packs() -> None:
    old = noise(1, 2000)
    new = bytearray(old)
    for page in range(0, 2000, 20):
        new[page * PAGE] ^= 1
    made = pack([bytes(new)], stored_by([pack([old], {}).index]))
    assert len(made.packs) == 2
    assert made.fresh == 100 * PAGE


def test_an_old_pack_that_is_hardly_used_is_left_behind_and_machines_do_not_fetch_its_blocks() -> None:
    old = noise(1, 64)
    first = pack([old], {})
    second = pack([old[: 20 * PAGE] + noise(2, 44)], stored_by([first.index]))
    assert [each.size // PAGE for each, _ in second.packs] == [44, 20]
    assert second.fresh == 44 * PAGE
    assert {block.pack for block in second.index.blocks} == {each for each, _ in second.packs}
