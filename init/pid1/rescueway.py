"""Rescue's way in: a slot's root is borrowed once its disk is there, and the program that lets people in kept alive."""

from __future__ import annotations

from init.pid1 import borrow, rescuedisk
from init.pid1.lines import Splitter

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.earlyresult import EarlyResult
    from init.pid1.system import System

AGAIN = 10.0  # seconds until the program is started again
LINE_MOST = 4096  # bytes
TAIL_MOST = 20  # lines that `status` says of what sshd and others logged
OWN_MOST = 20  # and of what the program itself told
FROM_MEDIUM = (
    "started from an install medium: no disk is touched, and this console is the only way in;"
    " `rescue retry` starts the live system"
)
NO_ROOT = "neither slot's root can be read: there is no network and no SSH, this console is the only way in"


class WayIn:
    """One way in. Whatever fails is said, and the consoles stay."""

    def __init__(self, system: System, result: EarlyResult, say: Callable[[str], None]) -> None:
        self._system = system
        self._result = result
        self._say = say
        self._borrowed: borrow.Borrowed | None = None
        self._tried = False
        self._pid: int | None = None
        self._next = 0.0  # when the program may be started
        self._reading: int | None = None
        self._splitter = Splitter(LINE_MOST)
        self._known: list[str] = []
        self._own: dict[str, str] = {}  # by a line's first two words: of each card the newest address
        self._tail: list[str] = []

    def look(self) -> None:
        """Begin, once the disk that booted is there. Raise OSError."""
        line = self._result.command_line
        if self._tried or not line.rescue:
            return
        if line.media == "iso":
            self._tried = True
            self._tell(FROM_MEDIUM)
            return
        if line.record is None:
            return
        found = rescuedisk.find(self._system, line.record)
        if found is None:
            return
        self._tried = True
        for said in rescuedisk.lines(self._system, found, line.slot):
            self._tell(said)
        self._borrowed = borrow.borrow(self._system, found, line.slot, self._result.devices)
        if self._borrowed is None:
            self._tell(NO_ROOT)
            return
        self._tell(f"the root of slot {self._borrowed.slot} verifies: network and SSH are begun from it")
        for problem in self._borrowed.problems:
            self._tell(problem)
        self.tend()

    @property
    def lines(self) -> tuple[str, ...]:
        """What `status` says: what is known of the disk and of the way in, then the newest of the log."""
        return (*self._known, *self._own.values(), *self._tail)

    def _tell(self, text: str) -> None:
        self._known.append(text)
        self._say(text)

    def _on_line(self, line: str) -> None:
        if line.startswith(borrow.OWN):
            self._tell_way(line.removeprefix(borrow.OWN))
        else:
            self._tail = [*self._tail, line][-TAIL_MOST:]
            self._say(line)

    def _tell_way(self, text: str) -> None:
        about = " ".join(text.split()[:2])
        self._own.pop(about, None)
        self._own[about] = text
        while len(self._own) > OWN_MOST:
            del self._own[next(iter(self._own))]
        self._say(text)

    @property
    def descriptors(self) -> list[int]:
        """What to wait for."""
        return [] if self._reading is None else [self._reading]

    def tend(self) -> None:
        """Reap, and start the program where it doesn't run. Raise OSError."""
        for pid, status in self._system.reap():
            if pid == self._pid:
                self._pid = None
                self._next = self._system.now() + AGAIN
                self._tell_way(f"the way in ended with {status}; it begins again in {AGAIN:g} s")
        if self._borrowed is None:
            return
        if self._pid is None and self._system.now() >= self._next:
            self._next = self._system.now() + AGAIN
            self._start(self._borrowed)

    def _start(self, borrowed: borrow.Borrowed) -> None:
        line = self._result.command_line
        spawn = borrow.program(borrowed.slot, line.slot or "", line.record or "", self._result.reason)
        reading, writing = self._system.make_pipe()
        try:
            self._close()
            self._pid = self._system.spawn(borrow.speaking(spawn, writing))
            self._reading = reading
        finally:
            self._system.close(writing)

    def hear(self, ready: list[int]) -> None:
        """Tell people what the program says. Raise OSError."""
        if self._reading is None or self._reading not in ready:
            return
        try:
            data = self._system.read_from(self._reading, LINE_MOST)
        except BlockingIOError:
            return
        if not data:
            self._close()
            return
        for line in self._splitter.feed(data):
            self._on_line(line)

    def _close(self) -> None:
        for line in self._splitter.finish():
            self._on_line(line)
        reading, self._reading = self._reading, None
        if reading is not None:
            self._system.close(reading)
