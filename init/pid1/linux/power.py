"""The end of things: reboot(2) (linux/reboot.h) and watchdogs (linux/watchdog.h)."""

from __future__ import annotations

import fcntl
import os
import select
import struct
from dataclasses import replace

from init.pid1.linux import children, libc
from init.pid1.system import SYNC_SECONDS, Watchdog

_COMMANDS = {"reboot": 0x01234567, "poweroff": 0x4321FEDC, "halt": 0xCDEF0123}
_DISABLE_CTRL_ALT_DEL = 0
_DONE = b"done"
_WDIOC_GETSUPPORT = 0x80285700
_WDIOC_SETTIMEOUT = 0xC0045706
_WDIOC_GETTIMEOUT = 0x80045707


class PowerCalls:
    """The body of `system.Power`."""

    def sync(self, seconds: float = SYNC_SECONDS) -> bool:
        """See `Power.sync`: in a child, for a drive that never answers holds sync(2), which nothing ends."""

        def work() -> bytes:
            os.sync()
            return _DONE

        try:
            _, reading = children.apart(work)
        except OSError:  # there can be no child: writing matters more than the bound
            os.sync()
            return True
        try:
            waiting = select.poll()
            waiting.register(reading, select.POLLIN)
            return bool(waiting.poll(seconds * 1000)) and os.read(reading, len(_DONE)) == _DONE
        finally:
            os.close(reading)

    def power(self, how: str) -> None:
        """reboot(2)."""
        libc.reboot(_COMMANDS[how])

    def catch_ctrl_alt_del(self) -> None:
        """Let Ctrl-Alt-Del be a SIGINT to PID 1."""
        libc.reboot(_DISABLE_CTRL_ALT_DEL)

    def open_watchdog(self, path: str, seconds: int) -> Watchdog:
        """Open a watchdog and set its time-out, which some drivers round or refuse."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            support = fcntl.ioctl(descriptor, _WDIOC_GETSUPPORT, bytes(40))
            identity = support[8:40].split(b"\0")[0].decode("ascii", "replace")
            taken = _timeout(descriptor, seconds)
        except OSError:
            _disarm(descriptor)
            raise
        software = identity == "Software Watchdog"
        return Watchdog(descriptor=descriptor, identity=identity, seconds=taken, software=software)

    def feed_watchdog(self, watchdog: Watchdog) -> None:
        """Put off the reset."""
        os.write(watchdog.descriptor, b"\0")

    def set_watchdog(self, watchdog: Watchdog, seconds: int) -> Watchdog:
        """Set another time-out."""
        return replace(watchdog, seconds=_timeout(watchdog.descriptor, seconds))

    def close_watchdog(self, watchdog: Watchdog) -> None:
        """Disarm it."""
        _disarm(watchdog.descriptor)


def _timeout(descriptor: int, seconds: int) -> int:
    try:
        answer = fcntl.ioctl(descriptor, _WDIOC_SETTIMEOUT, struct.pack("i", seconds))
    except OSError:
        answer = fcntl.ioctl(descriptor, _WDIOC_GETTIMEOUT, bytes(4))  # fixed in hardware
    return int(struct.unpack("i", answer)[0])


def _disarm(descriptor: int) -> None:
    try:
        os.write(descriptor, b"V")
    finally:
        os.close(descriptor)
