"""What can be learnt of a guest that says nothing: where its processors are, and what its kernel has logged.

A kernel that is told to be `quiet` logs all the same, into a ring in its memory, and QEMU hands that memory out. Linux'
ring of records (`kernel/printk/printk_ringbuffer.h`, since 5.10) holds texts one behind the other, each behind its
number of 8 bytes, little-endian and aligned to 8, which grows by one from record to record.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from builder.errors import ToolError

if TYPE_CHECKING:
    from typing import Any

SHOWN = 12  # of the kernel's lines
_FIRST = b"Linux version "  # what every kernel's first record begins with
_NUMBER = 8  # bytes
_LONGEST = 1024 + 2 * _NUMBER  # bytes of a record: PRINTK_MESSAGE_MAX's text is cut before
_CONTIGUOUS = 2048  # MiB; what a q35 machine has more of may lie above 4 GiB
_PROCESSOR = re.compile(r"CPU#(\d+)|\bRIP=([0-9a-f]+)|\b(CPL=\d)|\b(HLT=\d)")


class Guest(Protocol):
    """What of a session is needed here."""

    def ask(self, command: str, **values: object) -> Any:
        """Run a command of QEMU's control protocol; raise ToolError."""


def last_words(guest: Guest, memory: int) -> list[str]:
    """Return lines about a guest with `memory` MiB that runs; what QEMU does not tell is left out."""
    try:
        registers = str(guest.ask("human-monitor-command", command_line="info registers -a"))
        lines = [f"processors: {processors(registers)}"]
        with tempfile.TemporaryDirectory(prefix="berth-silent-") as folder:
            path = Path(folder) / "memory"
            guest.ask("pmemsave", val=0, size=min(memory, _CONTIGUOUS) << 20, filename=str(path))
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                logged = kernel_log(whole)
    except (ToolError, OSError, ValueError) as error:
        return [f"QEMU tells no more of it: {error}"]
    if not logged:
        return [*lines, "its memory holds no kernel's log"]
    return [*lines, f"the last of {len(logged)} lines that its kernel has logged:", *logged[-SHOWN:]]


def processors(registers: str) -> str:
    """Return of `info registers -a` where each processor is, in which ring, and whether it is halted. Pure."""
    words = []
    for found in _PROCESSOR.finditer(registers):
        number, place, *rest = found.groups()
        words.append(f"#{number}" if number is not None else place or "".join(word or "" for word in rest))
    return " ".join(words) or "none"


def kernel_log(memory: bytes | mmap.mmap) -> list[str]:
    """Return the records of the kernel's log that lies in a guest's memory, oldest first; none where there is none.

    The first record's text lies in other places as well; the log is where other records follow it. Pure.
    """
    best: list[str] = []
    at = memory.find(_FIRST)
    while at >= 0:
        if at % _NUMBER == 0 and at >= _NUMBER:
            found = _records(memory, at)
            best = max(best, found, key=len)
        at = memory.find(_FIRST, at + 1)
    return best


def _records(memory: bytes | mmap.mmap, at: int) -> list[str]:
    """Return the texts from the record on whose text begins at `at`."""
    number = int.from_bytes(memory[at - _NUMBER : at], "little")
    found = []
    while True:
        number = (number + 1) % (1 << 64)
        following = _aligned(memory, number.to_bytes(_NUMBER, "little"), at)
        end = at + _LONGEST if following is None else following
        found.append(_text(memory[at:end].partition(b"\0")[0]))
        if following is None:
            return found
        at = following + _NUMBER


def _text(data: bytes) -> str:
    """Return a record's text. Its length stands elsewhere, so what is left behind it in its place is told by its form.

    `printk` (kernel/printk/printk.c, printk_sprint) cuts off the line's end, and moves the text over the two bytes of
    its level: the last two letters stand there twice.
    """
    text = data.decode("utf-8", "replace").removesuffix("\n")
    return text[:-2] if text[-2:] == text[-4:-2] else text


def _aligned(memory: bytes | mmap.mmap, wanted: bytes, start: int) -> int | None:
    at = memory.find(wanted, start, start + _LONGEST)
    while at >= 0 and at % _NUMBER:
        at = memory.find(wanted, at + 1, start + _LONGEST)
    return at if at >= 0 else None
