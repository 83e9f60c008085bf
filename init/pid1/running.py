"""The running half of PID 1, which the early half imports from the root."""

from __future__ import annotations

from init.pid1.conductor import Conductor
from init.pid1.outermost import end, last_words

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.system import System


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
