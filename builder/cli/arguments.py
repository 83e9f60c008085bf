"""Readers of arguments that several verbs share; a wrong one is told as argparse tells it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def number(least: int, most: int) -> Callable[[str], int]:
    """Return a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return int(text)

    return read


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A reader of one of `names`; one of `later` is told to come with a later release."""

    names: tuple[str, ...]
    later: tuple[str, ...] = ()

    def __call__(self, text: str) -> str:
        """Return the name; raise ArgumentTypeError."""
        if text in self.names:
            return text
        there = f"there are {', '.join(self.names)}"
        if text in self.later:
            raise argparse.ArgumentTypeError(f"{text} is not built yet; {there}")
        close = difflib.get_close_matches(text, (*self.names, *self.later), n=1)
        raise argparse.ArgumentTypeError(f"{text!r} is no name; " + (f"did you mean {close[0]}?" if close else there))


def folder(text: str) -> Path:
    """Read a folder's path; an empty text is not the working folder but a variable that was not set."""
    if not text:
        raise argparse.ArgumentTypeError("an empty text is no folder")
    return Path(text)


def add_behind(parser: argparse.ArgumentParser) -> None:
    """Let `--json` and `--quiet` stand here, too: before a verb, behind it, and behind a verb of a verb."""
    for flags, text in (("--json",), "print the result as JSON"), (("--quiet", "-q"), "no progress on standard error"):
        parser.add_argument(*flags, action="store_true", default=argparse.SUPPRESS, help=text)
