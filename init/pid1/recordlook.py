"""The boot record for whoever asks how the machine is: a child reads it, for everybody may ask, and a disk may stall.

Who asks while a child reads is answered by the next one, so that nobody hears of what was before his question. Where
the disk does not answer, all are told what PID 1 last knew.
"""

from __future__ import annotations

from init.formats import bootrecord
from init.pid1.apart import Child

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.formats.bootrecord import Record
    from init.pid1.loop import Loop
    from init.pid1.record import BootRecord
    from init.pid1.system import System

BOUND = 3.0  # seconds that the disk has for its answer
_NAME = "reading the boot record"
_NONE = b"none"


class RecordLook:
    """Calls whoever asked with the record in force; None where there is none, or it can't be read.

    `attempt` tells what does not work until it does.
    """

    def __init__(
        self,
        system: System,
        loop: Loop,
        record: BootRecord,
        attempt: Callable[[str, Callable[[], object]], bool],
    ) -> None:
        self._system = system
        self._loop = loop
        self._record = record
        self._attempt = attempt
        self._child: Child | None = None
        self._late = False
        self._asked: list[Callable[[Record | None], None]] = []
        self._next: list[Callable[[Record | None], None]] = []

    def ask(self, then: Callable[[Record | None], None]) -> None:
        """Call `then` within `BOUND` seconds, or twice that while others are answered."""
        if not self._record.present or self._late:
            then(self._record.known)
        elif self._child is not None:
            self._next.append(then)
        else:
            self._begin([then])

    def _begin(self, asked: list[Callable[[Record | None], None]]) -> None:
        self._asked, self._next = asked, []
        self._child = Child(self._system, self._loop, _NAME, self._work, self._read)
        self._loop.after(_NAME, BOUND, self._be_late)
        self._child.start()

    def _work(self) -> bytes:
        record = self._record.read()
        return bootrecord.encode(record) if record is not None else _NONE

    def _read(self) -> None:
        """The disk has answered, be it with an error."""
        self._loop.cancel(_NAME)
        answer = self._child.answer if self._child is not None else None
        self._child, self._late = None, False
        self._attempt(_NAME, lambda: None)
        self._record.known = bootrecord.decode(answer) if answer else None
        self._answer(self._asked)
        if self._next:
            self._begin(self._next)

    def _be_late(self) -> None:
        self._late = True
        self._attempt(_NAME, _does_not_answer)
        self._answer([*self._asked, *self._next])
        self._asked, self._next = [], []

    def _answer(self, asked: list[Callable[[Record | None], None]]) -> None:
        """Not at once: first health hears whether the disk answers."""
        for then in asked:
            self._loop.soon(_NAME, lambda then=then: then(self._record.known))  # type: ignore[misc]


def _does_not_answer() -> None:
    raise OSError("its disk does not answer, so what is told of the slots is what was last known")
