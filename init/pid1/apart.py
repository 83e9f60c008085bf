"""Work that may never end, as far as PID 1 is concerned: a child does it, and its answer comes to the loop."""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.loop import Loop
    from init.pid1.system import System

ANSWER_MOST = 4096  # bytes
_SIGKILL = 9


class Child:
    """One child. `answer` is None until it is there; it is empty where there is none, after a second try."""

    def __init__(
        self, system: System, loop: Loop, name: str, work: Callable[[], bytes], then: Callable[[], None]
    ) -> None:
        self._system = system
        self._loop = loop
        self._name = name
        self._work = work
        self._then = then
        self._pid: int | None = None
        self._reading: int | None = None
        self._again = True
        self.answer: bytes | None = None

    def start(self) -> None:
        """Let it work; `then` is called from the loop when there is an answer."""
        try:
            self._pid, self._reading = self._system.apart(self._work)
            self._loop.watch(self._reading, self._name, self._read)
        except OSError:
            self._ended(b"")

    def abandon(self) -> None:
        """Kill it, as far as that goes: one that waits for a drive ends with the drive's answer."""
        if self.answer is None:
            self._let_go()

    def _read(self) -> None:
        if self._reading is None:
            return
        try:
            answer = self._system.read_from(self._reading, ANSWER_MOST)
        except BlockingIOError:
            return
        except OSError:
            answer = b""
        self._ended(answer)

    def _ended(self, answer: bytes) -> None:
        self._let_go(kill=not answer)
        if not answer and self._again:
            self._again = False
            self.start()
            return
        self.answer = answer
        self._loop.soon(self._name, self._then)

    def _let_go(self, *, kill: bool = True) -> None:
        pid, self._pid = self._pid, None
        reading, self._reading = self._reading, None
        try:
            if reading is not None:
                self._loop.unwatch(reading)
        except OSError:
            pass  # closing it takes it out of what is waited for
        try:
            if reading is not None:
                self._system.close(reading)
        except OSError:
            pass
        try:
            if pid is not None and kill:
                self._system.signal(pid, _SIGKILL)
        except OSError:
            return  # it has ended
