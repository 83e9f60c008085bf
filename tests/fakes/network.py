"""Interfaces, addresses and routes in memory."""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import Any

from fakes.recording import Recorder, recorded
from fakes.tree import refuse

from init.pid1.links import AddressState, LinkState


class FakeNetwork(Recorder):
    """The network's share of `FakeSystem`."""

    interfaces: list[LinkState]
    addressed: list[tuple[str, str]]
    routes: list[tuple[str, str, str | None]]
    hostname: str

    def _number(self, what: str) -> int:
        raise NotImplementedError

    def _interface(self, name: str) -> int:
        for place, link in enumerate(self.interfaces):
            if name == link.name or name in link.alternative_names:
                return place
        raise refuse(errno.ENODEV, name)

    @recorded
    def links(self) -> tuple[LinkState, ...]:
        return tuple(self.interfaces)

    @recorded
    def addresses(self) -> tuple[AddressState, ...]:
        return tuple(
            AddressState(index=self.interfaces[self._interface(name)].index, address=a, scope="global", tentative=False)
            for name, a in self.addressed
        )

    @recorded
    def add_link(self, name: str, kind: str, *, parent: str = "", vlan: int = 0, peer: str = "") -> None:
        if parent:
            self._interface(parent)
        for new in filter(None, (name, peer)):
            self.interfaces.append(fake_link(len(self.interfaces) + 1, new, kind=kind))

    @recorded
    def remove_link(self, name: str) -> None:
        del self.interfaces[self._interface(name)]

    @recorded
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
        place = self._interface(name)
        link = self.interfaces[place]
        above = link.master
        if master is not None:
            above = self.interfaces[self._interface(master)].index if master else 0
        self.interfaces[place] = replace(
            link,
            up=link.up if up is None else up,
            mtu=mtu or link.mtu,
            mac=mac or link.mac,
            name=rename or link.name,
            master=above,
        )

    @recorded
    def add_alternative_name(self, name: str, alternative: str) -> None:
        place = self._interface(name)
        link = self.interfaces[place]
        self.interfaces[place] = replace(link, alternative_names=(*link.alternative_names, alternative))

    @recorded
    def add_address(self, name: str, address: str) -> None:
        self._interface(name)
        self.addressed.append((name, address))

    @recorded
    def add_route(
        self, name: str, to: str, *, via: str | None = None, metric: int | None = None, on_link: bool = False
    ) -> None:
        self._interface(name)
        self.routes.append((name, to, via))

    @recorded
    def open_network_news(self) -> int:
        return self._number("network")

    @recorded
    def set_hostname(self, name: str) -> None:
        self.hostname = name


def fake_link(index: int, name: str, *, kind: str = "", mac: str = "", **more: Any) -> LinkState:
    """Return an Ethernet interface with a carrier."""
    fields: dict[str, Any] = {
        "index": index,
        "name": name,
        "mac": mac or f"52:54:00:00:00:{index:02x}",
        "mtu": 1500,
        "up": False,
        "carrier": True,
        "loopback": name == "lo",
        "kind": kind,
        "master": 0,
        "ethernet": name != "lo",
        **more,
    }
    return LinkState(**fields)
