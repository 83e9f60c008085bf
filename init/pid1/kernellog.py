"""The kernel's log as one more log: /dev/kmsg, record by record (Documentation/ABI/testing/dev-kmsg).

A record is `priority,sequence,microseconds,flags;text`, further lines belong to it and begin with a blank. The kernel
keeps them: so reading begins when what a boot waits for has begun, and takes nothing from it.
"""

from __future__ import annotations

import os

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.system import System

DEVICE = "/dev/kmsg"
RECORD_MOST = 8192
AT_ONCE = 64  # records in one turn
LAST_TURNS = 64  # at the end: a kernel that talks on and on must not keep the machine up
BEGIN_AFTER = 2.0  # seconds
NAME = "kernel"


def parse(record: bytes) -> tuple[float, str] | None:
    """Return a record's time, in seconds since the kernel started, and its message.

    None for what a program wrote there (facility ≠ 0), and for what is no record.
    """
    head, separator, rest = record.partition(b";")
    fields = head.split(b",")
    if not separator or len(fields) < 3 or not fields[0].isdigit() or not fields[2].isdigit():
        return None
    if int(fields[0]) >> 3:
        return None
    return int(fields[2]) / 1e6, rest.split(b"\n")[0].decode("utf-8", "replace")


class KernelLog:
    """Reads /dev/kmsg as records come, without waiting, some time from now on."""

    def __init__(self, system: System, loop: Loop, logs: Logs) -> None:
        self._system = system
        self._loop = loop
        self._logs = logs
        self._descriptor = system.open(DEVICE, os.O_RDONLY | os.O_NONBLOCK)
        logs.on_leaving = self.finish
        self._later()

    def _later(self) -> None:
        self._loop.after("kernel log", BEGIN_AFTER, self._begin)

    def _begin(self) -> None:
        try:
            self._loop.watch(self._descriptor, "kernel log", self._on_records)
        except OSError as error:
            self._logs.say("init", f"the kernel's log can't be watched yet: {error.strerror or error}")
            self._later()

    def _on_records(self) -> None:
        self._read()

    def finish(self) -> None:
        """Read what there is, before nothing can be kept any more."""
        for _ in range(LAST_TURNS):
            if not self._read():
                return

    def _read(self) -> bool:
        """Take some records; tell whether there may be more."""
        said: list[tuple[float, str]] = []
        try:
            for _ in range(AT_ONCE):
                self._read_record(said)
        except BlockingIOError:
            return False
        finally:
            self._logs.say_earlier(NAME, said)
        return True

    def _read_record(self, said: list[tuple[float, str]]) -> None:
        try:
            parsed = parse(self._system.read_from(self._descriptor, RECORD_MOST))
        except BrokenPipeError:  # EPIPE: records were overwritten before they were read
            parsed = (self._system.now(), "(some of the kernel's messages were lost)")
        if parsed is not None:
            said.append(parsed)
