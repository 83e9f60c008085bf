"""The cache of steps: equal inputs are found again, failures leave nothing, old results go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import Place
from builder.recipe.model import PackageRequest
from builder.steps import Steps, digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=PLAIN)
def test_a_digest_depends_on_the_value_alone(value: object) -> None:
    assert digest(value) == digest(value)
    assert digest(value) != digest([value, 1])


def test_bytes_and_the_text_of_their_form_differ() -> None:
    assert digest(b"\x01") != digest("01")


def test_where_a_thing_was_written_changes_no_key() -> None:
    one = PackageRequest(name="crun", place=Place(file="a.yaml", line=1))
    other = PackageRequest(name="crun", place=Place(file="b.yaml", line=9))
    assert digest(one) == digest(other)
    assert digest(one) != digest(PackageRequest(name="runc", place=one.place))


def test_what_has_no_one_form_is_refused() -> None:
    @dataclass(frozen=True)
    class Odd:
        items: frozenset[int]

    with pytest.raises(TypeError):
        digest(Odd(items=frozenset({1, 2})))


def test_a_step_is_made_once_per_key(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    made: list[str] = []

    def make(folder: Path) -> None:
        made.append(folder.name)
        (folder / "x").write_text("1")

    first = steps.folder("slot", "a" * 64, make)
    assert steps.folder("slot", "a" * 64, make) == first
    assert steps.folder("slot", "b" * 64, make) != first
    assert len(made) == 2
    assert (first / "x").read_text() == "1"


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("…")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(tmp_path).folder("slot", "a" * 64, fail)
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_old_results_are_forgotten_and_the_newest_stay(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    for number in range(9):
        steps.folder("slot", f"{number}" * 64, lambda folder: None)
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert len(left) == 4
    assert f"slot-{'8' * 32}" in left


def test_what_a_killed_build_left_goes_and_what_another_is_at_stays(tmp_path: Path) -> None:
    steps = Steps(tmp_path)
    for name in ("slot-dead", "slot-alive"):
        (tmp_path / f".{name}.new").mkdir()
        (tmp_path / f".{name}.new" / "half").write_text("x")
    with Steps(tmp_path).exclusive("slot-alive"):
        steps.folder("slot", "a" * 64, lambda folder: None)
        assert not (tmp_path / ".slot-dead.new").exists()
        assert (tmp_path / ".slot-alive.new" / "half").exists()
    steps.folder("slot", "b" * 64, lambda folder: None)
    assert not (tmp_path / ".slot-alive.new").exists()
