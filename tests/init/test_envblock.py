"""GRUB's environment block: what is written is read, and nothing that a damaged one holds can do harm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import bootphase, envblock
from init.formats.bootphase import BootPhase

NAMES = st.text("abcdefghij_", min_size=1, max_size=8)
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_values_survive(values: dict[str, str]) -> None:
    block = envblock.encode(values, 1024)
    assert len(block) == 1024
    assert envblock.read(block, values) == {name: value.encode() for name, value in values.items()}


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=4), st.data())
def test_a_written_value_is_read_and_the_others_stay(values: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(values)))
    value = data.draw(VALUES)
    changed = envblock.write(envblock.encode(values, 1024), {name: value, "fresh": "1"})
    assert changed is not None
    assert len(changed) == 1024
    assert envblock.read(changed, [*values, "fresh"]) == {
        key: text.encode() for key, text in {**values, name: value, "fresh": "1"}.items()
    }


def test_too_much_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        envblock.encode({"a": "x" * 600}, 512)
    full = envblock.encode({"a": "x" * 480}, 512)
    assert envblock.write(full, {"b": "yyyyy"}) is None
    assert envblock.write(full, {"a": "y" * 490}) is None


@given(st.binary(max_size=600))
def test_noise_is_read_without_an_error(noise: bytes) -> None:
    for block in (noise, envblock.SIGNATURE + noise):
        values = envblock.read(block, ("a", "b"))
        changed = envblock.write(block, {"a": "1"})
        assert values is None or set(values) <= {"a", "b"}
        assert changed is None or len(changed) == len(block)


@pytest.mark.parametrize(
    "block",
    [b"", envblock.SIGNATURE, b"# GRUB environment block\n#####", envblock.SIGNATURE.replace(b"\n", b"\r\n") + b"##"],
)
def test_without_the_signature_nothing_is_read_or_written(block: bytes) -> None:
    assert envblock.read(block, ("a",)) is None
    assert envblock.write(block, {"a": "1"}) is None


def test_a_readable_block_need_not_be_writable() -> None:
    block = envblock.encode({"a": "1"}, 512)[:-1] + b"x"
    assert envblock.read(block, ("a",)) == {"a": b"1"}
    assert envblock.write(block, {"a": "2"}) is None


@given(
    st.sampled_from(["a", "b"]),
    st.sampled_from(bootphase.PHASES),
    st.sampled_from(bootphase.REASONS),
    st.text("0123456789abcdef-", max_size=36),
    VALUES,
)
def test_a_boots_phase_survives(slot: str, phase: str, reason: str, boot: str, detail: str) -> None:
    value = BootPhase(slot=slot, phase=phase, reason=reason, boot=boot, detail=detail.replace("\n", " "))
    sector = bootphase.encode(value)
    assert len(sector) == 512
    assert bootphase.decode(sector) == value
    assert bootphase.decode(sector[:300] + b"\xff" * 212) in (value, None)


@given(st.binary(min_size=512, max_size=512))
def test_a_phase_that_is_noise_is_none(noise: bytes) -> None:
    assert bootphase.decode(noise) is None
    assert bootphase.decode(bytes(512)) is None


def letter_by_letter(block: bytes, position: int) -> int:
    """As GRUB's own loop goes: a backslash takes the letter behind it along."""
    while position < len(block) and block[position] != ord("\n"):
        position += 2 if block[position] == ord("\\") else 1
    return position


@given(st.lists(st.sampled_from([b"a", b"=", b"\\", b"\n", b"#"]), max_size=12), st.integers(0, 14))
def test_a_line_ends_where_grub_ends_it(parts: list[bytes], position: int) -> None:
    block = b"".join(parts)
    assert envblock._line_end(block, position) == letter_by_letter(block, position)
