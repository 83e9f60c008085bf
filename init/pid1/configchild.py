"""The config child: its output is read without waiting, its end awaited, its report handed on; it can be abandoned."""

from __future__ import annotations

import json

from init.formats.machine import REPORT_MOST
from init.pid1 import boot, cgroups
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import System

MEMORY_MOST = 256 << 20  # bytes
NAME = "config"
_SIGKILL = 9


class ConfigChild:
    """One run of the child. `done` gets `ConfigRead` or `ConfigLost`, exactly once, unless it was abandoned."""

    def __init__(
        self, system: System, loop: Loop, performer: Performer, logs: Logs, done: Callable[[boot.Event], None]
    ) -> None:
        self._system = system
        self._loop = loop
        self._performer = performer
        self._logs = logs
        self._done = done
        self._output = b""
        self._reading: int | None = None
        self._status: int | None = None
        self._pid: int | None = None
        self._over = False
        self._too_long = False

    def start(self, argv: tuple[str, ...]) -> None:
        """Start it; a failure to do so is a `ConfigLost`."""
        try:
            reading, writing = self._system.make_pipe()
        except OSError as error:
            self._finish(boot.ConfigLost(reason=f"no pipe for the config child: {error}"))
            return
        try:
            self._loop.watch(reading, "config child", self._read)
            self._reading = reading
            pid = self._system.spawn(
                Spawn(
                    argv=argv,
                    environment=(("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8")),
                    cgroup=self._group(),
                    stdout=writing,
                    stderr=self._logs.pipe(NAME),
                )
            )
        except OSError as error:
            self._close()
            self._finish(boot.ConfigLost(reason=f"the config child could not be started: {error}"))
            return
        finally:
            self._system.close(writing)
        self._pid = pid
        self._performer.expect(pid, self._ended)

    def _group(self) -> str | None:
        folder = cgroups.group(NAME, self._performer.settings.top)
        try:
            self._system.make_folder(folder)
            self._system.write(f"{folder}/memory.max", str(MEMORY_MOST).encode())
        except OSError:
            return folder if self._system.exists(folder) else None
        return folder

    def _read(self) -> None:
        if self._reading is None:
            return
        try:
            data = self._system.read_from(self._reading, 1 << 16)
        except BlockingIOError:
            return
        if data and len(self._output) < REPORT_MOST:
            self._output += data
            return
        self._too_long = bool(data)
        self._close()
        self._look()

    def _ended(self, status: int) -> None:
        self._status = status
        self._look()

    def _look(self) -> None:
        """Both the end of the output and the end of the process are needed."""
        if self._reading is not None or self._status is None:
            return
        if self._too_long:
            text = f"the config child's report is longer than {REPORT_MOST >> 20} MiB"
            self._finish(boot.ConfigLost(reason=text))
            return
        if self._status != 0:
            self._finish(boot.ConfigLost(reason=f"the config child ended with {_describe(self._status)}"))
            return
        try:
            report = boot.read_report(json.loads(self._output))
        except (ValueError, RecursionError) as error:
            self._finish(boot.ConfigLost(reason=f"the config child's report can't be read: {error}"))
            return
        self._finish(boot.ConfigRead(report=report))

    def _close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            try:
                self._loop.unwatch(reading)
            finally:
                self._system.close(reading)

    def _finish(self, event: boot.Event) -> None:
        if not self._over:
            self._over = True
            self._done(event)

    def abandon(self) -> None:
        """Kill it; nothing is said any more."""
        self._over = True
        self._close()
        if self._pid is not None and self._status is None:
            self._system.signal_session(self._pid, _SIGKILL)


def _describe(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {-status}"
