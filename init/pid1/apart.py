"""Work that may never end, as far as PID 1 is concerned: a child does it.

Its answer comes to the loop (`Child`), or is waited for no longer than a bound (`within`), where the loop has ended.
"""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.loop import Loop
    from init.pid1.system import Early, System

ANSWER_MOST = 4096  # bytes
_SIGKILL = 9
_LOOK = 1.0  # seconds between looks whether anything moves
_BEGIN = b"\0"  # of an answer in `within`: work that raised has no bytes either


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


def within(
    system: Early,
    seconds: float,
    work: Callable[[], bytes],
    *,
    progress: Callable[[], object] = lambda: None,
    alive: Callable[[], object] = lambda: None,
) -> bytes | None:
    """Return the answer of work in a child, which has so many seconds, and as many again whenever `progress` changes.

    None where the time was up, or where the work raised. `alive` is called each second. Where there can be no child,
    the work is done here: that matters more than the bound.
    """
    try:
        _, reading = system.apart(lambda: _BEGIN + work())
    except OSError:
        try:
            return work()
        except OSError:
            return None
    try:
        left, before = seconds, progress()
        while not _ready(system, reading, min(left, _LOOK)):
            alive()
            now = progress()
            left, before = (seconds if now != before else left - _LOOK), now
            if left <= 0:
                return None
        answer = system.read_from(reading, ANSWER_MOST)
        return answer.removeprefix(_BEGIN) if answer.startswith(_BEGIN) else None
    except OSError:
        return None
    finally:
        close(system, reading)


def _ready(system: Early, reading: int, seconds: float) -> bool:
    try:
        return bool(system.wait_readable([reading], seconds))
    except OSError:  # asked again, until the time is up
        return False


def close(system: Early, descriptor: int) -> None:
    """Close a descriptor; raises nothing."""
    try:
        system.close(descriptor)
    except OSError:
        return  # whatever it says, it is closed: close(2)
