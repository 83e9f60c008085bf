"""Sockets by number: the control socket, the services' NOTIFY_SOCKETs, and what sshd listens on.

None of them ever waits; who is at the other end of a local one is asked of the kernel.
"""

from __future__ import annotations

import os
import socket
import struct

from init.pid1.system import Peer

_SO_PEERGROUPS = 59  # socket(7): the peer's supplementary groups, since Linux 4.13
_GROUPS_BYTES = 1024  # the most that Python lets one ask for: 256 groups; with more, none counts


class SocketCalls:
    """The body of `Sockets`."""

    def listen_local(self, path: str, mode: int) -> int:
        """See `Sockets.listen_local`."""
        return _local(socket.SOCK_STREAM, path, mode)

    def listen_datagrams(self, path: str, mode: int) -> int:
        """See `Sockets.listen_datagrams`."""
        return _local(socket.SOCK_DGRAM, path, mode)

    def listen_tcp(self, port: int) -> int:
        """See `Sockets.listen_tcp`."""
        family = socket.AF_INET6 if os.path.exists("/proc/net/if_inet6") else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind(("", port))
            listening.listen(16)
            return listening.detach()

    def accept(self, descriptor: int) -> tuple[int, str]:
        """See `Sockets.accept`."""
        with socket.socket(fileno=os.dup(descriptor)) as listening:
            connection, address = listening.accept()
        connection.setblocking(False)
        where = address[0] if isinstance(address, tuple) and address else ""
        return connection.detach(), str(where)

    def peer(self, descriptor: int) -> Peer:
        """See `Sockets.peer`."""
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            pid, uid, gid = struct.unpack("iii", data)
            try:
                more = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
            except OSError:
                more = b""
        groups = struct.unpack(f"{len(more) // 4}I", more)
        return Peer(pid=pid, uid=uid, groups=(gid, *groups))

    def receive(self, descriptor: int, limit: int) -> bytes:
        """See `Sockets.receive`."""
        with socket.socket(fileno=os.dup(descriptor)) as datagrams:
            return datagrams.recv(limit, socket.MSG_DONTWAIT)


def _local(kind: int, path: str, mode: int) -> int:
    with socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC) as listening:
        if os.path.lexists(path):
            os.unlink(path)
        listening.bind(path)
        os.chmod(path, mode)
        if kind == socket.SOCK_STREAM:
            listening.listen(16)
        return listening.detach()
