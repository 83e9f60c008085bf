"""Telling the world: events on the virtio-serial port `berth.events`, in memory, on the console when asked.

Nothing here waits. A port whose host does not read fills up; then events wait in a bounded queue, and what does not
fit there is counted and said once there is room again (`events.dropped`).
"""

from __future__ import annotations

import os

from init.formats import events
from init.formats.bare import deque

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.loop import Loop
    from init.pid1.system import System

PORTS = "/sys/class/virtio-ports"
QUEUE_MOST = 256  # lines that wait for the port
RING_MOST = 1024  # lines kept for `berthctl events`
RETRY = 0.5  # seconds until a full port is tried again: it is never polled, for without a reader poll spins


class Queue:
    """Lines that wait for a descriptor that may be full; bounded, and the loss is counted."""

    def __init__(self, most: int = QUEUE_MOST) -> None:
        self._lines: deque[bytes] = deque()
        self._most = most
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: bytes) -> None:
        """Let a line wait; it is dropped and counted where the queue is full."""
        if len(self._lines) >= self._most:
            self.dropped += 1
        else:
            self._lines.append(line)

    def flush(self, write: Callable[[bytes], int]) -> bool:
        """Write what goes; tell whether nothing waits any more. A line that went in part keeps its rest."""
        while self._lines:
            line = self._lines[0]
            try:
                count = write(line)
            except BlockingIOError:
                return False
            if count < len(line):
                self._lines[0] = line[count:]
                return False
            self._lines.popleft()
        return True


class Announcer:
    """Says events. `emit` never fails and never waits."""

    def __init__(self, system: System, loop: Loop | None = None) -> None:
        self._system = system
        self._loop = loop
        self._boot_id = ""
        self._seq = 0
        self._port: int | None = None
        self._queue = Queue()
        self._listeners: list[Callable[[str, bytes], None]] = []
        self.ring: deque[bytes] = deque(maxlen=RING_MOST)

    def attach(self, loop: Loop) -> None:
        """From now on try a full port again by a timer of this loop."""
        self._loop = loop
        self.flush()

    def listen(self, listener: Callable[[str, bytes], None]) -> None:
        """Call `listener` with the name and the line of every event from now on."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[str, bytes], None]) -> None:
        """Don't call a listener any more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def open_port(self) -> bool:
        """Look for the port and open it; tell whether there is one. Called again until the module is loaded."""
        if self._port is not None:
            return True
        try:
            for device in self._system.names(PORTS):
                if self._system.read(f"{PORTS}/{device}/name").strip() == events.PORT.encode():
                    self._port = self._system.open(f"/dev/{device}", os.O_WRONLY | os.O_NONBLOCK)
                    self.flush()
                    return True
        except OSError:
            return False
        return False

    def learn_boot_id(self) -> None:
        """Read the boot's id, which /proc tells; until it can be read it is unknown."""
        try:
            self._boot_id = self._system.read("/proc/sys/kernel/random/boot_id").decode("ascii", "replace").strip()
        except OSError:
            return

    def emit(self, event: str, **fields: object) -> None:
        """Say an event of `init.formats.events.EVENTS`."""
        self._seq += 1
        if not self._boot_id:
            self.learn_boot_id()
        boot_id = self._boot_id or "unknown"
        line = events.line(event, fields, t=self._system.now(), seq=self._seq, boot_id=boot_id)
        self.ring.append(line)
        self._queue.add(line)
        self.flush()
        for listener in list(self._listeners):
            listener(event, line)

    def flush(self) -> bool:
        """Write what waits, as far as it goes; tell whether all went or there is no port."""
        if self._port is None:
            return True
        port = self._port
        try:
            done = self._queue.flush(lambda line: self._system.write_to(port, line))
        except OSError:  # the host took the port away
            done = False
        if done and self._queue.dropped:
            dropped, self._queue.dropped = self._queue.dropped, 0
            self.emit(events.EVENTS_DROPPED, count=dropped)
        if not done and self._loop is not None:
            self._loop.after("events.flush", RETRY, self._again)
        return done

    def _again(self) -> None:
        self.flush()

    @property
    def waiting(self) -> int:
        """How many lines wait for the port."""
        return len(self._queue) if self._port is not None else 0
