"""Every class of the error family can be explained."""

from __future__ import annotations

from builder.cli import explain


def test_every_code_has_a_text_and_every_text_a_code() -> None:
    assert set(explain._MORE) == set(explain.all_codes())
