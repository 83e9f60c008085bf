"""Every class of the error family can be explained, and every finding of `berth check`."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

import init.dialects
from builder.cli import explain
from builder.cli.main import main
from builder.errors import VerificationError
from builder.fetch.store import BlobDamaged


def test_every_code_has_a_text_and_every_text_a_code() -> None:
    assert set(explain._MORE) == set(explain.all_codes())


def test_a_code_is_explained_by_the_class_that_has_it() -> None:
    assert all("code" in family.__dict__ for family in explain.all_codes().values())
    assert explain.all_codes()["verification"] is VerificationError
    assert issubclass(BlobDamaged, VerificationError)  # the subclass that has no code of its own


def codes_of_findings() -> set[str]:
    """Return the words that the dialects give as a finding's code, by keyword or as the third of `_unreadable`."""
    found = set()
    for path in (*Path(init.dialects.__path__[0]).glob("*.py"), Path("builder/cli/check.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            given = [each.value for each in node.keywords if each.arg == "code"]
            if isinstance(node.func, ast.Name) and node.func.id == "_unreadable":
                given.append(node.args[2])
            found |= {each.value for each in given if isinstance(each, ast.Constant)}
    return found


def test_every_finding_has_a_text() -> None:
    assert len(codes_of_findings()) > 15
    # `invalid` and `note` are what a finding without a code of its own has
    assert set(explain.FINDINGS) == codes_of_findings() | {"invalid", "note"}
    assert not set(explain.FINDINGS) & set(explain.all_codes())


def test_a_finding_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "unknown-key"]) == 0
    assert "berth schema cloud-init" in capsys.readouterr().out
    assert main(["explain", "--json", "unknown-key"]) == 0
    assert json.loads(capsys.readouterr().out)["codes"]["unknown-key"]["text"]


def test_a_code_that_is_misspelt_gets_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "unknown-keys"]) == 2
    assert "near it are: unknown-key" in capsys.readouterr().err
