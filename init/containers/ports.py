"""Published ports and masquerading as tables of nf_tables, no I/O.

One table `berth` for what all containers share, one table `berth-NAME` for each container that publishes ports. Both
are replaced as a whole in one transaction, so a rule is never there twice and never half.

How a packet to a published port goes:
- from outside or from another container: `prerouting` rewrites the destination;
- from the machine itself, also to 127.0.0.1: `output` does; the bridge lets loopback addresses through
  (`route_localnet`), and `postrouting` gives them the bridge's own address as source;
- `raw` drops what a container sends to 127.0.0.0/8, for that is what `route_localnet` would let in (CVE-2020-8558);
- `forward` lets in answers and what was published, and nothing else.
"""

from __future__ import annotations

import _socket as socket  # `socket` itself takes as long to import as the rest of the program

from init.containers import nftables as nft
from init.containers.addresses import BRIDGE, PREFIX4, PREFIX6, SUBNET4, SUBNET6
from init.containers.nftables import Chain, Hook, Table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.containers.addresses import Address
    from init.formats.machine import Port

SHARED = "berth"
_LOOPBACK = ("127.0.0.0", 8)


def table_of(name: str) -> str:
    """Return the name of a container's own table."""
    return f"berth-{name}"


def tables(name: str, address: Address, ports: tuple[Port, ...]) -> tuple[Table, ...]:
    """Return the tables that have to be there before the container starts."""
    return (_shared(), _own(name, address, ports)) if ports else (_shared(),)


def _shared() -> Table:
    out, elsewhere = nft.goes_out_by(BRIDGE), nft.goes_out_by(BRIDGE, other=True)
    ours4, ours6 = nft.source_in(SUBNET4, PREFIX4), nft.source_in(SUBNET6, PREFIX6)
    published = nft.of_translated_connection()
    raw = (nft.comes_in_by(BRIDGE) + nft.destination_in(*_LOOPBACK) + nft.drop(),)
    forward = (
        elsewhere + nft.accept(),
        nft.comes_in_by(BRIDGE) + nft.accept(),
        nft.of_known_connection() + nft.accept(),
        published + nft.accept(),
        nft.drop(),
    )
    masqueraded = (
        elsewhere + ours4,
        elsewhere + ours6,
        out + nft.source_in(*_LOOPBACK),
        out + ours4 + published,
        out + ours6 + published,
    )
    return Table(
        name=SHARED,
        chains=(
            Chain(name="raw", hook=Hook(kind="filter", place="prerouting", priority="raw"), rules=raw),
            Chain(name="forward", hook=Hook(kind="filter", place="forward", priority="filter"), rules=forward),
            Chain(
                name="postrouting",
                hook=Hook(kind="nat", place="postrouting", priority="srcnat"),
                rules=tuple(match + nft.masquerade() for match in masqueraded),
            ),
        ),
    )


def _own(name: str, address: Address, ports: tuple[Port, ...]) -> Table:
    jump = (nft.to_this_machine() + nft.jump("published"),)
    hooked = (
        Chain(name=place, hook=Hook(kind="nat", place=place, priority="dstnat"), rules=jump)
        for place in ("prerouting", "output")
    )
    rules = tuple(rule for port in ports for rule in _rules(address, port))
    return Table(name=table_of(name), chains=(Chain(name="published", rules=rules), *hooked))


def _rules(address: Address, port: Port) -> list[bytes]:
    """Return the rules of one port: both families, or the family of the address that it is bound to."""
    match = nft.to_port(port.protocol, port.host)
    to4 = match + nft.send_to(address.ipv4, port.container)
    to6 = match + nft.send_to(address.ipv6, port.container)
    any4, any6 = nft.of_family(socket.AF_INET) + to4, nft.of_family(socket.AF_INET6) + to6
    if port.address in ("", "*"):
        return [any4, any6]
    if ":" in port.address:
        own = port.address.strip("[]")
        return [any6] if own == "::" else [nft.destination_in(own) + to6]
    if port.address == "0.0.0.0":  # noqa: S104 - what the user wrote
        return [any4]
    return [nft.destination_in(port.address) + to4]
