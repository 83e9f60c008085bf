"""The outermost net of both halves: what nothing else caught ends here.

It is said on the console, its reason is written beside the boot record, and the machine is rebooted, for a PID 1 that
ends is a kernel that panics.
"""

from __future__ import annotations

from init.pid1 import apart
from init.pid1.record import BootRecord

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.earlyresult import EarlyResult
    from init.pid1.system import System

RECORD_BOUND = 5.0  # seconds
PAUSE = 10.0  # seconds between a fault of PID 1 and the reboot, so that people can read what it was


def last_words(system: System, result: EarlyResult, record: BootRecord | None, text: str) -> None:
    """Say what ended PID 1, and leave it for the next boot. Each part is tried: the reboot matters more.

    What a disk that never answers would hold is done in a child with a bound.
    """
    line = f"\r\nberth: PID 1 failed: {text}\r\nberth: reboot in {PAUSE:g} s\r\n".encode("utf-8", "replace")
    dog = result.watchdog
    parts: list[Callable[[], object]] = [lambda: system.write_to(2, line)]
    if result.record:
        known = record if record is not None else BootRecord(system, result.record, result.slot, "")
        parts.append(lambda: apart.within(system, RECORD_BOUND, lambda: _enter(known, text)))
    if dog is not None:
        parts.append(lambda: system.feed_watchdog(dog))
    parts += [lambda: system.wait_readable((), PAUSE), system.sync]
    for part in parts:
        try:
            part()
        except (OSError, ValueError):
            continue


def _enter(record: BootRecord, text: str) -> bytes:
    record.enter("containers", reason="init-exception", detail=text)
    return b"done"


def end(system: System, how: str) -> None:
    """Power off or halt where rescue was told so, else reboot; for ever, if the kernel refuses."""
    if how not in ("reboot", "poweroff", "halt"):
        how = "reboot"
    for _ in range(1_000_000):
        try:
            system.power(how)
            return  # only a fake comes back
        except OSError:
            system.wait_readable((), 1.0)
