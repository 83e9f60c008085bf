"""A router and DHCPv6 server at the end of a guest's wire: QEMU hands over each frame as one UDP packet on loopback.

It answers router solicitations (RFC 4861; the flag M sends the guest to DHCPv6) and the four messages of a lease
(RFC 8415); name servers and domains are told to who asks for them alone. Everything else that a guest sends is left
unanswered.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import threading

ADDRESS, NAME_SERVER, DOMAIN = "2001:db8:6::1234", "2001:db8:6::53", "six.example"
_MAC = bytes.fromhex("525400000606")
_OWN = ipaddress.IPv6Address("fe80::6:6").packed
_DUID = b"\0\3\0\1" + _MAC
_ETHERTYPE = 0x86DD
_ICMP, _UDP = 58, 17
_SOLICITATION, _ADVERTISEMENT = 133, 134
_SOLICIT, _ADVERTISE, _REQUEST, _REPLY = 1, 2, 3, 7
_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_ADDRESS, _ASKED, _SERVERS, _SEARCH = 1, 2, 3, 5, 6, 23, 24


class Dhcp6:
    """The server under way; `netdev(name)` is what QEMU is told. Each guest is answered where its frames come from."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.given: list[bytes] = []  # the MAC addresses that have a lease
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def netdev(self, name: str) -> str:
        """Return the value of a `-netdev` whose other end this is."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            local = free.getsockname()[1]
        ends = (("local", local), ("remote", self._socket.getsockname()[1]))
        return f"dgram,id={name}" + "".join(
            f",{end}.type=inet,{end}.host=127.0.0.1,{end}.port={port}" for end, port in ends
        )

    def stop(self) -> None:
        """End it."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waking:
            waking.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            frame, guest = self._socket.recvfrom(1 << 16)
            if not frame:
                return
            answer = self._answer(frame)
            if answer is not None:
                self._socket.sendto(answer, guest)

    def _answer(self, frame: bytes) -> bytes | None:
        """Return the frame that answers another, if one does."""
        if len(frame) < 62 or struct.unpack_from("!H", frame, 12)[0] != _ETHERTYPE:
            return None
        mac, source, following, body = frame[6:12], frame[22:38], frame[20], frame[54:]
        if following == _ICMP and body[0] == _SOLICITATION:
            if source == bytes(16):  # a guest without an address yet: to all nodes
                mac, source = bytes.fromhex("333300000001"), ipaddress.IPv6Address("ff02::1").packed
            # hop limit 64, flags M and O, router for 1800 s; reachable and retransmission times as they are
            return _frame(mac, source, _ICMP, struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, 0xC0, 1800, 0, 0), 2)
        if following == _UDP and struct.unpack_from("!H", body, 2)[0] == 547:
            message = self._leased(mac, body[8:])
            if message is not None:
                udp = struct.pack("!HHHH", 547, 546, 8 + len(message), 0) + message
                return _frame(mac, source, _UDP, udp, 6)
        return None

    def _leased(self, mac: bytes, message: bytes) -> bytes | None:
        kind = {_SOLICIT: _ADVERTISE, _REQUEST: _REPLY}.get(message[0])
        said = _options(message[4:])
        if kind is None or _IA_NA not in said:
            return None
        if kind == _REPLY:
            self.given.append(mac)
        lease = _option(_IA_ADDRESS, ipaddress.IPv6Address(ADDRESS).packed + struct.pack("!II", 3600, 7200))
        asked = {code for (code,) in struct.iter_unpack("!H", said.get(_ASKED, b""))}
        domain = b"".join(bytes([len(word)]) + word.encode() for word in DOMAIN.split(".")) + b"\0"
        more = {_SERVERS: ipaddress.IPv6Address(NAME_SERVER).packed, _SEARCH: domain}
        return b"".join((
            bytes([kind]), message[1:4], _option(_CLIENT_ID, said[_CLIENT_ID]), _option(_SERVER_ID, _DUID),
            _option(_IA_NA, said[_IA_NA][:4] + struct.pack("!II", 1800, 2880) + lease),
            *(_option(code, data) for code, data in more.items() if code in asked),
        ))  # fmt: skip


def _options(data: bytes) -> dict[int, bytes]:
    found = {}
    while len(data) >= 4:
        code, size = struct.unpack_from("!HH", data)
        found[code] = data[4 : 4 + size]
        data = data[4 + size :]
    return found


def _option(code: int, data: bytes) -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def _frame(mac: bytes, to: bytes, following: int, body: bytes, checksum_at: int) -> bytes:
    """Return the frame with the checksum that UDP and ICMPv6 share (RFC 8200, 8.1) at its place in the body."""
    covered = _OWN + to + struct.pack("!II", len(body), following) + body + bytes(len(body) % 2)
    total = sum(struct.unpack(f"!{len(covered) // 2}H", covered))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    whole = body[:checksum_at] + struct.pack("!H", ~total & 0xFFFF or 0xFFFF) + body[checksum_at + 2 :]
    head = struct.pack("!IHBB", 6 << 28, len(whole), following, 255)
    return mac + _MAC + struct.pack("!H", _ETHERTYPE) + head + _OWN + to + whole
