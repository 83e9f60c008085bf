"""What the early half says to people: to every console that the kernel has, and kept for the log."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

_ACTIVE = "/sys/class/tty/console/active"


_STANDARD_INPUT = 0
_KEPT_MOST = 1000


class Messages:
    """Lines for people. Writing them never fails and never waits: a console may be a wire that nobody reads.

    `inputs` are descriptors on which people type, one a console: a keyboard counts as much as a serial line.
    """

    def __init__(self, system: Early) -> None:
        self._system = system
        self._consoles: list[int] = []
        self.inputs: tuple[int, ...] = (_STANDARD_INPUT,)  # the kernel gives its first process one
        self.lines: list[str] = []

    def open_consoles(self) -> None:
        """Find the kernel's consoles and make the first of them the standard streams of PID 1."""
        system = self._system
        try:
            main = system.open("/dev/console", os.O_RDWR | os.O_NOCTTY)
            for number in (0, 1, 2):
                system.duplicate(main, number)
            if main > 2:
                system.close(main)
            names = system.read(_ACTIVE).decode("ascii", "replace").split()
        except OSError as error:
            self.say(f"no console could be opened: {error.strerror}")
            return
        for name in names:
            try:
                flags = os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK
                console = system.open(f"/dev/{name}", flags)
            except OSError as error:
                self.say(f"console {name} could not be opened: {error.strerror}")
                continue
            self._consoles.append(console)
            if name != names[-1]:  # the last one is /dev/console: whoever read it twice would wait for the second
                self.inputs += (console,)

    def say(self, text: str) -> None:
        """Tell people one thing; the line has the seconds since the kernel started."""
        line = f"[{self._system.now():9.3f}] berth: {text}"
        self.keep([line])
        for console in self._consoles or (2,):
            try:
                self._system.write_to(console, line.encode() + b"\r\n")
            except OSError:
                continue  # nobody can be told of it

    def keep(self, lines: list[str]) -> None:
        """Keep lines for the log alone: a driver without its device is no news for people."""
        self.lines.extend(lines)
        del self.lines[:-_KEPT_MOST]  # rescue may last for weeks, and says what sshd says

    def close_consoles(self) -> None:
        """Let go of the consoles: from here on the running half has them."""
        self.inputs = (_STANDARD_INPUT,)
        while self._consoles:
            try:
                self._system.close(self._consoles.pop())
            except OSError:
                continue
