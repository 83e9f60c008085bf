"""Debian's order of versions, as deb-version(7) defines it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

Operator = Literal["<<", "<=", "=", ">=", ">>"]

_PIECE = re.compile(r"([^0-9]*)([0-9]*)")
_END = ((0,),)  # sorts after `~` and before every other character


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _part(text: str) -> tuple[object, ...]:
    pieces: list[object] = []
    for match in _PIECE.finditer(text):
        if not match.group():
            continue
        pieces.append((*map(_weight, match[1]), 0))
        pieces.append(int(match[2] or 0))
    return (*pieces, *_END)


@lru_cache(maxsize=65536)
def order(version: str) -> tuple[object, ...]:
    """Return a key by which versions sort as `dpkg --compare-versions` does."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, "0"
    return (int(epoch) if epoch.isdigit() else 0, _part(upstream), _part(revision or "0"))


def satisfies(version: str, operator: Operator, wanted: str) -> bool:
    """Tell whether `version` stands in the relation `operator` to `wanted`."""
    mine, other = order(version), order(wanted)
    match operator:
        case "<<":
            return mine < other
        case "<=":
            return mine <= other
        case "=":
            return mine == other
        case ">=":
            return mine >= other
        case ">>":
            return mine > other
