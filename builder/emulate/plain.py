"""A console's line as plain text: firmware and GRUB draw with commands for a terminal, which garble a log."""

from __future__ import annotations

import re

# ECMA-48: control sequences (ESC [ … final), character sets (ESC ( X), other two-letter ones
_COMMANDS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[()][0-9A-Za-z]|[@-Z\\-_=>])")


def plain(line: str) -> str:
    """Return what is to be read of a line; empty where it only draws."""
    text = _COMMANDS.sub(" ", line)
    return "".join(letter if letter.isprintable() or letter == "\t" else "" for letter in text).strip()
