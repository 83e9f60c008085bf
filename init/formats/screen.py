"""Text on a screen of 24 lines of 80 columns: how wide it is, cut, and folded. For the console and for `berthctl`."""

from __future__ import annotations

LINES = 24
COLUMNS = 80
MORE = "…"
# Blocks in which letters take two columns (Unicode, EastAsianWidth.txt); whole blocks, so that no release of Unicode
# makes a text wider than what is said here.
_WIDE = (
    (0x1100, 0x115F), (0x2300, 0x23FF), (0x25FD, 0x27FF), (0x2B00, 0x2BFF), (0x2E80, 0xA4CF), (0xA960, 0xA97F),
    (0xAC00, 0xD7FF), (0xF900, 0xFAFF), (0xFE10, 0xFE6F), (0xFF00, 0xFFEF), (0x16FE0, 0x10FFFF),
)  # fmt: skip


def safe(text: str) -> str:
    """Return a text as one line, without what a terminal would take for a command."""
    return "".join(letter if letter.isprintable() else " " if letter in "\t\n" else "�" for letter in text)


def columns(text: str) -> int:
    """Return how many columns a printable text takes at most."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, width: int) -> str:
    """Return a text in at most `width` columns, one at least; what is cut off is said by `…`."""
    if columns(text) <= width:
        return text
    kept, _ = _split(text, width - 1)
    return kept.rstrip() + MORE


def fold(text: str, width: int, most: int) -> list[str]:
    """Return a text as at most `most` lines of `width` columns (two at least), broken at blanks where it can be."""
    lines: list[str] = []
    rest = text.strip()
    while columns(rest) > width and len(lines) < most - 1:
        line, after = _split(rest, width)
        blank = len(line) if after.startswith(" ") else line.rfind(" ")
        if blank > 0:
            line = rest[:blank]
        lines.append(line.rstrip())
        rest = rest[len(line) :].lstrip()
    return [*lines, cut(rest, width)]


def _width(letter: str) -> int:
    number = ord(letter)
    return 2 if any(first <= number <= last for first, last in _WIDE) else 1


def _split(text: str, width: int) -> tuple[str, str]:
    """Return the letters that fit into `width` columns, and the rest."""
    taken = 0
    for number, letter in enumerate(text):
        taken += _width(letter)
        if taken > width:
            return text[:number], text[number:]
    return text, ""
