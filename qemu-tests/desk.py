"""What a person has who sits at a machine: its screen and its keyboard, as QEMU plays them.

A screen is read without any font: the same text stands on the serial line, so a line is on the screen when its cells
differ and agree exactly where its letters do, with one glyph for each letter over the whole page.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from machine import PATIENCE, Machine

CELLS = ((8, 16), (9, 16))  # pixels of a letter: on a frame buffer, and in VGA's text mode
Row = tuple[bytes, ...]


def press(machine: Machine, *names: str) -> None:
    """Press keys together (QEMU's names for them), and let them go; QEMU does one after the other, by its own clock."""
    machine.session.ask("send-key", keys=[{"type": "qcode", "data": name} for name in names], hold_time=100)


def type_line(machine: Machine, letters: str) -> None:
    """Type small letters, and the return key."""
    for letter in letters:
        press(machine, letter)
    press(machine, "ret")


def pixels(ppm: bytes) -> tuple[int, int, bytes]:
    """Return width, height and three bytes for each pixel of a picture in the form `P6` (netpbm)."""
    kind, width, height, most, data = ppm.split(None, 4) if ppm[:2] == b"P6" else (b"", b"0", b"0", b"", b"")
    assert (kind, most) == (b"P6", b"255"), ppm[:20]
    size = int(width) * int(height) * 3
    return int(width), int(height), ppm[len(ppm) - size :] if len(data) != size else data


def grid(ppm: bytes, cell: tuple[int, int]) -> list[Row]:
    """Cut a picture into the cells of a text screen."""
    width, height, data = pixels(ppm)
    wide, high = cell
    lines = [data[at : at + width * 3] for at in range(0, len(data), width * 3)]
    return [
        tuple(
            b"".join(line[column * 3 : (column + wide) * 3] for line in lines[row : row + high])
            for column in range(0, width - wide + 1, wide)
        )
        for row in range(0, height - high + 1, high)
    ]


def stands_at(rows: Sequence[Row], text: Sequence[str]) -> bool:
    """Tell whether these rows show these lines: one glyph for each letter, one letter for each glyph, blanks after."""
    glyphs: dict[str, bytes] = {}
    letters: dict[bytes, str] = {}
    for row, line in zip(rows, text, strict=True):
        for glyph, letter in zip(row, line.ljust(len(row)), strict=False):
            if glyphs.setdefault(letter, glyph) != glyph or letters.setdefault(glyph, letter) != letter:
                return False
    return True


def shows(ppm: bytes, text: Sequence[str]) -> bool:
    """Tell whether a picture shows these lines, one below the other, as text."""
    return any(
        stands_at(rows[at : at + len(text)], text)
        for rows in (grid(ppm, cell) for cell in CELLS)
        for at in range(len(rows) - len(text) + 1)
    )


def picture(machine: Machine) -> bytes:
    """Return what the screen shows now."""
    path: Path = machine.folder / "screen.ppm"
    machine.session.ask("screendump", filename=str(path))
    return path.read_bytes()


def wait_until_shown(machine: Machine, text: Sequence[str], *, timeout: float = PATIENCE) -> None:
    """Wait until the screen shows these lines."""
    deadline = time.monotonic() + timeout
    while not shows(picture(machine), text):
        if time.monotonic() > deadline:
            raise AssertionError(machine.explain(f"the screen does not show {text}"))
        machine.hear()
        time.sleep(0.5)


def status_page(machine: Machine) -> list[str]:
    """Return the status page as it came over the serial line, with a healthy container in its last line."""
    machine.wait_for_line(": healthy")
    end = next(number for number, line in enumerate(machine.console) if ": healthy" in line)
    begin = max(number for number, line in enumerate(machine.console[:end]) if line.startswith("  Berth "))
    return machine.console[begin : end + 1]
