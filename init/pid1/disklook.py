"""What has to do with a disk that may stall: a child does it, for whoever asks and whenever it is time.

Who asks while a child reads is answered by the next one, so that nobody hears of what was before his question. While
the disk does not answer there is one child that waits for it, and nobody else does.
"""

from __future__ import annotations

from init.pid1.apart import Child

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.loop import Loop
    from init.pid1.system import System

    Asked = Callable[[bytes | None], None]

BOUND = 10.0  # seconds that the disk has for its answer: berthctl waits for 15


class DiskLook:
    """Does `work` for whoever asks. `tell` hears each answer before those who asked do."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        name: str,
        work: Callable[[], bytes],
        *,
        tell: Callable[[bytes | None], object] = lambda _: None,
        seconds: float = BOUND,
    ) -> None:
        self._system = system
        self._loop = loop
        self._name = name
        self._work = work
        self._tell = tell
        self._seconds = seconds
        self._child: Child | None = None
        self._late = False
        self._asked: list[Asked] = []
        self._next: list[Asked] = []

    def ask(self, then: Asked) -> None:
        """Call `then` with the answer: empty where the work failed, None where the disk does not answer.

        That is within `seconds`, or twice that while others are answered.
        """
        if self._late:
            then(None)
        elif self._child is not None:
            self._next.append(then)
        else:
            self._begin([then])

    def _begin(self, asked: list[Asked]) -> None:
        self._asked, self._next = asked, []
        self._child = Child(self._system, self._loop, self._name, self._work, self._read)
        self._loop.after(self._name, self._seconds, self._be_late)
        self._child.start()

    def _read(self) -> None:
        """The disk has answered, be it with an error."""
        self._loop.cancel(self._name)
        answer = self._child.answer if self._child is not None else b""
        self._child, self._late = None, False
        self._answer(self._asked, answer or b"")
        if self._next:
            self._begin(self._next)

    def _be_late(self) -> None:
        self._late = True
        self._answer([*self._asked, *self._next], None)
        self._asked, self._next = [], []

    def _answer(self, asked: list[Asked], answer: bytes | None) -> None:
        """Not at once: first health hears whether the disk answers."""
        self._tell(answer)
        for then in asked:
            self._loop.soon(self._name, lambda then=then: then(answer))  # type: ignore[misc]
