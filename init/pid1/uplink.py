"""The network as it is: brought up as the configuration wants, watched, and told of.

It is reached once something has an address, and name servers with it: an address by router advertisement is there
seconds before a lease is, and what runs then would find no name.
"""

from __future__ import annotations

from init.formats import events
from init.pid1 import lifecycle
from init.pid1.supervisor import NETWORK

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.machine import Machine
    from init.pid1.apply import Applier
    from init.pid1.events import Announcer
    from init.pid1.links import LinkState
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import System

NEWS_PAUSE = 0.1  # seconds between looks at the links: a container that starts changes a dozen things about them
NEWS_PAUSE_MOST = 120.0
LEASE_PAUSE = 0.2
LEASE_BOUND = 10.0  # after the first address: a network may give no name servers


class Uplink:
    """`up` are the links that have an address for the world, with their addresses."""

    def __init__(
        self, system: System, loop: Loop, applier: Applier, performer: Performer, announcer: Announcer
    ) -> None:
        self._system = system
        self._loop = loop
        self._applier = applier
        self._performer = performer
        self._announcer = announcer
        self._news: int | None = None
        self._heard = False  # that links or addresses have changed since they were last looked at
        self._cards: frozenset[int] = frozenset()
        self._missing: frozenset[str] = frozenset()
        self._leases: tuple[str, ...] = ()  # how the names of their files end
        self._since: float | None = None  # when there was the first address
        self.up: dict[str, tuple[str, ...]] = {}

    def bring_up(self, machine: Machine) -> None:
        """Do what the configuration wants of the links that are there; raise OSError."""
        from init.pid1 import dhcp, linknames, network  # noqa: PLC0415 - the initramfs can do without them

        if self._news is None:
            news = self._system.open_network_news()
            self._news = news
            self._loop.watch(news, "network", lambda: self._on_news(machine, news))
        links = self._system.links()
        self._cards = hardware(links)
        plan = network.plan(machine.network, links, linknames.read(self._system, links))
        self._leases = plan.leases
        before = self._applier.text(dhcp.CONFIGURATION)
        self._tell((*plan.missing, *network.apply(self._system, plan.actions)))
        changed = before not in ("", self._applier.text(dhcp.CONFIGURATION))

        def serve() -> None:
            self._performer.load(plan.services)
            if changed:  # it reads its configuration when it starts
                self._performer.post(dhcp.SERVICE, lifecycle.Again())

        # When the containers of the same turn are started: they need not wait for an address, and it takes longer.
        self._loop.soon("network", lambda: self._applier.insist("DHCP", serve))
        self._look_at_addresses(self._system.links())

    def _tell(self, problems: tuple[str, ...]) -> None:
        """Say what could not be done, and forget what could not before: a card may come late."""
        for text in self._missing.difference(problems):
            self._applier.solved(text)
        self._missing = frozenset(problems)
        for text in problems:
            self._applier.problem(text)

    def _on_news(self, machine: Machine, news: int) -> None:
        """Links or addresses changed. What came is all read: only that something came matters."""
        try:
            for _ in range(64):
                if not self._system.read_from(news, 1 << 16):
                    break
        except BlockingIOError:
            pass
        except OSError as error:  # ENOBUFS: some news were lost; that there were some is enough
            self._applier.say(f"network news: {error}")
        self._heard = True
        if not self._loop.armed("network news"):
            self._look_at_links(machine)

    def _look_at_links(self, machine: Machine, pause: float = NEWS_PAUSE) -> None:
        """See what has changed, and again after a pause: where something changed within it, or this failed."""
        if not self._heard:
            return
        self._heard = not self._applier.attempt("links and addresses", lambda: self._see_links(machine))
        again = min(pause * 2, NEWS_PAUSE_MOST) if self._heard else NEWS_PAUSE
        self._loop.after("network news", again, lambda: self._look_at_links(machine, again))

    def _see_links(self, machine: Machine) -> None:
        links = self._system.links()
        if hardware(links) - self._cards:  # a card came late: USB, hot plug
            self._applier.insist("network", lambda: self.bring_up(machine))
        else:
            self._look_at_addresses(links)

    def _look_at_addresses(self, links: tuple[LinkState, ...]) -> None:
        from init.pid1 import network  # noqa: PLC0415 - the same

        up = network.up(links, self._system.addresses())
        for name, addresses in up.items():
            if self.up.get(name) != addresses:
                self._announcer.emit(events.NETWORK_UP, interface=name, addresses=list(addresses))
        self.up = up
        if up and self._since is None:
            self._since = self._system.now()
            self._await_lease(self._since)

    def _await_lease(self, since: float) -> None:
        if self._has_lease() or self._system.now() - since >= LEASE_BOUND:
            self._performer.reach(NETWORK)
        else:
            self._loop.after("lease", LEASE_PAUSE, lambda: self._await_lease(since))

    def _has_lease(self) -> bool:
        """Tell whether name servers are known, or a lease has come that brought none, or there is none to wait for."""
        from init.pid1 import dhcp  # noqa: PLC0415 - the same

        try:
            names = self._system.names(dhcp.SERVERS)
        except OSError:
            return True
        if not self._leases or any(name.endswith(self._leases) for name in names):
            return True
        return any("nameserver" in self._applier.text(f"{dhcp.SERVERS}/{name}") for name in names)


def hardware(links: tuple[LinkState, ...]) -> frozenset[int]:
    """Return the numbers of the network cards. Not their MACs: a bond changes those."""
    return frozenset(link.index for link in links if not link.kind and not link.loopback)
