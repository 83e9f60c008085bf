"""The running half of PID 1: a program of the root, begun by the early half, which was the initramfs's."""

from __future__ import annotations

import init.light  # noqa: F401 - first: whatever is imported from here on makes its values the light way

# isort: split
from init.pid1 import passage
from init.pid1.conductor import Conductor
from init.pid1.earlyresult import EarlyResult
from init.pid1.events import Announcer
from init.pid1.linux.kernel import Kernel
from init.pid1.outermost import end, last_words

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import System


def main() -> int:
    """Run as PID 1. Never returns on a real machine."""
    kernel = Kernel()
    go_on(kernel, Announcer(kernel))
    return 0


def go_on(system: System, announcer: Announcer) -> None:
    """Go on with what the early half left, until the machine is off."""
    try:
        result = passage.take(system, announcer)
    except BaseException as error:  # the outermost net
        last_words(system, EarlyResult(outcome="reboot"), None, f"{type(error).__name__}: {error}")
        end(system, "reboot")
        return
    live(system, result, announcer)


def live(system: System, result: EarlyResult, announcer: Announcer) -> None:
    """Run until the machine is off."""
    conductor: Conductor | None = None
    try:
        conductor = Conductor(system, result, announcer)
        conductor.begin()
        conductor.run()
    except BaseException as error:  # the outermost net: what a handler can raise, the loop's own net caught
        record = conductor.record if conductor is not None else None
        last_words(system, result, record, f"{type(error).__name__}: {error}")
        announcer.flush()
        end(system, "reboot")
