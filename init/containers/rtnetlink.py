"""The few rtnetlink(7) requests that give a container its place on the bridge; standard library only.

    struct nlmsghdr   u32 length, u16 type, u16 flags, u32 sequence, u32 port
    struct ifinfomsg  u8 family, u8 pad, u16 type, s32 index, u32 flags, u32 change
    struct ifaddrmsg  u8 family, u8 prefix, u8 flags, u8 scope, u32 index
    struct rtmsg      u8 family, u8 dst_len, u8 src_len, u8 tos, u8 table, u8 protocol, u8 scope, u8 type, u32 flags
    struct rtattr     u16 length, u16 type, then the value, padded to four bytes

A socket belongs to the network namespace in which it was opened, whatever its process does later.
"""

from __future__ import annotations

import _socket as socket  # `socket` itself takes as long to import as the rest of the program
import errno
import os
import struct

from init.formats.netlinkattributes import attribute, nested, text

_ERROR, _DONE = 2, 3
_NEWLINK, _DELLINK, _GETLINK, _SETLINK, _NEWADDR, _NEWROUTE = 16, 17, 18, 19, 20, 24
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_NET_NS_PID = 1, 3, 10, 18, 19
_IFLA_PROTINFO, _BRPORT_MODE = 12, 4
_INFO_KIND, _INFO_DATA, _VETH_INFO_PEER = 1, 2, 1
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_NODAD = 0x02  # no duplicate address detection: the address works at once
_RTA_OIF, _RTA_GATEWAY = 4, 5
_UP = 1
_AF_BRIDGE = 7


class Netlink:
    """One rtnetlink socket. Every method raises OSError where the kernel refuses."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        self._sequence = 0

    def close(self) -> None:
        """Give the socket back."""
        self._socket.close()

    def index(self, name: str) -> int:
        """Return an interface's index."""
        body = _no_link() + attribute(_IFLA_IFNAME, text(name))
        answer = self._call(_GETLINK, 0, body)
        return int(struct.unpack_from("=i", answer, 4)[0])

    def add_bridge(self, name: str, mac: str) -> None:
        """Make a bridge; it is no error that it is there."""
        attributes = attribute(_IFLA_IFNAME, text(name)) + attribute(_IFLA_ADDRESS, _mac(mac))
        attributes += attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, text("bridge")))
        self._unless_there(_NEWLINK, _no_link() + attributes)

    def add_veth(self, name: str, *, master: int, peer: str, peer_mac: str, peer_pid: int) -> None:
        """Make a pair: `name` here, below the bridge with index `master`, `peer` in the namespace of `peer_pid`."""
        other = _no_link() + attribute(_IFLA_IFNAME, text(peer))
        other += attribute(_IFLA_ADDRESS, _mac(peer_mac)) + attribute(_IFLA_NET_NS_PID, struct.pack("=I", peer_pid))
        data = attribute(_INFO_DATA, attribute(_VETH_INFO_PEER, other))
        info = attribute(_IFLA_LINKINFO, attribute(_INFO_KIND, text("veth")) + data)
        attributes = attribute(_IFLA_IFNAME, text(name)) + attribute(_IFLA_MASTER, struct.pack("=I", master)) + info
        self._call(_NEWLINK, _ACK | _CREATE | _EXCL, struct.pack("=BBHiII", 0, 0, 0, 0, _UP, _UP) + attributes)

    def hairpin(self, index: int) -> None:
        """Let a bridge send a frame back through the port that it came from.

        With br_netfilter a container that asks for its own published port is answered inside the bridge.
        """
        mode = nested(_IFLA_PROTINFO, attribute(_BRPORT_MODE, b"\1"))
        self._call(_SETLINK, _ACK, struct.pack("=BBHiII", _AF_BRIDGE, 0, 0, index, 0, 0) + mode)

    def remove(self, name: str) -> None:
        """Take an interface away; it is no error that there is none.

        The kernel takes a dead container's interface away in its own time, mostly after the next one starts.
        """
        try:
            self._call(_DELLINK, _ACK, _no_link() + attribute(_IFLA_IFNAME, text(name)))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise

    def up(self, index: int) -> None:
        """Set an interface up."""
        self._call(_NEWLINK, _ACK, struct.pack("=BBHiII", 0, 0, 0, index, _UP, _UP))

    def add_address(self, index: int, address: str, prefix: int) -> None:
        """Give an interface an address; it is no error that it has it."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        raw = socket.inet_pton(family, address)
        body = struct.pack("=BBBBI", family, prefix, 0, 0, index)
        body += attribute(_IFA_LOCAL, raw) + attribute(_IFA_ADDRESS, raw)
        if family == socket.AF_INET6:
            body += attribute(_IFA_FLAGS, struct.pack("=I", _IFA_F_NODAD))
        self._unless_there(_NEWADDR, body)

    def add_default_route(self, index: int, gateway: str) -> None:
        """Send everything that no other route covers to `gateway`."""
        family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
        main_table, static, universe, unicast = 254, 4, 0, 1
        body = struct.pack("=BBBBBBBBI", family, 0, 0, 0, main_table, static, universe, unicast, 0)
        body += attribute(_RTA_GATEWAY, socket.inet_pton(family, gateway))
        body += attribute(_RTA_OIF, struct.pack("=I", index))
        self._unless_there(_NEWROUTE, body)

    def _unless_there(self, kind: int, body: bytes) -> None:
        try:
            self._call(kind, _ACK | _CREATE | _EXCL, body)
        except FileExistsError:
            return

    def _call(self, kind: int, flags: int, body: bytes) -> bytes:
        """Send one request; return the body of its answer."""
        self._sequence += 1
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST, self._sequence, 0) + body)
        answer = self._socket.recv(1 << 16)
        _, answer_kind, _, _, _ = struct.unpack_from("=IHHII", answer)
        if answer_kind == _ERROR:
            code = -int(struct.unpack_from("=i", answer, 16)[0])
            if code:
                raise OSError(code, os.strerror(code))
        elif answer_kind == _DONE:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return answer[16:]


def _no_link() -> bytes:
    return struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0)


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))
