"""Taking the connections of a listening socket, one at a time.

Where the kernel has no room for one more (ENFILE, EMFILE, ENOMEM from accept(2); EAGAIN, ENOMEM from fork(2)), that is
no fault of PID 1: it is said once, and after a pause connections are taken again.
"""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.loop import Loop
    from init.pid1.system import System

PAUSE = 1.0  # seconds


class Listener:
    """One listening socket. `take` gets each connection and its address; where it raises OSError, it has closed it."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        name: str,
        listening: int,
        *,
        take: Callable[[int, str], None],
        say: Callable[[str], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._name = name
        self._listening = listening
        self._take = take
        self._say = say
        self._said = False

    def begin(self) -> None:
        """Take connections from now on; raise OSError."""
        self._loop.watch(self._listening, self._name, self._accept)

    def _accept(self) -> None:
        try:
            connection, address = self._system.accept(self._listening)
        except BlockingIOError:
            return
        except OSError as error:
            self._rest(error)
            return
        try:
            self._take(connection, address)
        except OSError as error:
            self._rest(error)
        else:
            self._said = False

    def _rest(self, error: OSError) -> None:
        self._loop.rest(self._listening, PAUSE)
        if not self._said:
            self._said = True
            self._say(f"{self._name}: a connection can't be taken now: {error.strerror or error}")
