"""Zone names are looked for among the zones that there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from init.dialects.diagnostic import Diagnostic, Place, Report, Severity
from init.dialects.position import Scalar
from init.dialects.shape import INVALID
from init.dialects.zones import timezone, zones

NAMES = ("Europe/Berlin", "Europe/Berne", "America/Argentina/Ushuaia", "UTC", "Etc/GMT+1")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for name in (*NAMES, "right/Europe/Berlin", "posix/UTC"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"TZif2")
    (tmp_path / "zone.tab").write_text("# no zone\n")
    return str(tmp_path)


def read(folder: str, name: str) -> tuple[object, tuple[Diagnostic, ...]]:
    report = Report()
    return timezone(folder).read(Scalar(name, Place("f", 3, 11)), "timezone", report), report.all()


def test_the_zones_are_those_that_have_files(folder: str) -> None:
    assert sorted(zones(folder)) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_zone_that_is_there_needs_no_word(folder: str, name: str) -> None:
    assert read(folder, name) == (name, ())


@pytest.mark.parametrize(("name", "meant"), [("Europe/Berln", "Europe/Berlin"), ("Europe", None), ("zone", None)])
def test_another_is_told_with_the_nearest_and_taken(folder: str, name: str, meant: str | None) -> None:
    value, [found] = read(folder, name)
    assert value == name, "its image may have it; else the machine's clock shows UTC, and that is said"
    assert (found.severity, found.place.line, found.code) == (Severity.WARNING, 3, "value")
    assert folder in found.message
    assert "UTC" in found.message
    if meant:
        assert found.hint == f"did you mean `{meant}`?"


def test_where_there_are_no_zones_nothing_is_said_of_names(tmp_path: Path) -> None:
    assert read(str(tmp_path / "none"), "Europe/Berln") == ("Europe/Berln", ())


def test_what_can_be_no_name_is_an_error(folder: str) -> None:
    value, [found] = read(folder, "../../etc/shadow")
    assert (value, found.severity) == (INVALID, Severity.ERROR)
