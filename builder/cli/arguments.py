"""Readers of arguments that several verbs share; a wrong one is told as argparse tells it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


def folder(text: str) -> Path:
    """Read a folder's path; an empty text is not the working folder but a variable that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text is no folder")
    return Path(text)
