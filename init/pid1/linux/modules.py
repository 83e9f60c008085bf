"""Kernel modules (finit_module(2)) and uevents (netlink, linux/netlink.h, lib/kobject_uevent.c)."""

from __future__ import annotations

import _socket
import errno
import os

from init.pid1.linux import libc
from init.pid1.system import Uevent

_COMPRESSED = 4  # MODULE_INIT_COMPRESSED_FILE, since kernel 5.17
_AF_NETLINK = 16
_NETLINK_KOBJECT_UEVENT = 15
_KERNEL_GROUP = 1  # 2 is udev's
_SO_RCVBUFFORCE = 33
_BUFFER = 4 << 20


class DeviceCalls:
    """The body of `system.Devices`."""

    def __init__(self) -> None:
        self._sockets: dict[int, _socket.socket] = {}

    def load_module(self, path: str, parameters: str = "") -> None:
        """Load a module file; the kernel itself unpacks a compressed one."""
        flags = 0 if path.endswith(".ko") else _COMPRESSED
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            libc.finit_module(descriptor, parameters, flags, path)
        except OSError as error:
            if error.errno != errno.EEXIST:
                raise
        finally:
            os.close(descriptor)

    def open_uevents(self) -> int:
        """Return a descriptor for the kernel's news about devices."""
        news = _socket.socket(_AF_NETLINK, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, _NETLINK_KOBJECT_UEVENT)
        try:
            news.setsockopt(_socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            news.bind((0, _KERNEL_GROUP))
            news.setblocking(False)
        except OSError:
            news.close()
            raise
        self._sockets[news.fileno()] = news
        return news.fileno()

    def read_uevents(self, descriptor: int) -> list[Uevent]:
        """Return the news that have come."""
        found: list[Uevent] = []
        while True:
            try:
                data, sender = self._sockets[descriptor].recvfrom(16384)
            except BlockingIOError:
                return found
            if sender[0] == 0 and (event := parse_uevent(data)):  # any other sender is a process that pretends
                found.append(event)


def parse_uevent(data: bytes) -> Uevent | None:
    """Read one message, `ACTION@PATH` and `KEY=VALUE` words, each ended by NUL; None for any other."""
    head, *words = data.decode("utf-8", "surrogateescape").split("\0")
    action, at, path = head.partition("@")
    if not at or not path.startswith("/"):
        return None
    variables = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            variables[key] = value
    return Uevent(action=action, path=path, variables=variables)
