"""What `berthctl` is told: the small rules behind it."""

from __future__ import annotations

import pytest

from init.pid1 import answers


@pytest.mark.parametrize(("booted", "told"), [("iso", "iso"), ("disk", "disk"), ("direct", "disk")])
def test_there_are_two_media(booted: str, told: str) -> None:
    assert answers.medium(booted) == told
