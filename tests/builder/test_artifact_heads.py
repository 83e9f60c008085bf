"""A file that only begins like an image is none; what is checked is what its own head says of itself."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from fakes import heads

from builder.artifact.heads import check_heads
from builder.errors import InputError


@pytest.mark.parametrize("make", [heads.iso, heads.raw, heads.qcow2])
def test_the_least_that_is_one_passes(make: Callable[[], bytes]) -> None:
    file = io.BytesIO(make())
    check_heads(file)
    assert file.tell() == 0


def test_what_begins_like_nothing_is_not_judged() -> None:
    check_heads(io.BytesIO(b"#!/bin/sh\n"))
    check_heads(io.BytesIO())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(0x8000) + b"\1CD001\1", "ends within"),
        (bytes(0x8000) + b"\1CD001\1" + bytes(4000), "makes no sense"),
        (heads.iso()[:0x8000] + b"\2" + heads.iso()[0x8001:], "makes no sense"),
        (b"QFI\xfb\0\0\0\3", "ends within"),
        (b"QFI\xfb\0\0\0\3" + b"\xff" * 2000, "makes no sense"),
        (bytes(512) + b"EFI PART" + bytes(1 << 20), "no sound backup"),
        (heads.raw()[:1024] + b"x" + heads.raw()[1025:-600] + bytes(600), "no sound backup"),
    ],
)
def test_a_head_alone_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_heads(io.BytesIO(data))
    assert caught.value.hint is not None


def test_a_disk_whose_first_table_is_damaged_and_whose_backup_is_sound_is_one() -> None:
    data = heads.raw()
    check_heads(io.BytesIO(data[:600] + b"\xff" + data[601:]))
