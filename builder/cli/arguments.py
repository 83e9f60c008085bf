"""Readers of arguments that several verbs share; a wrong one is told as argparse tells it."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read
