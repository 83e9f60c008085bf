"""The bare parts of the library behave as the library's own, as far as PID 1 goes."""

from __future__ import annotations

import contextlib
import enum
import json
import subprocess
import sys
from pathlib import Path

import pytest

from init.formats import bare

ROOT = Path(__file__).parents[2]


def make(kind):
    class Colour(kind):
        """Words of a machine."""

        RED = "red"
        DARK_BLUE = "dark-blue"

    return Colour


BOTH = pytest.mark.parametrize("kind", [make(enum.StrEnum), make(bare.StrEnum)], ids=["library", "bare"])


@BOTH
def test_members_are_texts_one_object_each(kind):
    assert kind.RED == "red"
    assert isinstance(kind.RED, str)
    assert isinstance(kind.RED, kind)
    assert kind("dark-blue") is kind.DARK_BLUE
    assert kind(kind.RED) is kind.RED
    assert (kind.RED.name, kind.RED.value) == ("RED", "red")
    assert f"{kind.DARK_BLUE} {kind.RED!s} {kind.RED!r}" == "dark-blue red <Colour.RED: 'red'>"
    assert {kind.RED: 1}["red"] == 1
    assert json.dumps([kind.RED]) == '["red"]'


@BOTH
def test_members_are_listed_in_their_order(kind):
    assert list(kind) == [kind.RED, kind.DARK_BLUE]
    assert len(kind) == 2
    assert kind.RED in frozenset(kind)
    assert list(kind.__members__) == ["RED", "DARK_BLUE"]


@BOTH
def test_a_text_that_is_no_member_is_refused(kind):
    with pytest.raises(ValueError, match=r"'green' is not a valid .*Colour"):
        kind("green")


@BOTH
def test_members_are_matched_by_name(kind):
    match kind("red"):
        case kind.DARK_BLUE:
            pytest.fail("another member")
        case kind.RED:
            pass
        case _:
            pytest.fail("no member")


@pytest.mark.parametrize("suppress", [contextlib.suppress, bare.suppress], ids=["library", "bare"])
def test_only_the_exceptions_named_are_gone_over(suppress):
    with suppress(OSError, ValueError):
        raise FileNotFoundError
    with pytest.raises(KeyError), suppress(OSError):
        raise KeyError
    done = []
    with suppress(OSError):
        done.append(1)
    assert done == [1]


IMPORTS = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import init.light, init.lightjson, init.pid1.main, init.pid1.halves, init.pid1.running
from init.pid1 import network
from init.containers import crun, engine_files, plan, run
print(*sys.modules)
"""


def test_what_they_stand_for_is_not_imported():
    done = subprocess.run([sys.executable, "-ISc", IMPORTS], capture_output=True, text=True, check=True)
    stood_for = {"enum", "collections", "functools", "contextlib", "signal"}
    assert not {*stood_for, "re", "base64", "typing"} & set(done.stdout.split())
