"""The few requests of nf_tables that publish a container's ports; standard library only.

    struct nlmsghdr   u32 length, u16 type, u16 flags, u32 sequence, u32 port
    struct nfgenmsg   u8 family, u8 version, u16 resource, in network order
    struct nlattr     u16 length, u16 type, then the value, padded to four bytes; numbers in network order

The names and numbers are those of linux/netfilter/nfnetlink.h and nf_tables.h. Tables are replaced in one batch, which
the kernel takes as a whole or not at all. A rule is its expressions one behind the other: each match loads something
into a register and compares it, and the last one decides.
"""

from __future__ import annotations

import _socket as socket  # `socket` itself takes as long to import as the rest of the program
import os
import struct
from dataclasses import dataclass

from init.formats.netlinkattributes import attribute, nested, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

NETLINK_NETFILTER = 12
_NFTABLES = 10  # the subsystem, in a message's type and as a batch's resource
_ERROR, _BATCH_BEGIN, _BATCH_END = 2, 16, 17
_NEWTABLE, _NEWCHAIN, _NEWRULE, _DESTROYTABLE = 0, 3, 6, 26
_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_INET = 1  # both families

_TABLE_NAME = 1
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_EXPRESSION, _EXPRESSION_NAME, _EXPRESSION_DATA = 1, 1, 2
_DATA_VALUE, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 1, 2, 1, 2

_VERDICT, _FIRST, _SECOND = 0, 1, 2  # registers; those for values have 16 bytes
_EQUAL, _UNEQUAL = 0, 1
_IIFNAME, _OIFNAME, _NFPROTO, _L4PROTO = 6, 7, 15, 16  # keys of `meta`
_NETWORK, _TRANSPORT = 1, 2  # headers
_STATE, _STATUS = 0, 2  # keys of `ct`
_ESTABLISHED, _RELATED = 1 << 1, 1 << 2
_TRANSLATED = 1 << 5  # IPS_DST_NAT
_NFPROTO_OF = {socket.AF_INET: 2, socket.AF_INET6: 10}
_PROTOCOLS = {"tcp": 6, "udp": 17}
_SOURCE_AT = {socket.AF_INET: 12, socket.AF_INET6: 8}  # offsets in the network header
_DESTINATION_AT = {socket.AF_INET: 16, socket.AF_INET6: 24}
_NAME_BYTES = 16  # IFNAMSIZ
_DROP, _ACCEPT, _JUMP = 0, 1, -3
_LOCAL = 2  # RTN_LOCAL

HOOKS = {"prerouting": 0, "forward": 2, "output": 3, "postrouting": 4}  # linux/netfilter.h, NF_INET_…
PRIORITIES = {"raw": -300, "dstnat": -100, "filter": 0, "srcnat": 100}


@dataclass(frozen=True, kw_only=True, slots=True)
class Hook:
    """Where in a packet's way a chain stands. `kind` is `filter` or `nat`, the others are keys of the tables above."""

    kind: str
    place: str
    priority: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """A chain and its rules, each the expressions that the functions below return. Its policy is to accept."""

    name: str
    rules: tuple[bytes, ...]
    hook: Hook | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of the family `inet`."""

    name: str
    chains: tuple[Chain, ...]


def _nest(kind: int, *attributes: bytes) -> bytes:
    return nested(kind, b"".join(attributes))


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("!I", value & 0xFFFFFFFF))


# --- expressions ---


def _expression(name: str, *attributes: bytes) -> bytes:
    return _nest(_EXPRESSION, attribute(_EXPRESSION_NAME, text(name)), _nest(_EXPRESSION_DATA, *attributes))


def _compare(value: bytes, how: int = _EQUAL) -> bytes:
    return _expression("cmp", _number(1, _FIRST), _number(2, how), _nest(3, attribute(_DATA_VALUE, value)))


def _meta(key: int) -> bytes:
    return _expression("meta", _number(1, _FIRST), _number(2, key))


def _payload(header: int, offset: int, length: int) -> bytes:
    return _expression("payload", _number(1, _FIRST), _number(2, header), _number(3, offset), _number(4, length))


def _immediate(register: int, value: bytes) -> bytes:
    return _expression("immediate", _number(1, register), _nest(2, attribute(_DATA_VALUE, value)))


def _decide(code: int, *more: bytes) -> bytes:
    verdict = _nest(_DATA_VERDICT, _number(_VERDICT_CODE, code), *more)
    return _expression("immediate", _number(1, _VERDICT), _nest(2, verdict))


def _any_bit(bits: int) -> bytes:
    """Return a match: one of the bits is set in what was loaded, a number in this machine's order."""
    mask, zero = struct.pack("=I", bits), bytes(4)
    both = (_nest(4, attribute(_DATA_VALUE, mask)), _nest(5, attribute(_DATA_VALUE, zero)))
    return _expression("bitwise", _number(1, _FIRST), _number(2, _FIRST), _number(3, 4), *both) + _compare(
        zero, _UNEQUAL
    )


def comes_in_by(interface: str) -> bytes:
    """Match a packet by the interface that it came from."""
    return _meta(_IIFNAME) + _compare(interface.encode().ljust(_NAME_BYTES, b"\0"))


def goes_out_by(interface: str, *, other: bool = False) -> bytes:
    """Match a packet by the interface that it leaves by, or by its leaving by an `other` one."""
    return _meta(_OIFNAME) + _compare(interface.encode().ljust(_NAME_BYTES, b"\0"), _UNEQUAL if other else _EQUAL)


def of_family(family: int) -> bytes:
    """Match IPv4 (`AF_INET`) or IPv6 (`AF_INET6`)."""
    return _meta(_NFPROTO) + _compare(bytes([_NFPROTO_OF[family]]))


def source_in(network: str, prefix: int) -> bytes:
    """Match a source address by its first `prefix` bits, whole bytes."""
    return _address(_SOURCE_AT, network, prefix)


def destination_in(network: str, prefix: int | None = None) -> bytes:
    """Match a destination address, whole or by its first `prefix` bits, whole bytes."""
    return _address(_DESTINATION_AT, network, prefix)


def _address(offsets: dict[int, int], network: str, prefix: int | None) -> bytes:
    family = family_of(network)
    raw = socket.inet_pton(family, network)
    length, rest = divmod(len(raw) * 8 if prefix is None else prefix, 8)
    assert not rest
    return of_family(family) + _payload(_NETWORK, offsets[family], length) + _compare(raw[:length])


def to_port(protocol: str, number: int) -> bytes:
    """Match a destination port of `tcp` or `udp`."""
    header = _meta(_L4PROTO) + _compare(bytes([_PROTOCOLS[protocol]]))
    return header + _payload(_TRANSPORT, 2, 2) + _compare(struct.pack("!H", number))


def to_this_machine() -> bytes:
    """Match a destination that is an address of this machine."""
    by_destination, address_type = 1 << 1, 3
    looked_up = _expression("fib", _number(1, _FIRST), _number(2, address_type), _number(3, by_destination))
    return looked_up + _compare(struct.pack("=I", _LOCAL))


def of_known_connection() -> bytes:
    """Match what belongs to a connection that was let in, or is related to one."""
    return _expression("ct", _number(1, _FIRST), _number(2, _STATE)) + _any_bit(_ESTABLISHED | _RELATED)


def of_translated_connection() -> bytes:
    """Match what belongs to a connection whose destination was rewritten."""
    return _expression("ct", _number(1, _FIRST), _number(2, _STATUS)) + _any_bit(_TRANSLATED)


def accept() -> bytes:
    """Let the packet pass this chain's hook."""
    return _decide(_ACCEPT)


def drop() -> bytes:
    """Drop the packet."""
    return _decide(_DROP)


def jump(chain: str) -> bytes:
    """Go on in another chain of the table."""
    return _decide(_JUMP, attribute(_VERDICT_CHAIN, text(chain)))


def masquerade() -> bytes:
    """Give the packet the address of the interface that it leaves by."""
    return _expression("masq")


def send_to(address: str, port: int) -> bytes:
    """Rewrite the packet's destination."""
    family, destination = family_of(address), 1
    loaded = _immediate(_FIRST, socket.inet_pton(family, address)) + _immediate(_SECOND, struct.pack("!H", port))
    kind = (_number(1, destination), _number(2, _NFPROTO_OF[family]))
    return loaded + _expression("nat", *kind, _number(3, _FIRST), _number(5, _SECOND))


def family_of(address: str) -> int:
    """Return an address's family."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


# --- transactions ---


def replace(tables: Iterable[Table]) -> bytes:
    """Return the batch that makes tables anew, whatever there is of their names."""
    messages: list[tuple[int, int, bytes]] = []
    for table in tables:
        name = attribute(_TABLE_NAME, text(table.name))
        messages += [(_DESTROYTABLE, 0, name), (_NEWTABLE, _CREATE, name)]
        messages += [(_NEWCHAIN, _CREATE, _chain(table.name, chain)) for chain in table.chains]
        messages += [
            (_NEWRULE, _CREATE | _APPEND, _rule(table.name, chain.name, rule))
            for chain in table.chains
            for rule in chain.rules
        ]
    return _batch(messages)


def destroy(table: str) -> bytes:
    """Return the batch that takes a table away; it is no error that there is none."""
    return _batch([(_DESTROYTABLE, 0, attribute(_TABLE_NAME, text(table)))])


def _chain(table: str, chain: Chain) -> bytes:
    body = attribute(_CHAIN_TABLE, text(table)) + attribute(_CHAIN_NAME, text(chain.name))
    if chain.hook is not None:
        place = _number(_HOOK_NUMBER, HOOKS[chain.hook.place])
        body += _nest(_CHAIN_HOOK, place, _number(_HOOK_PRIORITY, PRIORITIES[chain.hook.priority]))
        body += _number(_CHAIN_POLICY, _ACCEPT) + attribute(_CHAIN_TYPE, text(chain.hook.kind))
    return body


def _rule(table: str, chain: str, expressions: bytes) -> bytes:
    return (
        attribute(_RULE_TABLE, text(table))
        + attribute(_RULE_CHAIN, text(chain))
        + _nest(_RULE_EXPRESSIONS, expressions)
    )


def _batch(messages: list[tuple[int, int, bytes]]) -> bytes:
    edge = struct.pack("!BBH", 0, 0, _NFTABLES)
    body = [_message(_BATCH_BEGIN, _REQUEST, 0, edge)]
    for sequence, (kind, flags, attributes) in enumerate(messages, 1):
        whole = struct.pack("!BBH", _INET, 0, 0) + attributes
        # Errors are answered whether asked or not; answers of thousands of rules would not fit into the socket.
        asked = _REQUEST | _ACK if sequence == len(messages) else _REQUEST
        body.append(_message(_NFTABLES << 8 | kind, flags | asked, sequence, whole))
    body.append(_message(_BATCH_END, _REQUEST, len(messages) + 1, edge))
    return b"".join(body)


def _message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


def commit(batch: bytes) -> None:
    """Let the kernel take a batch, in the network namespace that this process is in.

    Raises OSError where it refuses; then nothing has changed.
    """
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    try:
        opened.bind((0, 0))
        _make_room(opened, 2 * len(batch))
        opened.send(batch)
        last = _last_sequence(batch)
        # All answers are there when `send` returns: each error's, in order, and the last message's.
        while True:
            answers = opened.recv(1 << 16)
            while answers:
                length, kind, _, sequence, _ = struct.unpack_from("=IHHII", answers)
                code = -int(struct.unpack_from("=i", answers, 16)[0]) if kind == _ERROR else 0
                if code:
                    raise OSError(code, os.strerror(code))
                if sequence == last:
                    return
                answers = answers[length + -length % 4 :]
    finally:
        opened.close()


def _make_room(opened: socket.socket, size: int) -> None:
    """Let a batch of so many bytes be sent in one piece; the kernel counts its own bookkeeping, too."""
    beyond_limit = 32  # SO_SNDBUFFORCE, for the machine's own root
    try:
        opened.setsockopt(socket.SOL_SOCKET, beyond_limit, size)
    except PermissionError:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)


def _last_sequence(batch: bytes) -> int:
    """Return the sequence number of the last message that is answered: the one before the batch's end."""
    end = struct.unpack_from("=IHHII", batch, len(batch) - 20)
    return int(end[3]) - 1
