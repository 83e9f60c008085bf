"""Answers that take long or read the disk: a child of PID 1 writes them into the client's connection itself."""

from __future__ import annotations

from init.formats.release import PROGRAM
from init.pid1.perform import BASE_ENVIRONMENT
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.control import Client
    from init.pid1.logs import Logs
    from init.pid1.perform import Performer
    from init.pid1.system import System


def hand_over(client: Client, words: tuple[str, ...], *, system: System, performer: Performer, logs: Logs) -> None:
    """Start a program of `init` whose standard output is the client's connection, and let go of that. Raise OSError."""
    spawn = Spawn(
        argv=(*PROGRAM, *words),
        environment=BASE_ENVIRONMENT,
        stdout=client.descriptor,
        stderr=logs.pipe("init"),
    )
    performer.expect(system.spawn(spawn), lambda _status: None)
    client.close()
