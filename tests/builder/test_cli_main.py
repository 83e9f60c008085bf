"""The command line's manners: statuses, streams, and no traceback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from builder.cli import main as cli

ROOT = Path(__file__).resolve().parent.parent.parent


def berth(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "builder.cli.main", *words], capture_output=True, text=True, check=False,
        cwd=cwd or ROOT, env={"PYTHONPATH": str(ROOT), "HOME": "/nonexistent", "PATH": ""},
    )  # fmt: skip


def test_without_a_verb_help_is_printed_and_the_status_is_2() -> None:
    done = berth()
    assert done.returncode == 2
    assert "build" in done.stdout


def test_an_unknown_verb_is_wrong_usage() -> None:
    done = berth("biuld")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "invalid choice: 'biuld'" in done.stderr


@pytest.mark.parametrize("verb", [name for name, _ in cli.VERBS])
def test_each_verb_has_help_with_examples(verb: str) -> None:
    done = berth(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert "examples:\n  berth " in done.stdout


def test_a_failure_as_json_is_one_object_on_standard_output() -> None:
    done = berth("explain", "--json", "nonsense")
    assert done.returncode == 2
    fact = json.loads(done.stdout)
    assert fact["format"] == "berth.error/1"
    assert fact["code"] == "usage"
    assert fact["hint"]
