"""The network of a machine in rescue: as the last good configuration has it, by the same plan as in a boot."""

from __future__ import annotations

from collections.abc import Callable

from init.formats.machine import Network
from init.pid1 import linknames, network
from init.pid1.loop import Loop
from init.pid1.system import Spawn, System

AGAIN = 5.0  # seconds until the DHCP client is started again
_ENVIRONMENT = (("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),)


class Net:
    """Plans anew whenever there is another card, and says each new address."""

    def __init__(self, system: System, loop: Loop, wanted: Network, say: Callable[[str], None]) -> None:
        self._system = system
        self._loop = loop
        self._wanted = wanted
        self._say = say
        self._cards: frozenset[int] | None = None
        self._told: dict[str, tuple[str, ...]] = {}
        self._argv: tuple[str, ...] = ()
        self._pid: int | None = None

    def begin(self) -> None:
        """Listen to the kernel's news, and bring up what is there. Raise OSError."""
        news = self._system.open_network_news()

        def on_news() -> None:
            try:
                while self._system.read_from(news, 1 << 16):
                    pass
            except BlockingIOError:
                pass
            self._look()

        self._loop.watch(news, "network", on_news)
        self._look()

    def addresses(self) -> dict[str, tuple[str, ...]]:
        """Return the addresses by which the machine can be reached; raise OSError."""
        return network.up(self._system.links(), self._system.addresses())

    def ended(self, pid: int, status: int) -> None:
        """A child ended; the DHCP client comes again."""
        if pid == self._pid:
            self._pid = None
            self._say(f"the DHCP client ended with {status}")
            self._loop.after("dhcp", AGAIN, self._serve)

    def _look(self) -> None:
        links = self._system.links()
        cards = frozenset(link.index for link in links if not link.kind and not link.loopback)
        if cards != self._cards:
            self._cards = cards
            self._plan()
        now = self.addresses()
        for name, addresses in now.items():
            if self._told.get(name) != addresses:
                self._say(f"network: {name} {' '.join(addresses)}")
        self._told = now

    def _plan(self) -> None:
        links = self._system.links()
        plan = network.plan(self._wanted, links, linknames.read(self._system, links))
        for problem in (*plan.missing, *network.apply(self._system, plan.actions)):
            self._say(problem)
        for service in plan.services:
            self._argv = service.argv
        self._serve()

    def _serve(self) -> None:
        """Start the DHCP client, which hears of further cards by itself."""
        if self._argv and self._pid is None:
            self._pid = self._system.spawn(Spawn(argv=self._argv, environment=_ENVIRONMENT))
