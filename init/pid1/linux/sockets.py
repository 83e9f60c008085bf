"""Sockets by number: the control socket, the services' NOTIFY_SOCKETs, and what sshd listens on.

None of them ever waits; who is at the other end of a local one is asked of the kernel.
"""

from __future__ import annotations

import _socket
import os
import struct

from init.pid1.linux.closing import Closing
from init.pid1.system import Peer

_SO_PEERGROUPS = 59  # socket(7): the peer's supplementary groups, since Linux 4.13
_GROUPS_BYTES = 1024  # the most that Python lets one ask for: 256 groups; with more, none counts


class SocketCalls:
    """The body of `Sockets`."""

    def listen_local(self, path: str, mode: int) -> int:
        """See `Sockets.listen_local`."""
        return _local(_socket.SOCK_STREAM, path, mode)

    def listen_datagrams(self, path: str, mode: int) -> int:
        """See `Sockets.listen_datagrams`."""
        return _local(_socket.SOCK_DGRAM, path, mode)

    def listen_tcp(self, port: int) -> int:
        """See `Sockets.listen_tcp`."""
        family = _socket.AF_INET6 if os.path.exists("/proc/net/if_inet6") else _socket.AF_INET
        kind = _socket.SOCK_STREAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
        with Closing(_socket.socket(family, kind)) as listening:
            listening.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
            if family == _socket.AF_INET6:
                listening.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 0)
            listening.bind(("", port))
            listening.listen(16)
            return listening.detach()

    def accept(self, descriptor: int) -> tuple[int, str]:
        """See `Sockets.accept`."""
        with Closing(_socket.socket(fileno=os.dup(descriptor))) as listening:
            # What `socket.accept` calls, which typeshed does not know; the descriptor is close-on-exec.
            connection, address = listening._accept()  # type: ignore[attr-defined]  # noqa: SLF001
        os.set_blocking(connection, False)
        where = address[0] if isinstance(address, tuple) and address else ""
        return connection, str(where)

    def peer(self, descriptor: int) -> Peer:
        """See `Sockets.peer`."""
        with Closing(_socket.socket(fileno=os.dup(descriptor))) as connection:
            data = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
            pid, uid, gid = struct.unpack("iii", data)
            try:
                more = connection.getsockopt(_socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
            except OSError:
                more = b""
        groups = struct.unpack(f"{len(more) // 4}I", more)
        return Peer(pid=pid, uid=uid, groups=(gid, *groups))

    def receive(self, descriptor: int, limit: int) -> bytes:
        """See `Sockets.receive`."""
        with Closing(_socket.socket(fileno=os.dup(descriptor))) as datagrams:
            return datagrams.recv(limit, _socket.MSG_DONTWAIT)


def _local(kind: int, path: str, mode: int) -> int:
    with Closing(_socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC)) as listening:
        if os.path.lexists(path):
            os.unlink(path)
        listening.bind(path)
        os.chmod(path, mode)
        if kind == _socket.SOCK_STREAM:
            listening.listen(16)
        return listening.detach()
