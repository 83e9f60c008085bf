"""Waiting for many descriptors at once (epoll), and signals as a descriptor (signalfd)."""

from __future__ import annotations

import ctypes
import os
import select

from init.formats.bare import signal

_SIGNALFD_RECORD = 128  # struct signalfd_siginfo, signalfd(2); ssi_signo is its first 32 bits
_SFD_FLAGS = os.O_CLOEXEC | os.O_NONBLOCK
_SIGSET_BYTES = 128  # glibc's sigset_t: 1024 bits
READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT


class PollCalls:
    """The body of `Poll` and `Signals`."""

    _epoll: select.epoll | None = None

    def watch(self, descriptor: int, *, writable: bool = False) -> None:
        """See `Poll.watch`."""
        if self._epoll is None:
            self._epoll = select.epoll()
        mask = READABLE | (WRITABLE if writable else 0)
        try:
            self._epoll.register(descriptor, mask)
        except FileExistsError:
            self._epoll.modify(descriptor, mask)

    def unwatch(self, descriptor: int) -> None:
        """See `Poll.unwatch`."""
        if self._epoll is not None:
            self._epoll.unregister(descriptor)

    def wait(self, seconds: float | None) -> list[int]:
        """See `Poll.wait`."""
        if self._epoll is None:
            self._epoll = select.epoll()
        return [descriptor for descriptor, _ in self._epoll.poll(seconds, 64)]

    def open_signals(self, numbers: tuple[int, ...]) -> int:
        """See `Signals.open_signals`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
        bits = bytearray(_SIGSET_BYTES)
        for number in numbers:
            bits[(number - 1) // 8] |= 1 << ((number - 1) % 8)
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor: int = libc.signalfd(-1, bytes(bits), _SFD_FLAGS)
        if descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"signalfd: {os.strerror(number)}")
        return descriptor

    def read_signals(self, descriptor: int) -> list[int]:
        """See `Signals.read_signals`."""
        try:
            data = os.read(descriptor, 32 * _SIGNALFD_RECORD)
        except BlockingIOError:
            return []
        return [int.from_bytes(data[offset : offset + 4], "little") for offset in range(0, len(data), _SIGNALFD_RECORD)]
