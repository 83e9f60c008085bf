"""A child of PID 1 that says lines of JSON, as the updater does: in a cgroup of its own, heard without waiting."""

from __future__ import annotations

import json
from dataclasses import replace

from init.pid1 import cgroups
from init.pid1.lines import Splitter

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import Spawn, System

NAME = "updater"
MEMORY_MOST = 128 << 20  # bytes: twice what it needs; containers come first
LINE_MOST = 1 << 16  # bytes


class UpdaterChild:
    """One at a time; `pid` is None while there is none. `hear` gets each object that it says, `ended` its status."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        *,
        performer: Performer,
        logs: Logs,
        hear: Callable[[Mapping[str, object]], None],
        ended: Callable[[int], None],
        name: str = NAME,
    ) -> None:
        self._name = name
        self._system = system
        self._loop = loop
        self._performer = performer
        self._logs = logs
        self._hear = hear
        self._on_end = ended
        self._status: int | None = None
        self._reading: int | None = None
        self._lines = Splitter(LINE_MOST)
        self.pid: int | None = None

    def start(self, command: Spawn) -> None:
        """Start it; raise OSError."""
        reading, writing = self._system.make_pipe()
        try:
            self._loop.watch(reading, self._name, self._read)
            self._reading = reading
            stderr = self._logs.pipe(self._name)
            pid = self._system.spawn(replace(command, cgroup=self._group(), stdout=writing, stderr=stderr))
        except OSError:
            self._close()
            raise
        finally:
            self._system.close(writing)
        self.pid, self._lines, self._status = pid, Splitter(LINE_MOST), None
        self._performer.expect(pid, self._ended)

    def _group(self) -> str | None:
        folder = cgroups.group(self._name, self._performer.settings.top)
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
            data = self._system.read_from(self._reading, LINE_MOST)
        except BlockingIOError:
            return
        if not data:
            self._close()
            self._look()
            return
        for line in self._lines.feed(data):
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                self._hear(value)

    def _ended(self, status: int) -> None:
        self._status = status
        self._look()

    def _look(self) -> None:
        """Both the end of its lines and its own end are needed."""
        if self._reading is None and self._status is not None and self.pid is not None:
            self.pid = None
            self._on_end(self._status)

    def _close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            try:
                self._loop.unwatch(reading)
            finally:
                self._system.close(reading)
