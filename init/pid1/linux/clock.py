"""Time and randomness (linux/random.h)."""

from __future__ import annotations

import fcntl
import os
import struct
import time

_GRND_INSECURE = 4  # never waits: since kernel 5.6
_RNDADDENTROPY = 0x40085203


class ClockCalls:
    """The body of `system.Clock`."""

    def now(self) -> float:
        """Seconds since the kernel started."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

    def time(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def set_time(self, seconds: float) -> None:
        """Set the system's clock."""
        time.clock_settime(time.CLOCK_REALTIME, seconds)

    def random_bytes(self, count: int) -> bytes:
        """Return random bytes without waiting."""
        return os.getrandom(count, _GRND_INSECURE)

    def add_entropy(self, data: bytes, *, credit: bool) -> None:
        """Feed a seed to the kernel's pool."""
        descriptor = os.open("/dev/urandom", os.O_WRONLY | os.O_CLOEXEC)
        try:
            if credit:
                argument = struct.pack("=ii", len(data) * 8, len(data)) + data
                fcntl.ioctl(descriptor, _RNDADDENTROPY, argument)
            else:
                os.write(descriptor, data)
        finally:
            os.close(descriptor)
