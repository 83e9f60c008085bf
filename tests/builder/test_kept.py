"""What a step keeps is all there, or as good as none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from builder.rootfs import kept

VALUES = st.dictionaries(st.text(max_size=8), st.lists(st.integers() | st.text(max_size=8), max_size=4), max_size=4)


@given(VALUES)
def test_a_sealed_value_is_read_again(value):
    assert kept.unseal(kept.seal(value)) == value


@given(VALUES, st.data())
def test_one_bit_that_turned_is_seen_wherever_it_is(value, data):
    sealed = bytearray(kept.seal(value))
    place = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[place // 8] ^= 1 << place % 8
    assert kept.unseal(bytes(sealed)) is None


@given(VALUES, st.data())
def test_a_text_that_was_cut_off_is_worth_nothing(value, data):
    sealed = kept.seal(value)
    assert kept.unseal(sealed[: data.draw(st.integers(0, len(sealed) - 1))]) is None


@given(st.binary(max_size=200))
def test_any_other_bytes_are_worth_nothing(some):
    assert kept.unseal(some) is None
