"""A boot by counted instructions: QEMU's clock goes one nanosecond an instruction, on one virtual CPU.

Where others use the same computer, seconds tell little; these figures are the same within a per cent. They are the
work that a boot does, not its time: waiting costs nothing, and nothing runs beside anything else.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bench.boots import guest_for
from builder.bench.guest import Watched
from builder.emulate.accelerator import TCG_CPU
from init.formats import events

if TYPE_CHECKING:
    from builder.tools.call import Tools

PATIENCE = 900.0  # seconds: counting makes an emulated guest slower still
_ACCELERATOR = ("-accel", "tcg,thread=single", "-cpu", TCG_CPU)  # counting and many threads exclude each other
_COUNT = ("-icount", "shift=0,sleep=off")


def counted(image: Path, tools: Tools) -> dict[str, float]:
    """Return by event how many billion instructions the kernel's clock had seen. Raises GuestFailed."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        guest = guest_for(image, tools, Path(name))
        guest = replace(guest, accelerator=_ACCELERATOR, cpus=1, extra=(*guest.extra, *_COUNT))
        with Watched(guest, tools) as watched:
            healthy = events.CONTAINER_HEALTHY
            watched.until(lambda: healthy in watched.marks, timeout=PATIENCE, what=healthy)
            return {event: mark.kernel for event, mark in watched.marks.items() if mark.kernel is not None}
