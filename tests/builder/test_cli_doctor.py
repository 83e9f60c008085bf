"""`berth doctor`: one short line and one cure each, and what could not be tried is not `wrong`."""

from __future__ import annotations

import json
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.mirror import FakeDeb, make_key, running_mirror

from builder.cli import doctor as verb
from builder.cli.main import main
from builder.lock.file import read_lock
from builder.recipe import find
from builder.tools.tree import tools_key


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder with an empty store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def doctor(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, dict[str, Any]]:
    """Return what it says, by the check's name; as text it is one line and one cure each."""
    main(["doctor", *words, "--quiet"])
    lines = capsys.readouterr().out.splitlines()
    main(["doctor", *words, "--quiet", "--json"])
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert len(lines) == len(checks) + sum(bool(check["cure"]) for check in checks)
    assert all(check["cure"] for check in checks if check["level"] != "ok"), checks
    assert all(len(check["message"]) < 200 for check in checks), checks
    return {check["name"]: check for check in checks}


def unpacked() -> None:
    """Make a tools tree of which only the folder is there: enough to be found."""
    (Path("build/tools") / tools_key(read_lock(find("tools").with_suffix(".lock")))[:32]).mkdir(parents=True)


def test_offline_with_nothing_there(capsys: pytest.CaptureFixture[str]) -> None:
    said = doctor(capsys, "--offline")
    assert {said[name]["level"] for name in ("mirror", "clock", "accelerator")} == {"warning"}
    assert said["accelerator"]["message"] == "not tried, for QEMU is not unpacked here: no mirror was asked"


@pytest.mark.parametrize("address", ["nonsense", "refuses"])
def test_a_mirror_that_gives_nothing_is_the_mirror_s_finding_alone(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as held:  # bound and not listening: who connects is refused
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        monkeypatch.setenv("BERTH_MIRROR", f"http://127.0.0.1:{port}/debian" if address == "refuses" else address)
        said = doctor(capsys)
        assert said["mirror"]["level"] == "wrong"
        assert said["clock"]["level"] == "warning"
        assert said["clock"]["message"] == "not compared: the mirror gave nothing"
        assert said["accelerator"]["message"] == "not tried, for QEMU is not unpacked here: the mirror gave nothing"
        unpacked()
        said = doctor(capsys)
    assert said["accelerator"]["message"].startswith(("none: ", "KVM: "))


@pytest.mark.parametrize(
    ("days", "words"), [(-400, "400 days ahead of the mirror"), (400, "400 days behind the mirror"), (0, "not behind")]
)
def test_a_clock_that_is_off_is_the_clock_s_finding(
    days: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The mirror's day is moved instead of the clock."""
    key = make_key(tmp_path / "keys")
    open_source = verb.open_source
    monkeypatch.setattr(verb, "open_source", lambda *asked: replace(open_source(*asked), keys=tmp_path / "keys"))
    unpacked()
    with running_mirror() as mirror:
        mirror.publish(key, [FakeDeb("a")], date=time.time() + days * 86400, valid_for=7 * 86400)
        monkeypatch.setenv("BERTH_MIRROR", mirror.base)
        said = doctor(capsys)
    level = "wrong" if days else "ok"
    assert (said["clock"]["level"], said["mirror"]["level"]) == (level, level)
    assert words in said["clock"]["message"]


def test_a_clock_some_hours_behind_what_was_signed_is_wrong() -> None:
    mirror = verb.Finding(name="mirror", level="ok", message="")
    found = verb.check_clock((time.time() + 7200, 0.0), mirror)
    assert (found.level, found.message) == ("wrong", "this clock is at least 2.0 hours behind")
    assert verb.check_clock((time.time() + 60,), mirror).level == "ok"


def test_too_little_space_is_said_with_the_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    said = doctor(capsys, "--offline")
    assert said["space"]["level"] == "wrong"
    assert "1.0 GB free for downloads in " in said["space"]["message"]
    assert "BERTH_CACHE" in said["space"]["cure"]


def test_what_keeps_downloads_small_is_no_cure_for_builds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    downloads = tmp_path / "cache"
    downloads.mkdir()
    monkeypatch.setenv("BERTH_CACHE", str(downloads))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12 if path == downloads else 10**9))
    found = doctor(capsys, "--offline")["space"]
    assert "free for builds in " in found["message"]
    assert "build/steps" in found["cure"]
    assert "cache" not in found["cure"]


def test_a_port_that_is_taken_is_no_more_than_a_warning() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        taken = verb.check_port(port)
    assert (taken.level, taken.name) == ("warning", f"port {port}")
    assert "in use" in taken.message
    assert "--forward" in str(taken.cure)
    assert verb.check_port(port).level == "ok"
