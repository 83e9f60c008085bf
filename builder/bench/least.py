"""The smallest memory with which a machine still reaches its container, found by halving."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bench.boots import ON_CONSOLE, floor_boot, guest_for
from builder.bench.guest import EmulatorFailed, Watched, once_more
from builder.errors import GuestFailed
from init.formats import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from builder.tools.call import Tools

STEP = 8  # MB
WAIT = 90.0  # seconds on a quiet computer; a machine that is short of memory may go on for ever
QUIET = 2.0  # seconds of a floor boot there: what it takes longer, the machine may, too


def search(works: Callable[[int], bool], *, low: int, high: int, step: int = STEP) -> int | None:
    """Return the least multiple of `step` within [low, high] that works, None where not even `high` does.

    All values are in MB. It is taken for granted that what works with some memory works with more.
    """
    if not works(high):
        return None
    lowest, highest = low // step, high // step
    while lowest < highest:
        half = (lowest + highest) // 2
        if works(half * step):
            highest = half
        else:
            lowest = half + 1
    return highest * step


@once_more
def reaches(image: Path, tools: Tools, memory: int) -> bool:
    """Tell whether the container becomes healthy with `memory` MB."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        ground = floor_boot(guest_for(image, tools, Path(name)), tools, Path(name))
        wait = WAIT * max(1.0, ground.wall / QUIET)
        guest = guest_for(image, tools, Path(name), memory=memory, cmdline=(ON_CONSOLE,))
        with Watched(guest, tools, channel=False) as watched:
            healthy = events.CONTAINER_HEALTHY
            try:
                watched.until(
                    lambda: healthy in watched.marks or watched.has_line("Kernel panic"), timeout=wait, what=healthy
                )
            except EmulatorFailed:
                raise
            except GuestFailed:
                return False
            return healthy in watched.marks
