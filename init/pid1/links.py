"""The network's part of the door to the kernel (`init.pid1.system`): interfaces, addresses and routes."""

from __future__ import annotations

from dataclasses import dataclass

# Spelt so, type checkers take it for true, and `typing` (40 ms under emulation) isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkState:
    """A network interface. `kind` is rtnetlink's (`bridge`, `veth`, …), empty for hardware.

    `permanent` is the card's own MAC, whatever it has now: a bond gives all its members the same one.
    """

    index: int
    name: str
    mac: str
    mtu: int
    up: bool
    carrier: bool
    loopback: bool
    kind: str
    master: int  # index of the bridge or bond that it belongs to, 0 for none
    ethernet: bool
    alternative_names: tuple[str, ...] = ()
    permanent: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class AddressState:
    """One address of an interface, `address` as CIDR text. `scope` is `global`, `link`, `host` or `site`."""

    index: int
    address: str
    scope: str
    tentative: bool


class Network(Protocol):
    """Interfaces, addresses and routes (rtnetlink). What is there already is not an error."""

    def links(self) -> tuple[LinkState, ...]:
        """Return all interfaces, by index."""

    def addresses(self) -> tuple[AddressState, ...]:
        """Return all addresses."""

    def add_link(self, name: str, kind: str, *, parent: str = "", vlan: int = 0, peer: str = "") -> None:
        """Make a `bridge`, `bond`, `dummy`, `vlan` (number `vlan` on `parent`) or `veth` (to `peer`)."""

    def remove_link(self, name: str) -> None:
        """Take an interface away."""

    def set_link(
        self,
        name: str,
        *,
        up: bool | None = None,
        mtu: int | None = None,
        mac: str | None = None,
        master: str | None = None,
        rename: str | None = None,
    ) -> None:
        """Change an interface; None leaves a property alone, `master=""` releases it."""

    def add_alternative_name(self, name: str, alternative: str) -> None:
        """Let an interface be found by another name, too."""

    def add_address(self, name: str, address: str) -> None:
        """Give an interface an address (CIDR)."""

    def add_route(
        self, name: str, to: str, *, via: str | None = None, metric: int | None = None, on_link: bool = False
    ) -> None:
        """Add a route through an interface. `to` is CIDR."""

    def open_network_news(self) -> int:
        """Return a descriptor that becomes readable when links or addresses changed (non-blocking)."""

    def set_hostname(self, name: str) -> None:
        """sethostname(2)."""
