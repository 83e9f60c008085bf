"""Decide from a guest's reports when it has done what was waited for: a value and its next value, no I/O.

booting ──the event──▶ stopping ──shutdown.clean──▶ stopped
   │ panic, end, deadline │ the same
   └──────────────────────┴──▶ failed (with the cause)
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from init.formats.events import INIT_STARTED, SHUTDOWN_CLEAN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from builder.emulate.options import Until

PANIC = "Kernel panic - not syncing"


class Phase(enum.Enum):
    """Where the wait stands."""

    BOOTING = "booting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """The wait for `until` (None: for the guest's own end). `cause` says why it failed."""

    until: Until | None
    phase: Phase = Phase.BOOTING
    clean: bool = False
    cause: str = ""

    def on_event(self, event: Mapping[str, Any]) -> Watch:
        """Take an event in."""
        if event["event"] == SHUTDOWN_CLEAN:
            # Without `until` it may be a reboot as well, of a machine that updates itself: only QEMU's end is one.
            seen = self.until is not None and matches(self.until, event)
            return replace(self, phase=Phase.STOPPING if seen else self.phase, clean=True)
        if event["event"] == INIT_STARTED:
            return replace(self, clean=False)
        if self.phase is Phase.BOOTING and self.until is not None and matches(self.until, event):
            return replace(self, phase=Phase.STOPPING)
        return self

    def on_line(self, line: str) -> Watch:
        """Take a line of the console in."""
        if PANIC in line and self.until is not None and not self.over:
            return self._fail("the guest's kernel panicked: " + line.partition(PANIC)[2].strip(" :"))
        return self

    def on_end(self, status: int) -> Watch:
        """Take QEMU's end in."""
        if self.over:
            return self
        if status != 0:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            return self._fail(f"QEMU {how}")
        if self.until is None:
            return replace(self, phase=Phase.STOPPED)
        if self.phase is Phase.BOOTING:
            return self._fail(f"the guest switched itself off before {describe(self.until)} came")
        if not self.clean:
            return self._fail(f"{describe(self.until)} came, but the guest went off without {SHUTDOWN_CLEAN}")
        return replace(self, phase=Phase.STOPPED)

    def on_deadline(self, seconds: float) -> Watch:
        """Take in that the time is up."""
        if self.over:
            return self
        if self.phase is Phase.STOPPING:
            return self._fail(f"the guest did not go off within {seconds:.0f} s")
        what = describe(self.until) if self.until else "the guest's end"
        return self._fail(f"{what} did not come within {seconds:.0f} s")

    @property
    def over(self) -> bool:
        """Whether nothing more is waited for."""
        return self.phase in (Phase.STOPPED, Phase.FAILED)

    def _fail(self, cause: str) -> Watch:
        return replace(self, phase=Phase.FAILED, cause=cause)


def matches(until: Until, event: Mapping[str, Any]) -> bool:
    """Return whether an event is the one that is waited for."""
    return event["event"] == until.event and (until.name is None or event.get("name") == until.name)


def describe(until: Until) -> str:
    """Return how a person wrote it."""
    return until.event + (f":{until.name}" if until.name is not None else "")
