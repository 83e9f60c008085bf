"""Which disks answer: a drive may take a command and never be done with it, and whoever waits for that can't be ended.

So each is asked for its first sector by a child of its own, all at once, and PID 1 goes on with those that answer.
"""

from __future__ import annotations

from init.formats.disk import SECTOR
from init.pid1 import apart, disks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from init.pid1.disks import BlockDevice
    from init.pid1.system import Early

SECONDS = 10.0  # as long as a CD takes to come up to speed


class Answering:
    """Who was asked, and who has answered, be it with an error. Disks go by their names."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}  # where the child's answer comes
        self._answered: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._answered

    @property
    def waiting(self) -> tuple[int, ...]:
        """What gets readable when a disk answers."""
        return tuple(self._asked.values())

    def ask(self, system: Early, names: Iterable[str]) -> None:
        """Ask those that were not asked yet, and see which of the others have answered."""
        for name in names:
            if name in self._answered:
                continue
            try:
                if name not in self._asked:
                    _, self._asked[name] = system.apart(lambda name=name: _first_sector(system, name))  # type: ignore[misc]
                if not system.wait_readable([self._asked[name]], 0.0):
                    continue
            except OSError:
                pass  # there can be no child: going on matters more than the bound
            self._answered.add(name)
            self._let_go(system, name)

    def forget(self, name: str) -> None:
        """Ask a disk again: it has changed."""
        self._answered.discard(name)

    def end(self, system: Early) -> None:
        """Wait for nobody any more: a child whose disk is mute ends when that answers."""
        for name in tuple(self._asked):
            self._let_go(system, name)

    def _let_go(self, system: Early, name: str) -> None:
        reading = self._asked.pop(name, None)
        if reading is not None:
            apart.close(system, reading)


def _first_sector(system: Early, name: str) -> bytes:
    return system.read_blocks(f"/dev/{name}", 0, SECTOR)


def present(system: Early, seconds: float = SECONDS) -> tuple[BlockDevice, ...]:
    """Return `disks.present` without those whose disk does not answer within so many seconds; raise OSError."""
    devices = disks.present(system)
    names = dict.fromkeys(device.disk for device in devices)
    asking = Answering()
    end = system.now() + seconds
    try:
        while True:
            asking.ask(system, names)
            left = end - system.now()
            if not asking.waiting or left <= 0:
                return tuple(device for device in devices if device.disk in asking)
            system.wait_readable(asking.waiting, left)
    finally:
        asking.end(system)
