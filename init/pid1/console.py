"""The console: what people at a screen or a serial line see. It never waits for one.

A console may be a wire that nobody reads: its device is opened O_NONBLOCK, lines wait in a bounded queue, and what
doesn't fit is gone (it is in the log all the same).
"""

from __future__ import annotations

import os

from init.formats.screen import LINES, MORE, cut, safe
from init.pid1.events import Queue

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from init.pid1.loop import Loop
    from init.pid1.system import System

_TTYS = "/sys/class/tty"
ACTIVE = f"{_TTYS}/console/active"
RETRY = 0.2  # seconds
QUEUE_MOST = 512  # lines
WIDTH = 78  # columns of the status page


class Console:
    """All of the kernel's consoles. `say` never fails and never waits."""

    def __init__(self, system: System, loop: Loop) -> None:
        self._system = system
        self._loop = loop
        self._open: dict[str, tuple[int, Queue]] = {}

    def open(self) -> None:
        """Open what the kernel uses as consoles; one that can't be opened is left out."""
        try:
            names = self._system.read(ACTIVE, 4096).decode("ascii", "replace").split()
        except OSError:
            names = []
        for name in names:
            if self._is_socket_without_chip(name):
                continue
            try:
                flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
                self._open[name] = (self._system.open(f"/dev/{name}", flags), Queue(QUEUE_MOST))
            except OSError:
                continue

    def _is_socket_without_chip(self, name: str) -> bool:
        """Tell whether a serial port is none. The kernel takes ttyS0 for a console on a PC without one, too.

        Its `type` is 0 then (Documentation/ABI/testing/sysfs-tty), and whatever is written to it fails.
        """
        try:
            return name.startswith("ttyS") and self._system.read(f"{_TTYS}/{name}/type", 16).strip() == b"0"
        except OSError:
            return False

    def names(self) -> tuple[str, ...]:
        """Return the consoles' names, the kernel's main one last."""
        return tuple(self._open)

    def say(self, text: str) -> None:
        """Show one line, with the seconds since the kernel started."""
        self.show(f"[{self._system.now():9.3f}] berth: {text}")

    def show(self, text: str) -> None:
        """Show lines as they are, without what a terminal would take for a command."""
        clean = "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)
        line = clean.rstrip("\n").replace("\n", "\r\n").encode("utf-8", "replace") + b"\r\n"
        for _, queue in self._open.values():
            queue.add(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits, as far as it goes."""
        behind = False
        for descriptor, queue in self._open.values():
            try:
                done = queue.flush(lambda line, to=descriptor: self._system.write_to(to, line))  # type: ignore[misc]
            except OSError:  # the line is down
                done = False
            behind = behind or not done
        if behind:
            self._loop.after("console.flush", RETRY, self.flush)


def page(facts: Mapping[str, str], containers: Iterable[tuple[str, str, str]]) -> str:
    """Return the short status page: one line a fact, one a container (name, health, ports); 24 lines at most.

    Where there are more containers, those that are not healthy come first, and the others are counted.
    """
    width = max((len(key) for key in facts), default=0)
    lines = [f"  {key:<{width}}  {value}" for key, value in facts.items() if value]
    every = list(containers)
    room = LINES - 2 - len(lines)
    shown = every if len(every) <= room else sorted(every, key=lambda one: one[1] == "healthy")[: room - 1]
    lines += [f"  container {name}: {health}{' ' + ports if ports else ''}" for name, health, ports in shown]
    if len(shown) < len(every):
        lines.append(f"  {MORE} and {len(every) - len(shown)} more: berthctl ps")
    return "\n".join(["", *(cut(safe(line), WIDTH) for line in lines), ""])
