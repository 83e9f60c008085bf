"""The lock file, the difference of two, and the shipped locks: all pure."""

import dataclasses
from pathlib import Path

import pytest
from fakes.locks import PLACE, make_lock, names, solved, universe
from fakes.mirror import FakeDeb
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import LockError
from builder.lock.closure import problems, reach
from builder.lock.difference import compare_locks
from builder.lock.file import parse_lock, read_lock, render_lock, write_lock
from builder.lock.model import Lock, LockedPart, LockedWaiver
from builder.lock.select import packages_of
from builder.recipe.asked import Asked
from builder.recipe.model import Waiver


def sample() -> Lock:
    packages = solved(universe(FakeDeb("a", depends="b (>= 1)"), FakeDeb("b", provides="v")), "a")
    return make_lock(
        packages, parts=(LockedPart(name="root", requests=("a",)),), waived=(LockedWaiver(package="a", depends="z"),)
    )


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = sample()
    write_lock(lock, tmp_path / "deep" / "x.lock")
    assert read_lock(tmp_path / "deep" / "x.lock") == lock
    text = (tmp_path / "deep" / "x.lock").read_text()
    assert text == render_lock(lock)
    assert text.endswith("}\n")
    assert sum('"name": "b"' in line for line in text.splitlines()) == 1
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.lock"]


TEXTS = st.text(max_size=10)


@given(
    st.lists(TEXTS, max_size=3),
    st.integers(1, 2**40),
    st.sampled_from(["", "f" * 64]),
    st.none() | st.integers(0, 2**32),
)
def test_any_lock_survives_its_file(groups: list[str], size: int, healed: str, until: int | None) -> None:
    base = sample()
    packages = tuple(
        dataclasses.replace(p, size=size, depends=tuple(groups), conflicts=tuple(groups)) for p in base.packages
    )
    releases = tuple(dataclasses.replace(release, valid_until=until) for release in base.releases)
    lock = dataclasses.replace(base, packages=packages, releases=releases, healed_from=healed)
    assert parse_lock(render_lock(lock), "x.lock") == lock


@pytest.mark.parametrize(
    ("old", "new", "words", "line"),
    [
        ('"berth.lock/1"', '"berth.lock/9"', "format", 2),
        ('"recipe": "x"', '"recipe": 3', "`recipe` is of a wrong type", 3),
        ('"size": ', '"size": "1", "sise": ', "`size` is of a wrong type", 16),
        ('{"name": "b"', '{"color": "red", "name": "b"', "`color` is not known", 0),
        ('"name": "b", ', "", "`name` is missing", 15),
        ('{"name": "a"', '{"name": "b"', "twice or out of order", 16),
        ("pool/main/b/b", "../../b/b", "leaves the archive", 17),
        ('"2026-11-21T09:15:44Z"', '"soon"', "no moment", 13),
        ('"parts": ["root"]', '"parts": ["attic"]', "does not have", 16),
        ('"archive": "main"', '"archive": "attic"', "neither", 13),
        ('"epoch": ', '"epoch": 1, "epoch": ', "stands twice", 0),
        ("{\n", "[\n", "not JSON", 2),
        ('"requests": ["a"]', '"requests": [1]', "list of texts", 8),
    ],
)
def test_reading_is_strict(old: str, new: str, words: str, line: int) -> None:
    text = render_lock(sample())
    assert old in text
    with pytest.raises(LockError) as caught:
        parse_lock(text.replace(old, new, 1), "x.lock")
    assert words in caught.value.message
    assert caught.value.place is not None
    assert caught.value.place.file == "x.lock"
    if line:
        assert abs(caught.value.place.line - line) <= 2


@pytest.mark.parametrize(
    ("data", "message", "line"),
    [
        (b"{}", "`format` is missing", 1),
        (b'{"format": "berth.lock/1"}', "`parts` is missing", 1),
        (b"[]", "one JSON object", 1),
        (b"", "not JSON", 1),
        (b'{\n"recipe": "x",\n"recipe": "y"}', "'recipe' stands twice", 3),
        (b'{"a": {"b": 1},\n"c": {"b": 1,\n"d": {"e": 1, "e": 2}}}', "'e' stands twice", 3),
        (b'{\n"recipe": "\xff"}', "not UTF-8", 2),
        (b"[" * 100000, "not a lock", 1),
    ],
)
def test_a_file_that_is_no_lock_says_so_with_a_line_and_a_cure(
    tmp_path: Path, data: bytes, message: str, line: int
) -> None:
    path = tmp_path / "x.lock"
    path.write_bytes(data)
    with pytest.raises(LockError, match=message) as caught:
        read_lock(path)
    assert caught.value.place == dataclasses.replace(caught.value.place or PLACE, file=str(path), line=line)
    assert (caught.value.hint or "").endswith(f"lock anew: berth lock {tmp_path}/x.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_are_a_lock_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock"
    path.write_bytes(data)
    with pytest.raises(LockError):
        read_lock(path)


def test_no_lock_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        read_lock(tmp_path / "podman.lock")
    assert caught.value.hint == f"make it: berth lock {tmp_path}/podman.yaml"
    with pytest.raises(LockError) as caught:
        read_lock(tmp_path / "podman.lock", Asked(given="podman", lock=tmp_path / "podman.lock"))
    assert caught.value.hint == "make it: berth lock podman"


def test_a_difference() -> None:
    old = make_lock(solved(universe(FakeDeb("a", depends="b"), FakeDeb("b"), FakeDeb("c", content=b"1")), "a", "c"))
    new = make_lock(
        solved(universe(FakeDeb("a", "1.1-1", depends="d"), FakeDeb("d"), FakeDeb("c", content=b"22")), "a", "c")
    )
    difference = compare_locks(old, new)
    assert [(change.kind, change.name, change.old, change.new) for change in difference.changes] == [
        ("upgraded", "a", "1.0-1", "1.1-1"),
        ("removed", "b", "1.0-1", None),
        ("rebuilt", "c", "1.0-1", "1.0-1"),
        ("added", "d", None, "1.0-1"),
    ]
    assert difference.growth == sum(p.size for p in new.packages) - sum(p.size for p in old.packages)
    assert difference.download == sum(p.size for p in new.packages)
    assert compare_locks(new, new).changes == ()
    assert [change.name for change in difference.changes if change.kind == "added"] == ["d"]
    assert next(change.name for change in compare_locks(new, old).changes if change.kind == "downgraded") == "a"


# The locks that are shipped

SHIPPED = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.lock"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_lock_is_whole(path: Path) -> None:
    lock = read_lock(path)
    assert render_lock(lock) == path.read_text()
    waive = [Waiver(package=w.package, depends=w.depends, reason="", place=PLACE) for w in lock.waived]
    together = {part.name for part in lock.parts if not part.name.startswith("image-")}
    for group in [together, *({part.name} for part in lock.parts if part.name.startswith("image-"))]:
        members = packages_of(lock, *group)
        assert problems(members, waive) == []
        asked = [name for part in lock.parts if part.name in group for name in part.requests]
        assert set(reach(members, asked, waive)) == set(names(members))
    assert "systemd" not in lock.by_name()
    assert {signer for release in lock.releases for signer in release.signers}
