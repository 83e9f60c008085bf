"""Every class of the error family can be explained."""

from __future__ import annotations

from builder.cli import explain
from builder.errors import VerificationError
from builder.fetch.store import BlobDamaged


def test_every_code_has_a_text_and_every_text_a_code() -> None:
    assert set(explain._MORE) == set(explain.all_codes())


def test_a_code_is_explained_by_the_class_that_has_it() -> None:
    assert all("code" in family.__dict__ for family in explain.all_codes().values())
    assert explain.all_codes()["verification"] is VerificationError
    assert issubclass(BlobDamaged, VerificationError)  # the subclass that has no code of its own
