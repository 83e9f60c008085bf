"""`berthctl update status --wait` and `status --wait`: how they wait for PID 1, and end."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.answering import Answer, Answering

from init.berthctl import main, talk, update


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talk, "PAUSE", 0.0)


def ask(tmp_path: Path, words: list[str], answers: list[Answer]) -> tuple[int, Answering]:
    answering = Answering(tmp_path / "control", answers)
    try:
        return main.main([*words, "--socket", answering.path]), answering
    finally:
        answering.close()


@pytest.mark.parametrize(
    ("end", "expected"), [("good", 0), ("none", 0), ("current", 0), ("returned", 1), ("refused", 1), ("failed", 1)]
)
def test_an_updates_end_is_waited_for(
    tmp_path: Path, end: str, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also while PID 1 gives no answer."""
    answers = [{"state": "downloading"}, {"state": "switched"}, None, {"state": end, "version": "2", "reason": "why"}]
    found, answering = ask(tmp_path, ["update", "status", "--wait"], answers)
    assert found == expected
    assert len(answering.asked) == len(answers)
    assert update.sentence(answers[-1] or {}) in capsys.readouterr().out


def test_who_waits_is_told_once_for_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    switched = {"state": "switched", "version": "2"}
    ask(tmp_path, ["update", "status", "--wait"], [switched, switched, None, {"state": "good", "version": "2"}])
    assert capsys.readouterr().err == f"{update.sentence(switched)}\n"
    (tmp_path / "control").unlink()
    pending: Answer = {"health": {"state": "pending", "reasons": ["web is not healthy yet"]}}
    ask(tmp_path, ["status", "--wait"], [pending, pending, {"health": {"state": "healthy"}}])
    assert capsys.readouterr().err == "pending: web is not healthy yet\n"
    (tmp_path / "control").unlink()
    ask(tmp_path, ["status", "--wait", "--json"], [pending, {"health": {"state": "healthy"}}])
    assert capsys.readouterr().err == ""


def test_without_wait_it_is_only_told(tmp_path: Path) -> None:
    assert ask(tmp_path, ["update", "status"], [{"state": "returned", "version": "2"}])[0] == 0


def test_wait_goes_with_status_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask(tmp_path, ["update", "apply", "--wait"], [])[0] == 2
    assert "update status --wait" in capsys.readouterr().err


@pytest.mark.parametrize(("end", "expected"), [("healthy", 0), ("degraded", 1)])
def test_a_machines_health_is_waited_for(tmp_path: Path, end: str, expected: int) -> None:
    answers: list[Answer] = [{"health": {"state": state}} for state in ("pending", "pending", end)]
    found, answering = ask(tmp_path, ["status", "--wait", "--json"], answers)
    assert found == expected
    assert len(answering.asked) == len(answers)
