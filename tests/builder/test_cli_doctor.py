"""`berth doctor`: one short line and one cure each, and what could not be tried is not `wrong`."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

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
