"""YAML with places: what PyYAML reads we read; bombs, repeated keys and bad bytes are told with their place."""

from __future__ import annotations

import gzip
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from init.dialects.diagnostic import Report, Unreadable
from init.dialects.position import DEEPEST, LARGEST, MOST_NODES, Mapping, Scalar, parse, plain_value
from init.dialects.scalars import differs, resolve11, resolve12
from init.dialects.text import decode


def read(text: str, *, yaml11: bool = False) -> tuple[object, Report]:
    report = Report()
    node = parse(text, report, file="f", yaml11=yaml11)
    return (None if node is None else plain_value(node)), report


def refused(text: str | bytes) -> tuple[int, int, str]:
    with pytest.raises(Unreadable) as caught:
        parse(decode(text if isinstance(text, bytes) else text.encode(), file="f"), Report(), file="f")
    found = caught.value.diagnostic
    return found.place.line, found.place.column, found.message


PRINTABLE = st.text(alphabet=st.characters(exclude_categories=["C", "Z"], include_characters=' \n\t\\"'), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | PRINTABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PRINTABLE, inner, max_size=3),
    max_leaves=12,
)


@given(JSON)
def test_json_is_read_as_what_it_is(value: object) -> None:
    got, report = read(json.dumps(value, ensure_ascii=False))
    assert report.errors == 0
    assert got == value


@given(st.from_regex(r"[-+0-9a-zA-Z_.:~]{1,9}", fullmatch=True))
def test_plain_scalars_by_1_1_are_what_pyyaml_makes_of_them(text: str) -> None:
    try:
        expected = yaml.safe_load(f"[{text}]")
    except (yaml.YAMLError, ValueError):
        return  # a form such as `a: b`, or a date that is none
    if not isinstance(expected, list) or len(expected) != 1:
        return
    if not isinstance(expected[0], (str, int, float, bool, type(None))):
        return  # a date, or a map in one line: text for us
    got, _ = read(f"[{text}]", yaml11=True)
    assert repr(got) == repr(expected)


@pytest.mark.parametrize(
    ("text", "old", "new"),
    [
        ("no", False, "no"),
        ("22:22", 1342, "22:22"),
        ("0644", 420, 644),
        ("0o644", "0o644", 420),
        ("1_000", 1000, "1_000"),
        ("1e3", "1e3", 1000.0),
        ("0b11", 3, "0b11"),
        ("true", True, True),
        ("~", None, None),
        ("3.10", 3.1, 3.1),
    ],
)
def test_the_two_versions_differ_where_they_are_known_to(text: str, old: object, new: object) -> None:
    assert resolve11(text) == old
    assert resolve12(text) == new
    assert differs(text) == (type(old) is not type(new) or old != new)


def test_places_count_from_one() -> None:
    node = parse("a:\n  - b: c\n", Report(), file="f")
    assert isinstance(node, Mapping)
    key, value = node.entries[0]
    assert (key.place.line, key.place.column) == (1, 1)
    assert (value.place.line, value.place.column) == (2, 3)


def test_a_key_twice_is_an_error_with_both_lines() -> None:
    _, report = read("a: 1\nb: 2\na: 3\n")
    (found,) = report.all()
    assert found.place.line == 3
    assert "first in line 1" in found.message


def test_merge_keys_fill_what_is_missing() -> None:
    got, report = read("base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\n")
    assert report.errors == 0
    assert got == {"base": {"x": 1, "y": 2}, "one": {"y": 3, "x": 1}}


def test_a_list_as_key_and_an_unknown_tag_are_errors() -> None:
    assert read("? [a]\n: b\n")[1].errors == 1
    assert read("a: !!python/object:os.system x\n")[1].errors == 1


def test_an_alias_bomb_is_told_by_its_size() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [" + ",".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 9)]
    assert str(MOST_NODES) in refused("\n".join(lines))[2]


def test_depth_is_bounded_through_aliases_too() -> None:
    assert "nested deeper" in refused("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1))[2]
    assert "nested deeper" in refused("[" * 100_000)[2]
    half = "[" * (DEEPEST // 2 + 2)
    back = "]" * (DEEPEST // 2 + 2)
    assert "nested deeper" in refused(f"a: &a {half}{back}\nb: {half}*a{back}\n")[2]


def test_an_alias_of_itself_is_refused() -> None:
    assert "alias" in refused("a: &a [*a]\n")[2]


@pytest.mark.parametrize(
    ("data", "line", "column", "word"),
    [
        (b"a: b\nc: \xff\n", 2, 4, "UTF-8"),
        (b"a: b\n\0", 2, 1, "NUL"),
        (b"\xff\xfea\0", 1, 1, "UTF-16"),
        (b"a:\n\tb: c\n", 2, 1, "tab"),
        (b"a: \x01\n", 1, 4, "does not allow"),
        (b"a: 1\n---\nb: 2\n", 2, 1, "more than one"),
        (b"a: *b\n", 1, 4, "alias"),
    ],
)
def test_bad_bytes_are_told_with_their_place(data: bytes, line: int, column: int, word: str) -> None:
    got = refused(data)
    assert got[:2] == (line, column)
    assert word in got[2]


def test_sizes_are_bounded_packed_and_unpacked() -> None:
    assert "larger" in refused(b"#" * (LARGEST + 1))[2]
    assert "unpacks" in refused(gzip.compress(b"#" * (LARGEST * 8)))[2]
    assert "ends too early" in refused(gzip.compress(b"a: 1\n")[:-4])[2]
    assert decode(gzip.compress(b"a: 1\n"), file="f") == "a: 1\n"


def test_a_byte_order_mark_and_dos_lines_are_no_harm() -> None:
    assert decode(b"\xef\xbb\xbf#berth\r\na: 1\r\n", file="f") == "#berth\na: 1\n"


@given(st.binary(max_size=60))
def test_whatever_the_bytes_there_is_an_answer(data: bytes) -> None:
    report = Report()
    try:
        parse(decode(data, file="f"), report, file="f")
    except Unreadable as error:
        report.add(error.diagnostic)
    assert all(each.message for each in report.all())


def test_a_long_number_is_text() -> None:
    got, _ = read("9" * 5000)
    assert isinstance(got, str)
    assert isinstance(parse("x", Report(), file="f"), Scalar)
