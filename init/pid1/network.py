"""From the configuration's `Network` and the interfaces that there are to what is to be done. Pure, but for `apply`.

In this order, for each step needs those before it: names and MACs, virtual links, members into bonds, VLANs, members
into bridges, all links up, addresses, routes, then DHCP for those that want it. What fails is said, and the rest is
done: half a network is what lets the operator in.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats.machine import Link, Network
from init.pid1 import dhcp, linkparameters
from init.pid1.modules import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.formats.service import Service
    from init.pid1.links import AddressState, LinkState
    from init.pid1.system import Early

_ACCEPT_RA = "/proc/sys/net/ipv6/conf/{}/accept_ra"


@dataclass(frozen=True, kw_only=True, slots=True)
class AlternativeName:
    """Let `link` be found as `name`, too."""

    link: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rename:
    """Call `link` `name` from here on."""

    link: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeLink:
    """Make a virtual link; `parent` and `vlan` are a VLAN's."""

    name: str
    kind: str
    parent: str = ""
    vlan: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class SetLink:
    """Change a link: None and the empty text leave a property alone."""

    link: str
    up: bool | None = None
    mtu: int | None = None
    mac: str | None = None
    master: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveAddress:
    """Give `link` an address (CIDR)."""

    link: str
    address: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AddRoute:
    """Reach `to` through `link`."""

    link: str
    to: str
    via: str | None
    metric: int | None
    on_link: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class WriteText:
    """Put a text into a file of the kernel's (`mode` None), or into one that is made whole.

    `keep` leaves alone what is there: resolv.conf belongs to the DHCP client once it has a lease.
    """

    path: str
    text: str
    mode: int | None = None
    keep: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class MakeFolder:
    """Make a folder."""

    path: str


Action = AlternativeName | Rename | MakeLink | SetLink | GiveAddress | AddRoute | WriteText | MakeFolder


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to do, in order; the services that go with it; and a sentence for each thing that can't be done.

    `leases` says how the names of the files end of which one tells that a network has said what its name servers are.
    """

    actions: tuple[Action, ...]
    services: tuple[Service, ...]
    missing: tuple[str, ...]
    leases: tuple[str, ...]


def plan(network: Network, links: tuple[LinkState, ...], names: Mapping[str, tuple[str, ...]]) -> Plan:
    """Return what brings the network up. `names` are the links' other names (`linknames.read`)."""
    hardware = [link for link in links if not link.kind and not link.loopback and link.ethernet]
    found, missing = _match(network.links, hardware, names)
    final = _final_names(network.links, found, hardware)
    called = {link.name: _called(link, found, final) for link in network.links}
    present = [link for link in network.links if link.kind != "physical" or link.name in found]
    actions: list[Action] = [
        AlternativeName(link=link.name, name=other)
        for link in hardware
        for other in names.get(link.name, ())
        if other not in link.alternative_names and other not in final.values()
    ]
    actions += _renames(final)
    actions += [SetLink(link="lo", up=True)]
    actions += _virtual(present, called, missing, _already(links))
    for link in present:
        actions += _settings(link, called[link.name])
    matched = {final.get(state.name, state.name) for state in found.values()}
    rest = [final.get(link.name, link.name) for link in hardware]
    others = [name for name in rest if name not in matched] if network.default_dhcp else []
    actions += [SetLink(link=name, up=True) for name in others]
    clients, taken = _clients(present, called)
    asking = bool(clients) or network.default_dhcp
    actions += _resolving(network, present, keep=asking)
    services: tuple[Service, ...] = ()
    if asking:
        text = dhcp.configuration(clients, hardware=network.default_dhcp, never=taken)
        actions += [MakeFolder(path=path) for path in dhcp.FOLDERS]
        actions += [
            WriteText(path=dhcp.CONFIGURATION, text=text, mode=0o644),
            WriteText(path=dhcp.HOOK, text=dhcp.HOOK_TEXT, mode=0o755),
        ]
        services = (dhcp.service(),)
    leases = dhcp.leases(clients, hardware=network.default_dhcp)
    return Plan(actions=tuple(actions), services=services, missing=tuple(missing), leases=leases)


def _match(
    wanted: tuple[Link, ...], hardware: list[LinkState], names: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, LinkState], list[str]]:
    """Find the card of each physical link: by MAC, else by a pattern, else by name; none is taken twice."""
    found: dict[str, LinkState] = {}
    missing = []
    free = list(hardware)
    physical = [link for link in wanted if link.kind == "physical"]
    # The surest first, so that a pattern never takes a card that another names.
    for link in sorted(physical, key=_looseness):
        card = next((state for state in free if _fits(link, state, names.get(state.name, ()))), None)
        if card is not None:
            found[link.name] = card
            free.remove(card)
        elif not link.optional:
            there = ", ".join("/".join((state.name, *names.get(state.name, ()))) for state in hardware)
            missing.append(f"network: there is no interface {_wish(link)}; there are: {there or 'none'}")
    return found, missing


def _looseness(link: Link) -> int:
    if link.match_mac is not None:
        return 0
    return 1 if link.match_name is None else 2 + any(mark in link.match_name for mark in "*?[")


def _fits(link: Link, state: LinkState, others: tuple[str, ...]) -> bool:
    if link.match_mac is not None:
        return (state.permanent or state.mac).lower() == link.match_mac.lower()
    everything = (state.name, *state.alternative_names, *others)
    if link.match_name is not None:
        mine = link.rename and state.name == link.name  # it was found and renamed before
        return mine or any(matches(link.match_name, name) for name in everything)
    return link.name in everything


def _wish(link: Link) -> str:
    if link.match_mac is not None:
        return f"with MAC {link.match_mac}"
    return f"like {link.match_name}" if link.match_name is not None else link.name


def _called(link: Link, found: Mapping[str, LinkState], final: Mapping[str, str]) -> str:
    """Return the name under which the kernel has a link when all renaming is done."""
    card = found.get(link.name)
    return final.get(card.name, card.name) if card is not None else link.name


def _final_names(wanted: tuple[Link, ...], found: Mapping[str, LinkState], hardware: list[LinkState]) -> dict[str, str]:
    """Return what each card is called afterwards, by the kernel's name, for those that change."""
    final = {
        found[link.name].name: link.name
        for link in wanted
        if link.name in found and link.rename and found[link.name].name != link.name
    }
    # A name that is wanted is taken from the card that has it by chance.
    for state in hardware:
        if state.name in final.values() and state.name not in final:
            final[state.name] = f"other{state.index}"
    return final


def _renames(final: Mapping[str, str]) -> list[Action]:
    """Rename in two steps where names are swapped: first all out of the way."""
    if not set(final) & set(final.values()):
        return [Rename(link=old, name=new) for old, new in final.items()]
    steps: list[Action] = [Rename(link=old, name=f"moving{n}") for n, old in enumerate(final)]
    return steps + [Rename(link=f"moving{n}", name=new) for n, new in enumerate(final.values())]


def _already(links: tuple[LinkState, ...]) -> dict[str, frozenset[str]]:
    """Return the members of each bond that is there: it takes no new mode, and a member must not go down for it."""
    names = {link.index: link.name for link in links if link.kind == "bond"}
    return {bond: frozenset(link.name for link in links if link.master == index) for index, bond in names.items()}


def _virtual(
    present: list[Link], called: Mapping[str, str], missing: list[str], there: Mapping[str, frozenset[str]]
) -> list[Action]:
    """Make bonds and bridges, put members into bonds, make VLANs, put members into bridges."""
    actions: list[Action] = []
    for link in present:
        if link.kind in ("bond", "bridge") and link.name not in there:
            actions.append(MakeLink(name=link.name, kind=link.kind))
            texts, problems = linkparameters.texts(link, called)
            actions += [WriteText(path=path, text=text) for path, text in texts]
            missing += problems
    for link in present:
        if link.kind == "bond":
            for member in _members(link, called):
                if member not in there.get(link.name, ()):
                    actions += [SetLink(link=member, up=False), SetLink(link=member, master=link.name)]
    # A VLAN may stand on another one: those whose parent is there come first.
    waiting = [link for link in present if link.kind == "vlan"]
    while waiting:
        names = {link.name for link in waiting}
        ready = [link for link in waiting if link.vlan_link not in names] or waiting
        for link in ready:
            parent = called.get(link.vlan_link or "", link.vlan_link or "")
            actions.append(MakeLink(name=link.name, kind="vlan", parent=parent, vlan=link.vlan_id or 0))
        waiting = [link for link in waiting if link not in ready]
    for link in present:
        if link.kind == "bridge":
            actions += [SetLink(link=member, master=link.name, up=True) for member in _members(link, called)]
            actions += [WriteText(path=path, text=text) for path, text in linkparameters.port_texts(link, called)]
    return actions


def _members(link: Link, called: Mapping[str, str]) -> list[str]:
    return [called.get(member, member) for member in link.members]


def _settings(link: Link, name: str) -> list[Action]:
    actions: list[Action] = []
    if link.mac is not None or link.mtu is not None:
        actions.append(SetLink(link=name, mac=link.mac, mtu=link.mtu))
    if link.accept_ra is not None:
        actions.append(WriteText(path=_ACCEPT_RA.format(name), text="2" if link.accept_ra else "0"))
    actions.append(SetLink(link=name, up=True))
    actions += [GiveAddress(link=name, address=address) for address in link.addresses]
    actions += [
        AddRoute(link=name, to=route.to, via=route.via, metric=route.metric, on_link=route.on_link)
        for route in link.routes
    ]
    return actions


def _clients(present: list[Link], called: Mapping[str, str]) -> tuple[list[dhcp.Client], list[str]]:
    """Return what dhcpcd serves by name, and the links that it must leave alone."""
    members = {called.get(member, member) for link in present for member in link.members}
    clients, taken = [], sorted(members)
    for link in present:
        name = called[link.name]
        if name in members:
            continue
        if link.dhcp4 or link.dhcp6 or link.accept_ra:
            clients.append(dhcp.Client(name=name, dhcp4=link.dhcp4, dhcp6=link.dhcp6, accept_ra=link.accept_ra))
        else:
            taken.append(name)
    return clients, taken


def _resolving(network: Network, present: list[Link], *, keep: bool) -> list[Action]:
    servers = [*network.nameservers, *(server for link in present for server in link.nameservers)]
    search = [*network.search, *(domain for link in present for domain in link.search)]
    text = dhcp.resolv_conf(servers, search)
    return [
        MakeFolder(path=dhcp.SERVERS),
        WriteText(path=dhcp.STATIC, text=text, mode=0o644),
        WriteText(path=dhcp.RESOLV_CONF, text=text, mode=0o644, keep=keep),
    ]


def apply(system: Early, actions: tuple[Action, ...]) -> tuple[str, ...]:
    """Do all that can be done; return a sentence for each action that failed."""
    problems = []
    for action in actions:
        try:
            _do(system, action)
        except OSError as error:
            problems.append(f"network: {action}: {error.strerror or error}")
    return tuple(problems)


def _do(system: Early, action: Action) -> None:
    match action:
        case AlternativeName(link=link, name=name):
            system.add_alternative_name(link, name)
        case Rename(link=link, name=name):
            system.set_link(link, rename=name)
        case MakeLink(name=name, kind=kind, parent=parent, vlan=vlan):
            system.add_link(name, kind, parent=parent, vlan=vlan)
        case SetLink(link=link, up=up, mtu=mtu, mac=mac, master=master):
            system.set_link(link, up=up, mtu=mtu, mac=mac, master=master)
        case GiveAddress(link=link, address=address):
            system.add_address(link, address)
        case AddRoute(link=link, to=to, via=via, metric=metric, on_link=on_link):
            system.add_route(link, to, via=via, metric=metric, on_link=on_link)
        case WriteText(path=path, text=text, mode=None):
            system.write(path, text.encode())
        case WriteText(path=path, text=text, mode=int(mode), keep=keep):
            if not (keep and system.exists(path)):
                system.replace(path, text.encode(), mode)
        case MakeFolder(path=path):
            system.make_folder(path)


def up(links: tuple[LinkState, ...], addresses: tuple[AddressState, ...]) -> dict[str, tuple[str, ...]]:
    """Return the links that have a carrier and an address for the world, with their addresses: what `network.up` tells.

    Bridges and veths of containers don't count, unless the configuration made them: they have no hardware below.
    """
    below = {link.master for link in links if not link.kind or link.kind in ("bond", "vlan")}
    real = {
        link.index: link.name
        for link in links
        if link.carrier and not link.loopback and (link.kind in ("", "bond", "vlan") or link.index in below)
    }
    found: dict[str, tuple[str, ...]] = {}
    for address in addresses:
        name = real.get(address.index)
        if name is not None and address.scope == "global" and not address.tentative:
            found[name] = (*found.get(name, ()), address.address)
    return found
