"""The network before the configuration: for one that lies at an address, and for nothing else.

What the network shall be stands in the configuration, which can't be had without one. So all cards ask for an address
by DHCP, for as long as the configuration is being fetched. After that the client is ended, which takes its addresses
back, and the configuration's own network comes up as on any other machine, with its host name in the request.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats.machine import Network
from init.pid1 import cgroups
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.network import Action
    from init.pid1.perform import Performer
    from init.pid1.system import System

NAME = "seed-network"
CONFIGURATION = "/run/berth/network/seed.conf"
END_BOUND = 5.0  # seconds from SIGTERM to SIGKILL
_SIGTERM, _SIGKILL = 15, 9


class SeedNetwork:
    """`begin` once, then `end` once; both may fail, and the boot goes on by its own bounds."""

    def __init__(self, system: System, loop: Loop, performer: Performer, logs: Logs) -> None:
        self._system = system
        self._loop = loop
        self._performer = performer
        self._logs = logs
        self._news: int | None = None
        self._pid: int | None = None
        self._on_up: Callable[[], None] = lambda: None
        self._on_end: Callable[[], None] | None = None
        self.is_up = False

    def begin(self, on_up: Callable[[], None]) -> None:
        """Ask for addresses on all cards; call `on_up` when the first is there. Raise OSError."""
        from init.pid1 import dhcp, linknames, network  # noqa: PLC0415 - few boots need them this early

        self._on_up = on_up
        self._news = news = self._system.open_network_news()
        self._loop.watch(news, NAME, self._on_news)
        links = self._system.links()
        plan = network.plan(Network(), links, linknames.read(self._system, links))
        for problem in network.apply(self._system, tuple(_own(action) for action in plan.actions)):
            self._logs.say(NAME, problem)
        self._pid = self._system.spawn(
            Spawn(
                argv=tuple(CONFIGURATION if word == dhcp.CONFIGURATION else word for word in dhcp.service().argv),
                environment=(("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),),
                cgroup=self._group(),
                stderr=self._logs.pipe(NAME),
            )
        )
        self._performer.expect(self._pid, self._ended)
        self._look()

    def end(self, then: Callable[[], None]) -> None:
        """Take the addresses back, and call `then` when they are gone; at once where there never were any."""
        self._let_go_of_news()
        if self._pid is None:
            then()
            return
        self._on_end = then
        pid = self._pid
        self._loop.after(NAME, END_BOUND, lambda: self._give_up(pid))
        try:
            self._system.signal(pid, _SIGTERM)
        except OSError:
            self._give_up(pid)

    def _group(self) -> str | None:
        folder = cgroups.group(NAME, self._performer.settings.top)
        try:
            self._system.make_folder(folder)
        except OSError:
            return None
        return folder

    def _on_news(self) -> None:
        """What came is all read: only that something came matters."""
        if self._news is None:
            return
        try:
            for _ in range(64):
                if not self._system.read_from(self._news, 1 << 16):
                    break
        except OSError:
            pass
        self._look()

    def _look(self) -> None:
        from init.pid1 import network  # noqa: PLC0415 - the same

        if not self.is_up and network.up(self._system.links(), self._system.addresses()):
            self.is_up = True
            self._let_go_of_news()
            self._loop.soon(NAME, self._on_up)  # never within `begin`

    def _let_go_of_news(self) -> None:
        news, self._news = self._news, None
        if news is not None:
            try:
                self._loop.unwatch(news)
            finally:
                self._system.close(news)

    def _ended(self, status: int) -> None:
        self._pid = None
        self._loop.cancel(NAME)
        if self._on_end is None:
            self._logs.say(NAME, f"the DHCP client ended with {status}")
            return
        then, self._on_end = self._on_end, None
        then()

    def _give_up(self, pid: int) -> None:
        try:
            self._system.signal_session(pid, _SIGKILL)
        except OSError:
            self._ended(-_SIGKILL)


def _own(action: Action) -> Action:
    """Change what plan makes for good: a file of its own, and addresses that go with the client."""
    from init.pid1 import dhcp, network  # noqa: PLC0415 - the same

    if isinstance(action, network.WriteText) and action.path == dhcp.CONFIGURATION:
        return replace(action, path=CONFIGURATION, text=action.text.replace("persistent\n", ""))
    return action
