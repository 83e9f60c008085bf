"""Published ports and masquerading as nftables rules: text for `nft -f -`, no I/O.

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

from init.containers.addresses import BRIDGE, PREFIX4, PREFIX6, SUBNET4, SUBNET6

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.containers.addresses import Address
    from init.formats.machine import Port

_SHARED = f"""\
destroy table inet berth
table inet berth {{
  chain raw {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{BRIDGE}" ip daddr 127.0.0.0/8 drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname != "{BRIDGE}" accept
    iifname "{BRIDGE}" accept
    ct state established,related accept
    ct status dnat accept
    drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "{BRIDGE}" ip saddr {SUBNET4}/{PREFIX4} masquerade
    oifname != "{BRIDGE}" ip6 saddr {SUBNET6}/{PREFIX6} masquerade
    oifname "{BRIDGE}" ip saddr 127.0.0.0/8 masquerade
    oifname "{BRIDGE}" ip saddr {SUBNET4}/{PREFIX4} ct status dnat masquerade
    oifname "{BRIDGE}" ip6 saddr {SUBNET6}/{PREFIX6} ct status dnat masquerade
  }}
}}
"""


def table_of(name: str) -> str:
    """Return the name of a container's own table."""
    return f"berth-{name}"


def ruleset(name: str, address: Address, ports: tuple[Port, ...]) -> str:
    """Return what `nft -f -` has to read before the container starts."""
    if not ports:
        return _SHARED
    rules = [rule for port in ports for rule in _rules(address, port)]
    lines = [
        f"destroy table inet {table_of(name)}",
        f"table inet {table_of(name)} {{",
        "  chain published {",
        *(f"    {rule}" for rule in rules),
        "  }",
    ]
    for hook in ("prerouting", "output"):
        lines += [
            f"  chain {hook} {{",
            f"    type nat hook {hook} priority dstnat; policy accept;",
            "    fib daddr type local jump published",
            "  }",
        ]
    return _SHARED + "\n".join([*lines, "}"]) + "\n"


def _rules(address: Address, port: Port) -> list[str]:
    """Return the rules of one port: both families, or the family of the address that it is bound to."""
    match = f"{port.protocol} dport {port.host}"
    to4 = f"dnat ip to {address.ipv4}:{port.container}"
    to6 = f"dnat ip6 to [{address.ipv6}]:{port.container}"
    if port.address in ("", "*"):
        return [f"meta nfproto ipv4 {match} {to4}", f"meta nfproto ipv6 {match} {to6}"]
    if ":" in port.address:
        own = port.address.strip("[]")
        return [f"meta nfproto ipv6 {match} {to6}"] if own == "::" else [f"ip6 daddr {own} {match} {to6}"]
    if port.address == "0.0.0.0":  # noqa: S104 - what the user wrote
        return [f"meta nfproto ipv4 {match} {to4}"]
    return [f"ip daddr {port.address} {match} {to4}"]
