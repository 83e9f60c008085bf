"""Reading a slot that came back without a word: the child that does it, and how long it may take."""

from __future__ import annotations

from init.formats.release import APP_PATH
from init.pid1.perform import BASE_ENVIRONMENT
from init.pid1.system import Spawn
from init.pid1.updaterchild import UpdaterChild

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import System

NAME = "slot-evidence"
BOUND = 300.0  # seconds: a full gigabyte on a slow disk
_SIGKILL = 9
Findings = dict[str, str]  # `boot`, `root`: what is wrong there, "" for nothing; empty where nobody could look


class Evidence:
    """Looks at one slot, once in a boot."""

    def __init__(self, system: System, loop: Loop, performer: Performer, logs: Logs) -> None:
        self._system = system
        self._loop = loop
        self._child = UpdaterChild(
            system, loop, performer=performer, logs=logs, hear=self._hear, ended=self._ended, name=NAME
        )
        self._found: Findings = {}
        self._then: Callable[[Findings], None] = lambda _found: None

    def gather(self, disk: str, slot: str, then: Callable[[Findings], None]) -> None:
        """Read the slot of that disk; later call `then` with what was found. Raise OSError; then it never is."""
        self._then = then
        argv = ("/usr/bin/python3", "-I", "-B", APP_PATH, NAME, "--disk", disk, "--slot", slot)
        self._child.start(Spawn(argv=argv, environment=BASE_ENVIRONMENT))
        self._loop.after(NAME, BOUND, self._give_up)

    def _hear(self, value: Mapping[str, object]) -> None:
        self._found = {name: str(value.get(name, "")) for name in ("boot", "root")}

    def _ended(self, _status: int) -> None:
        self._loop.cancel(NAME)
        self._then(self._found)

    def _give_up(self) -> None:
        if self._child.pid is not None:
            self._system.signal_session(self._child.pid, _SIGKILL)
