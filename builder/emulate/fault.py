"""The one fault of the emulator after which a guest may be started once more.

A guest with two or more virtual processors dies early in about 1 of 100 boots with `Oops: int3 … sched_clock_tick`:
text patching seen half done, a fault of QEMU's multi-threaded emulation. On exactly that text, tests and the bench
start a machine once more, and tell it; on nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TOLD = "a guest died of the emulator's known fault (int3 in sched_clock_tick) and was started once more"
_PLACE = "sched_clock_tick"
_TEXT = re.compile(rf"Oops: int3\b(?s:.*){_PLACE}")


def died_of_it(console: Iterable[str]) -> bool:
    """Tell by the lines of its console whether a guest died of it."""
    lines = list(console)
    return any(_PLACE in line for line in lines) and _TEXT.search("\n".join(lines)) is not None
