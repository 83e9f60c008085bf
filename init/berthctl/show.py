"""Showing things to people: tables, sizes, times; colour only on a terminal that wants it."""

from __future__ import annotations

import json
import math
import os
import sys

from init.formats import screen

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_COLOURS = {"good": "32", "bad": "31", "warn": "33", "dim": "2"}
_GOOD = frozenset(("healthy", "running", "ready", "done", "True"))
_BAD = frozenset(("unhealthy", "failed", "degraded", "refused"))
NARROWEST = 40  # columns: no terminal is taken for a narrower one


def has_colour() -> bool:
    """Tell whether colours may be used (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Return the terminal's columns, 80 where there is none or a serial line does not know."""
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns or screen.COLUMNS, NARROWEST)
    except (OSError, ValueError):
        return screen.COLUMNS


def paint(text: str, kind: str) -> str:
    """Return a text in a colour: `good`, `bad`, `warn` or `dim`."""
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if has_colour() else text


def word(text: str) -> str:
    """Return a state's word in its colour."""
    if text in _GOOD:
        return paint(text, "good")
    if text in _BAD:
        return paint(text, "bad")
    return text


def size(count: object) -> str:
    """Return bytes for people, in powers of 1024."""
    if not isinstance(count, int | float) or not math.isfinite(count):
        return "–"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 10 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: object) -> str:
    """Return seconds for people: the two largest units."""
    if not isinstance(seconds, int | float) or not math.isfinite(seconds):
        return "–"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes = rest // 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest % 60} s"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows in columns, as wide as they have to be. Colour comes last: it has no width."""
    widths = [max(screen.columns(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = [paint("  ".join(cell.ljust(width) for cell, width in zip(head, widths, strict=True)).rstrip(), "dim")]
    for row in rows:
        cells = [word(cell) + " " * (width - screen.columns(cell)) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines


def items(value: object) -> list[dict[str, object]]:
    """Return a list of maps from an answer, whatever it holds."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def mapping(value: object) -> dict[str, object]:
    """Return a map from an answer, whatever it holds."""
    return value if isinstance(value, dict) else {}


def texts(value: object) -> list[str]:
    """Return a list of texts from an answer, whatever it holds."""
    return [str(item) for item in value] if isinstance(value, list) else []


def safe(text: str) -> str:
    """Return a text without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() or letter == "\t" else "�" for letter in text)


def skipped(value: dict[str, object]) -> None:
    """Say that lines were lost on the way here."""
    print(paint(f"({value['skipped']} lines were skipped: this terminal is too slow)", "warn"), flush=True)


def as_json(value: dict[str, object]) -> None:
    """Print one object as one line."""
    print(json.dumps(value, ensure_ascii=False), flush=True)
