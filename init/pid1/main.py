"""PID 1: the early half, then the running half; rescue where there is no root.

This is the outermost net. What the early half and the loop did not catch ends here: it is said on the console, its
reason is written beside the boot record, and the machine is rebooted, for a PID 1 that ends is a kernel that panics.
"""

from __future__ import annotations

import init.light  # noqa: F401 - first: whatever is imported from here on makes its values the light way

# isort: split
from init.pid1 import early, rescue
from init.pid1.conductor import Conductor
from init.pid1.events import Announcer
from init.pid1.linux.kernel import Kernel
from init.pid1.record import BootRecord

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.early import EarlyResult
    from init.pid1.system import System

PAUSE = 10.0  # seconds between a fault of PID 1 and the reboot, so that people can read what it was


def main() -> int:
    """Run as PID 1. Never returns on a real machine."""
    kernel = Kernel()
    announcer = Announcer(kernel)
    run(kernel, announcer)
    return 0


def run(system: System, announcer: Announcer) -> None:
    """Boot, and go on until the machine is off."""
    result = early.EarlyResult(outcome="reboot", reason="PID 1 did not begin")
    conductor: Conductor | None = None
    try:
        result = early.run(system, announcer)
        announcer.learn_boot_id()
        announcer.open_port()
        if result.outcome == "rescue":
            result = rescue.serve(system, announcer, result)
        if result.outcome == "root":
            conductor = Conductor(system, result, announcer)
            conductor.begin()
            conductor.run()
            return
    except BaseException as error:  # the outermost net: what a handler can raise, the loop's own net caught
        _last_words(system, result, conductor, f"{type(error).__name__}: {error}")
    announcer.flush()
    _end(system, result)


def _last_words(system: System, result: EarlyResult, conductor: Conductor | None, text: str) -> None:
    """Say what ended PID 1, and leave it for the next boot. Each part is tried: the reboot matters more."""
    line = f"\r\nberth: PID 1 failed: {text}\r\nberth: reboot in {PAUSE:g} s\r\n".encode("utf-8", "replace")
    dog = result.watchdog
    parts: list[Callable[[], object]] = [lambda: system.write_to(2, line)]
    if result.record:
        record = conductor.record if conductor is not None else BootRecord(system, result.record, result.slot, "")
        parts.append(lambda: record.enter("containers", reason="init-exception", detail=text))
    if dog is not None:
        parts.append(lambda: system.feed_watchdog(dog))
    parts += [lambda: system.wait_readable((), PAUSE), system.sync]
    for part in parts:
        try:
            part()
        except (OSError, ValueError):
            continue


def _end(system: System, result: EarlyResult) -> None:
    """Reboot, or power off where rescue was told so; for ever, if the kernel refuses."""
    how = result.outcome if result.outcome in ("reboot", "poweroff", "halt") else "reboot"
    for _ in range(1_000_000):
        try:
            system.power(how)
            return  # only a fake comes back
        except OSError:
            system.wait_readable((), 1.0)
