from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from init.formats.offer import LARGEST, Image, Offer, channel_target, release_target

OFFER = Offer(
    machine_class="podman-amd64",
    channel="stable",
    sequence=7,
    version="20261125.0400-0a1b2c3d",
    loader=1,
    epoch=1_790_000_000,
    published=1_790_000_500,
    boot=Image(size=20480, sha256="aa" * 32, index_size=100, index_sha256="bb" * 32),
    root=Image(size=409600, sha256="cc" * 32, index_size=200, index_sha256="dd" * 32),
    root_hash="ee" * 32,
    hash_offset=40960,
)


def changed(**changes: Any) -> bytes:
    return json.dumps(json.loads(OFFER.to_json()) | changes).encode()


def test_an_offer_reads_back_as_it_was() -> None:
    assert Offer.from_json(OFFER.to_json()) == OFFER
    assert replace(OFFER, sequence=8, version="2").slot_hash == OFFER.slot_hash


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"format": "berth.offer/2"}, "newer"),
        ({"machine_class": "../x"}, "class"),
        ({"channel": ".hidden"}, "channel"),
        ({"channel": "a/b"}, "channel"),
        ({"channel": "stable\n"}, "channel"),
        ({"version": "1 2\x1b[2J"}, "version"),
        ({"sequence": 0}, "bounds"),
        ({"sequence": True}, "sequence"),
        ({"sequence": 1.5}, "sequence"),
        ({"sequence": 1 << 60}, "bounds"),
        ({"sequence": float("nan")}, "sequence"),
        ({"epoch": -1}, "time"),
        ({"root_hash": "EE" * 32}, "hash"),
        ({"hash_offset": 409600}, "hash_offset"),
        ({"hash_offset": 4097}, "hash_offset"),
        ({"boot": {"size": 1}}, "boot"),
        ({"boot": None}, "boot"),
        ({"more": 1}, "more"),
    ],
)
def test_what_is_no_offer_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Offer.from_json(changed(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"7", b"[" * 60_000, b"\xff", b"9" * 6000, b" " * (LARGEST + 1)])
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Offer.from_json(data)


def test_targets_have_paths() -> None:
    assert channel_target("podman-amd64", "stable") == "podman-amd64/stable.json"
    assert release_target("podman-amd64", "stable", 7) == "podman-amd64/stable/7.json"
    with pytest.raises(ValueError, match="channel"):
        channel_target("podman-amd64", "..")
