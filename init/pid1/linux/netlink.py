"""Interfaces, addresses and routes: the few rtnetlink messages that PID 1 needs (rtnetlink(7), linux/if_link.h).

Every request opens a socket of its own and waits for the kernel's answer, which comes at once: nothing is queued,
no answer can be taken for another's.
"""

from __future__ import annotations

import _socket
import errno
import os
import struct

from init.formats import netlinkattributes as attributes
from init.formats.netlinkattributes import attribute, nested, text
from init.pid1.links import AddressState, LinkState
from init.pid1.linux.closing import Closing

_AF_NETLINK, _NETLINK_ROUTE = 16, 0
_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _GETADDR, _NEWROUTE, _NEWLINKPROP = 16, 17, 18, 20, 22, 24, 108
_REQUEST, _ACK, _DUMP, _CREATE, _EXCLUSIVE, _APPEND, _REPLACE = 1, 4, 0x300, 0x400, 0x200, 0x800, 0x100
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ROUTE = struct.Struct("=BBBBBBBBI")
_IFF_UP, _IFF_LOOPBACK, _IFF_LOWER_UP = 1, 8, 0x10000
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO = 1, 3, 4, 5, 10, 18
_IFLA_PROP_LIST, _IFLA_ALT_IFNAME, _IFLA_PERM_ADDRESS = 52, 53, 54
_INFO_KIND, _INFO_DATA, _VLAN_ID, _VETH_PEER = 1, 2, 1, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS, _TENTATIVE = 1, 2, 8, 0x40
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTNH_F_ONLINK = 1, 4, 5, 6, 4
_TABLE_MAIN, _PROTOCOL_STATIC, _UNICAST = 254, 4, 1
_SCOPE_UNIVERSE, _SCOPE_LINK = 0, 253
_ARPHRD_ETHER = 1
_SCOPES = {0: "global", 200: "site", 253: "link", 254: "host"}
_GROUPS = 1 | 0x10 | 0x100  # RTMGRP_LINK, _IPV4_IFADDR, _IPV6_IFADDR


class NetworkCalls:
    """The body of `system.Network`."""

    def links(self) -> tuple[LinkState, ...]:
        """Return all interfaces, by index."""
        answers = _ask(_GETLINK, _DUMP, _LINK.pack(0, 0, 0, 0, 0))
        return tuple(sorted(map(_read_link, answers), key=lambda link: link.index))

    def addresses(self) -> tuple[AddressState, ...]:
        """Return all addresses."""
        return tuple(map(_read_address, _ask(_GETADDR, _DUMP, _ADDRESS.pack(0, 0, 0, 0, 0))))

    def add_link(self, name: str, kind: str, *, parent: str = "", vlan: int = 0, peer: str = "") -> None:
        """Make a bridge, bond, dummy, vlan or veth."""
        data = b""
        if kind == "vlan":
            data = nested(_INFO_DATA, attribute(_VLAN_ID, struct.pack("=H", vlan)))
        elif kind == "veth":
            other = _LINK.pack(0, 0, 0, 0, 0) + attribute(_IFLA_IFNAME, text(peer))
            data = nested(_INFO_DATA, attribute(_VETH_PEER, other))
        body = attribute(_IFLA_IFNAME, text(name))
        if parent:
            body += attribute(_IFLA_LINK, struct.pack("=I", index_of(parent)))
        body += nested(_IFLA_LINKINFO, attribute(_INFO_KIND, text(kind)) + data)
        _tell(_NEWLINK, _CREATE | _EXCLUSIVE, _LINK.pack(0, 0, 0, 0, 0) + body, name)

    def remove_link(self, name: str) -> None:
        """Take an interface away."""
        _tell(_DELLINK, 0, _LINK.pack(0, 0, index_of(name), 0, 0), name)

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
        """Change an interface."""
        body = b""
        if rename is not None:
            body += attribute(_IFLA_IFNAME, text(rename))
        if mtu is not None:
            body += attribute(_IFLA_MTU, struct.pack("=I", mtu))
        if mac is not None:
            body += attribute(_IFLA_ADDRESS, bytes.fromhex(mac.replace(":", "")))
        if master is not None:
            body += attribute(_IFLA_MASTER, struct.pack("=I", index_of(master) if master else 0))
        flags, change = (_IFF_UP if up else 0), (0 if up is None else _IFF_UP)
        _tell(_NEWLINK, 0, _LINK.pack(0, 0, index_of(name), flags, change) + body, name)

    def add_alternative_name(self, name: str, alternative: str) -> None:
        """Let an interface be found by another name, too."""
        body = nested(_IFLA_PROP_LIST, attribute(_IFLA_ALT_IFNAME, text(alternative)))
        _tell(_NEWLINKPROP, _CREATE | _EXCLUSIVE | _APPEND, _LINK.pack(0, 0, index_of(name), 0, 0) + body, name)

    def add_address(self, name: str, address: str) -> None:
        """Give an interface an address (CIDR)."""
        family, packed, length = parse_cidr(address)
        body = attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed)
        scope = 254 if packed[0] == 127 and family == _socket.AF_INET else 0
        message = _ADDRESS.pack(family, length, 0, scope, index_of(name)) + body
        _tell(_NEWADDR, _CREATE | _REPLACE, message, name)

    def add_route(
        self, name: str, to: str, *, via: str | None = None, metric: int | None = None, on_link: bool = False
    ) -> None:
        """Add a route through an interface."""
        family, packed, length = parse_cidr(to)
        scope = _SCOPE_UNIVERSE if via or family == _socket.AF_INET6 else _SCOPE_LINK
        message = _ROUTE.pack(
            family, length, 0, 0, _TABLE_MAIN, _PROTOCOL_STATIC, scope, _UNICAST,
            _RTNH_F_ONLINK if on_link and via else 0,
        )  # fmt: skip
        if length:
            message += attribute(_RTA_DST, packed)
        message += attribute(_RTA_OIF, struct.pack("=I", index_of(name)))
        if via:
            message += attribute(_RTA_GATEWAY, _pack_address(via)[1])
        if metric is not None:
            message += attribute(_RTA_PRIORITY, struct.pack("=I", metric))
        _tell(_NEWROUTE, _CREATE | _EXCLUSIVE, message, f"{to} on {name}")

    def open_network_news(self) -> int:
        """Return a descriptor that becomes readable when links or addresses changed."""
        news = _socket.socket(_AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        news.bind((0, _GROUPS))
        news.setblocking(False)
        return news.detach()

    def set_hostname(self, name: str) -> None:
        """sethostname(2)."""
        _socket.sethostname(name)


def index_of(name: str) -> int:
    """Return an interface's index; raise OSError (ENODEV) when there is none."""
    try:
        return _socket.if_nametoindex(name)
    except OSError as error:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), name) from error


def parse_cidr(text: str) -> tuple[int, bytes, int]:
    """Return family, packed address and prefix length; raise OSError (EINVAL) for anything else."""
    address, _, length = text.partition("/")
    family, packed = _pack_address(address)
    longest = len(packed) * 8
    if not length:
        return family, packed, longest
    if not length.isdecimal() or int(length) > longest:
        raise OSError(errno.EINVAL, "not an address with a prefix length", text)
    return family, packed, int(length)


def _pack_address(address: str) -> tuple[int, bytes]:
    family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
    try:
        return family, _socket.inet_pton(family, address)
    except (OSError, ValueError) as error:
        raise OSError(errno.EINVAL, "not an IP address", address) from error


def _read_link(body: bytes) -> LinkState:
    _, kind, index, flags, _ = _LINK.unpack_from(body)
    found = attributes.parse(body[_LINK.size :])
    info = attributes.parse(found.get(_IFLA_LINKINFO, b""))
    names = attributes.parse_all(found.get(_IFLA_PROP_LIST, b""))
    return LinkState(
        index=index,
        name=_text(found.get(_IFLA_IFNAME, b"")),
        mac=found.get(_IFLA_ADDRESS, b"").hex(":"),
        mtu=int.from_bytes(found.get(_IFLA_MTU, b""), "little"),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        loopback=bool(flags & _IFF_LOOPBACK),
        kind=_text(info.get(_INFO_KIND, b"")),
        master=int.from_bytes(found.get(_IFLA_MASTER, b""), "little"),
        ethernet=kind == _ARPHRD_ETHER,
        alternative_names=tuple(_text(value) for number, value in names if number == _IFLA_ALT_IFNAME),
        permanent=found.get(_IFLA_PERM_ADDRESS, b"").hex(":"),
    )


def _read_address(body: bytes) -> AddressState:
    family, length, short_flags, scope, index = _ADDRESS.unpack_from(body)
    found = attributes.parse(body[_ADDRESS.size :])
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    flags = int.from_bytes(found.get(_IFA_FLAGS, b""), "little") or short_flags
    return AddressState(
        index=index,
        address=f"{_socket.inet_ntop(family, packed)}/{length}",
        scope=_SCOPES.get(scope, str(scope)),
        tentative=bool(flags & _TENTATIVE),
    )


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace")


def _tell(kind: int, flags: int, body: bytes, what: str) -> None:
    """Ask for a change; that it is so already is no error."""
    try:
        _ask(kind, flags | _ACK, body)
    except OSError as error:
        if error.errno != errno.EEXIST:
            raise OSError(error.errno, error.strerror, what) from error


def _ask(kind: int, flags: int, body: bytes) -> list[bytes]:
    """Send one request and return the bodies of its answers, without their headers."""
    with Closing(_socket.socket(_AF_NETLINK, _socket.SOCK_RAW | _socket.SOCK_CLOEXEC, _NETLINK_ROUTE)) as talk:
        talk.bind((0, 0))
        talk.settimeout(5)  # the kernel answers within the call; this is for the day that it doesn't
        talk.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, 1, 0) + body)
        answers: list[bytes] = []
        while not _read_answers(talk.recv(1 << 17), answers):
            pass
        return answers


def _read_answers(data: bytes, answers: list[bytes]) -> bool:
    """Take one datagram apart; return whether it was the last."""
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        body = data[_HEADER.size : length]
        if kind == _ERROR:
            number = -struct.unpack_from("=i", body)[0]
            if number:
                raise OSError(number, os.strerror(number))
            return True
        if kind == _DONE:
            return True
        answers.append(body)
        data = data[(length + 3) & ~3 :]
    return False
