"""The two halves of PID 1: the early one, from the initramfs to the root, then the running one; or rescue."""

from __future__ import annotations

from dataclasses import replace

from init.pid1 import early
from init.pid1.earlyresult import EarlyResult
from init.pid1.events import Announcer
from init.pid1.outermost import end, last_words

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import System


def begin(system: System) -> None:
    """Run as PID 1. Never returns on a real machine."""
    run(system, Announcer(system))


def run(system: System, announcer: Announcer) -> None:
    """Boot, and go on until the machine is off."""
    result = EarlyResult(outcome="reboot", reason="PID 1 did not begin")
    try:
        result = early.run(system, announcer)
        announcer.learn_boot_id()
        if result.outcome != "root":
            announcer.open_port()
        if result.outcome == "rescue":
            from init.pid1 import rescue  # noqa: PLC0415 - most boots need none of it

            result = rescue.serve(system, announcer, result)
    except BaseException as error:  # the outermost net
        last_words(system, result, None, f"{type(error).__name__}: {error}")
        result = replace(result, outcome="reboot")
    if result.outcome == "root":
        _go_on(system, result, announcer)
        return
    announcer.flush()
    end(system, result.outcome)


def _go_on(system: System, result: EarlyResult, announcer: Announcer) -> None:
    try:
        from init.pid1 import running  # noqa: PLC0415 - the initramfs has not got it: it comes from the root

        running.live(system, result, announcer)
    except BaseException as error:  # the outermost net
        last_words(system, result, None, f"{type(error).__name__}: {error}")
        end(system, "reboot")
