"""What the loop does again and again: signals, watchdog, reaping, clock, the kernel's news of devices."""

from __future__ import annotations

from init.formats.bare import signal
from init.pid1 import identity
from init.pid1.disklook import DiskLook

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.earlyresult import EarlyResult
    from init.pid1.loop import Loop
    from init.pid1.system import System

# busybox's words to PID 1: its reboot sends TERM, poweroff USR2, halt USR1; the kernel sends INT for Ctrl-Alt-Del.
SIGNALS: dict[int, tuple[str, str]] = {
    signal.SIGTERM: ("reboot", "SIGTERM"),
    signal.SIGUSR2: ("poweroff", "SIGUSR2"),
    signal.SIGUSR1: ("halt", "SIGUSR1"),
    signal.SIGINT: ("reboot", "Ctrl-Alt-Del"),
    signal.SIGPWR: ("poweroff", "power failure"),
}
REAP_EVERY = 5.0  # seconds: should a SIGCHLD ever be lost
CLOCK_FIRST = 300.0  # by then the network's time is known, where there is any
CLOCK_EVERY = 3600.0
CLOCK_BOUND = 20.0  # until a disk that has not taken the time is told
_CLOCK = "the time on state"
_KEPT = b"kept"


class Upkeep:
    """Each method begins one of these and lets it come again.

    `on_devices` is called when devices came or went, `ask` when somebody wants the machine down; `attempt` tells what
    does not work until it does.
    """

    def __init__(
        self,
        system: System,
        loop: Loop,
        early: EarlyResult,
        *,
        reap: Callable[[], None],
        ask: Callable[[str, str], None],
        is_up: Callable[[], bool],
        on_devices: Callable[[], None],
        attempt: Callable[[str, Callable[[], object]], bool],
    ) -> None:
        self.system = system
        self.loop = loop
        self.early = early
        self._reap = reap
        self._ask = ask
        self._signals: int | None = None
        self._is_up = is_up
        self._on_devices = on_devices
        self._attempt = attempt
        self._clock = DiskLook(system, loop, _CLOCK, self._stamp, tell=self._stamped, seconds=CLOCK_BOUND)

    def open_signals(self) -> None:
        """Hear of children that ended, and of who wants the machine down. Raise OSError; then it may be tried again."""
        if self._signals is None:
            self._signals = self.system.open_signals((signal.SIGCHLD, *SIGNALS))
        descriptor = self._signals

        def on_signal() -> None:
            for number in self.system.read_signals(descriptor):
                if number in SIGNALS:
                    self._ask(*SIGNALS[number])
            self._reap()

        self.loop.watch(descriptor, "signals", on_signal)
        self.system.catch_ctrl_alt_del()  # until now, and in rescue, it restarts at once: nothing could end in order

    def reap(self) -> None:
        """Ask who ended, also without a signal."""
        self.loop.after("reap", REAP_EVERY, self.reap)
        self._reap()

    def begin_clock(self) -> None:
        """Keep the time on state now and then, for a machine without a clock of its own."""
        if self.early.state.kind == "ext4":
            self.loop.after("clock", CLOCK_FIRST, self._stamp_clock)

    def _stamp_clock(self) -> None:
        """A child writes: a disk that stalls must not hold the loop, for the watchdog is fed by it."""
        self.loop.after("clock", CLOCK_EVERY, self._stamp_clock)
        if self._is_up():
            self._clock.ask(lambda _: None)

    def _stamp(self) -> bytes:
        try:
            identity.stamp_clock(self.system)
        except OSError as error:
            return f"{error.strerror}".encode()
        return _KEPT

    def _stamped(self, answer: bytes | None) -> None:
        why = "its disk does not answer" if answer is None else answer.decode() or "no child could write it"
        self._attempt(_CLOCK, lambda: None if answer == _KEPT else _fail(why))

    def feed(self) -> None:
        """Feed the watchdog, from the loop alone: if the loop stands, the machine is to be reset."""
        dog = self.early.watchdog
        if dog is not None:
            self.loop.after("watchdog", max(dog.seconds / 3, 1.0), self.feed)
            self.system.feed_watchdog(dog)

    def watch_devices(self) -> None:
        """Load modules for devices that come later."""
        descriptor, devices = self.early.uevents, self.early.devices
        if descriptor is None or devices is None:
            return

        def on_news() -> None:
            try:
                news = self.system.read_uevents(descriptor)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: some were lost, so look at everything again
                devices.coldplug(self.system)
                news = []
            for uevent in news:
                devices.handle(self.system, uevent)
            self._on_devices()

        self.loop.watch(descriptor, "devices", on_news)


def _fail(why: str) -> None:
    raise OSError(why)
