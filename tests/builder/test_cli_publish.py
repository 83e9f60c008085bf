"""The verb `berth publish`: what it takes, and what it says to people and programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.bundles import bundle, numbered
from fakes.repositories import keys

from builder.cli import main as cli


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    keys(tmp_path / "keys")
    for number in (1, 2):
        bundle(tmp_path, numbered(number))
    return tmp_path


def berth(desk: Path, *words: str) -> int:
    try:
        return cli.main(["publish", *words, "--repo", str(desk / "www"), "--keys", str(desk / "keys")])
    except SystemExit as error:
        return int(error.code or 0)


def facts(desk: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert berth(desk, *words, "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["format"] == "berth.publish/1"
    return found


def test_people_are_told_what_is_new_and_what_is_reused(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = str(desk / "v1.bundle"), str(desk / "v2.bundle")
    assert berth(desk, one) == 0
    assert "minimal-amd64/1 on stable: version v1, published" in capsys.readouterr().out
    assert berth(desk, one) == 0
    assert "there already, nothing was done" in capsys.readouterr().out
    assert berth(desk, two, "--channel", "beta") == 0
    assert " new of " in capsys.readouterr().out
    assert berth(desk, "--promote", "minimal-amd64/2", "--to", "stable") == 0
    assert "minimal-amd64/2 on stable: version v2, promoted" in capsys.readouterr().out
    assert berth(desk, "--withdraw", "minimal-amd64/2") == 0
    said = capsys.readouterr()
    assert said.out.count("withdrawn") == 2
    assert "machines that run it stay on it" in said.err
    assert berth(desk, "--refresh", "--keep", "1") == 0
    assert "refreshed" in capsys.readouterr().out
    assert berth(desk, "--withdraw", "minimal-amd64/7") == 2
    assert "there are minimal-amd64/1" in capsys.readouterr().err


def test_programs_are_told_the_same(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = str(desk / "v1.bundle"), str(desk / "v2.bundle")
    first = facts(desk, capsys, one)
    assert (first["did"], first["new"], first["stored"]) == ("published", first["image"], first["image"])
    second = facts(desk, capsys, two)
    assert 0 < second["new"] < second["image"] // 2
    assert [(one["class"], one["channel"], one["sequence"]) for one in second["releases"]] == [
        ("minimal-amd64", "stable", 2)
    ]
    again = facts(desk, capsys, two)
    assert (again["did"], again["stored"], again["releases"]) == ("nothing", 0, second["releases"])
    assert facts(desk, capsys, "--refresh")["did"] == "refreshed"


@pytest.mark.parametrize(
    "words",
    [
        (), ("v1.bundle", "--refresh"), ("--promote", "minimal-amd64/1"), ("--to", "stable"),
        ("--refresh", "--to", "a"),
        ("--promote", "minimal-amd64"), ("--withdraw", "/1"), ("--refresh", "--channel", "beta"), ("absent.bundle",),
        ("--refresh", "--keep", "0"), ("--refresh", "--expires", "page=1"), ("v1.bundle", "--channel", "Über"),
    ],
)  # fmt: skip
def test_wrong_words_are_wrong_usage_and_write_nothing(
    desk: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert berth(desk, *(str(desk / word) if word.endswith(".bundle") else word for word in words)) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list((desk / "www").glob("*/*"))


def test_without_keys_or_releases_it_is_said(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert berth(desk, "--refresh") == 1
    assert "nothing is published here yet" in capsys.readouterr().err
    assert (
        cli.main(["publish", str(desk / "v1.bundle"), "--repo", str(desk / "www"), "--keys", str(desk / "none")]) == 1
    )
    assert "berth keys init" in capsys.readouterr().err
    (desk / "keys/targets.pem").unlink()
    assert berth(desk, str(desk / "v1.bundle")) == 2
    assert "targets.pem" in capsys.readouterr().err
