"""The two faults of the emulator after which a guest may be started once more.

Both are of QEMU's multi-threaded emulation, and come with two or more virtual processors. A guest dies early in about 1
of 100 boots with `Oops: int3 … sched_clock_tick`: text patching seen half done. QEMU itself aborts, on a busy computer,
where one processor reads a device while another changes the map of memory: `iotlb_to_section: Assertion …`. On exactly
these texts tests, the bench and an unattended `berth run` start a machine once more, and tell it; on nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

TOLD = "a guest died of the emulator's fault (int3 in sched_clock_tick, or iotlb_to_section): started once more"
_PLACE = "sched_clock_tick"
_TEXT = re.compile(rf"Oops: int3\b(?s:.*){_PLACE}")
_ABORT = "iotlb_to_section: Assertion `section_index < d->map.sections_nb' failed."


def died_of_it(told: Iterable[str]) -> bool:
    """Tell by the lines of its console, and by QEMU's own, whether a guest died of one of them."""
    lines = list(told)
    if any(line.endswith(_ABORT) for line in lines):
        return True
    return any(_PLACE in line for line in lines) and _TEXT.search("\n".join(lines)) is not None
