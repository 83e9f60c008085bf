"""The light `json` reads and writes what the library's does, and leaves to it what is out of the ordinary."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init import lightjson

ROOT = Path(__file__).parents[2]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NOISE = st.text(st.sampled_from('{}[]",:0123456789.eE+- \t\n\\ntrufalsNI\ufeff'), max_size=16)


@given(VALUES, st.sampled_from(["", " ", "\n\t "]), st.sampled_from(["", " \r\n"]))
def test_what_is_written_is_read(value: Any, before: str, after: str) -> None:
    text = lightjson.dumps(value)
    assert text == json.dumps(value)
    assert lightjson.loads(f"{before}{text}{after}") == value
    assert lightjson.loads(f"{before}{text}{after}".encode()) == value


@given(
    st.dictionaries(TEXTS, VALUES, max_size=4),
    st.fixed_dictionaries(
        {},
        optional={
            "ensure_ascii": st.booleans(), "sort_keys": st.booleans(), "default": st.just(str),
            "separators": st.just((",", ":")), "indent": st.sampled_from([None, 1]),
        },
    ),
)  # fmt: skip
def test_it_is_written_as_the_library_would(value: dict[str, Any], how: dict[str, Any]) -> None:
    assert lightjson.dumps({**value, "path": Path("/x")} if "default" in how else value, **how) == json.dumps(
        {**value, "path": Path("/x")} if "default" in how else value, **how
    )


def outcome(read: Any, text: Any) -> Any:
    try:
        return repr(read(text))
    except (ValueError, TypeError) as error:
        return type(error).__name__, str(error)


@given(NOISE | st.binary(max_size=12))
def test_whatever_it_is_given_it_answers_as_the_library_does(text: str | bytes) -> None:
    assert outcome(lightjson.loads, text) == outcome(json.loads, text)


@pytest.mark.parametrize("value", [{1, 2}, object, float("nan"), {"a": b""}, {(1, 2): 3}])
def test_what_can_not_be_written_is_refused_alike(value: object) -> None:
    assert outcome(lightjson.dumps, value) == outcome(json.dumps, value)


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(ValueError, match="Circular reference"):
        lightjson.dumps(value)


def test_in_its_place_nobody_needs_the_library_until_there_is_a_fault() -> None:
    program = """
import sys
import init.lightjson
import io, json
assert json.__name__ == "init.lightjson"
assert json.loads(json.dumps({"a": [1, 2.5, None]})) == {"a": [1, 2.5, None]}
stream = io.StringIO()
json.dump("x", stream)
stream.seek(0)
assert json.load(stream) == "x"
assert "json.decoder" not in sys.modules
for text in ("{", "[1,]", "nonsense", "1 2", b"\\xff", b"\\xef\\xbb\\xbf1"):
    try:
        print(json.loads(text))
    except json.JSONDecodeError as error:
        print(error)
    except UnicodeDecodeError as error:
        print("no text")
print(json.dumps([1], indent=1), json.__name__)
"""
    done = subprocess.run([sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"], capture_output=True, text=True, check=False)  # fmt: skip # noqa: E501
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        *(str(fault("[1,]")), str(fault("nonsense")), "Extra data: line 1 column 3 (char 2)", "no text", "1"),
        *("[", " 1", "] init.lightjson"),
    ]


def test_where_there_is_no_library_a_fault_is_a_value_error_all_the_same() -> None:
    """In the initramfs."""
    program = """
import sys
import init.lightjson
import json
class Nowhere:
    def find_spec(self, name, *_):
        if name.startswith("json"):
            raise ImportError(f"No module named {name!r}")
sys.meta_path.insert(0, Nowhere())
print(json.loads('{"a": [1]}'), json.dumps({"b": None}))
for text in ("{", "[1,]", "nonsense", "1 2"):
    try:
        print(json.loads(text))
    except ValueError as error:
        print(str(error).partition(":")[0])
"""
    done = subprocess.run(
        [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{program}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    told = "JSON with a fault, and the library can't be asked which"
    assert done.stdout.splitlines() == ["{'a': [1]} {\"b\": null}", told, told, told, told]


def fault(text: str) -> json.JSONDecodeError:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(text)
    return caught.value
