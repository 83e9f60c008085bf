"""The loop of PID 1: descriptors, timers, and the last net.

Whatever happens in a handler, the loop goes on. An exception is caught here, told to `on_fault` (under a net of its
own), and forgotten; a descriptor's handler that raises `PATIENCE` times in a row would spin, so it is set aside for a
while, longer each time, never for ever, and `on_aside` hears of it. This is the one place in PID 1 that catches
everything: if it didn't, the kernel would panic.
"""

from __future__ import annotations

from init.formats.bare import deque

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.system import System

PATIENCE = 5  # exceptions in a row before a descriptor's handler is set aside
ASIDE = 10.0  # seconds for which it is, doubling with each exception that follows
DOUBLINGS_MOST = 5
IDLE_MOST = 5.0  # seconds that one wait lasts at most
BURST = 256  # things to do at once before descriptors and timers are looked at again


class Loop:
    """Waits for descriptors and times, and calls what was asked for. Times are `System.now` seconds."""

    def __init__(self, system: System, on_fault: Callable[[str, BaseException], None]) -> None:
        self._system = system
        self._on_fault = on_fault
        self._handlers: dict[int, tuple[str, Callable[[], None], bool]] = {}
        self._resting: dict[int, tuple[str, Callable[[], None], bool]] = {}
        self._faults: dict[int, int] = {}
        self._timers: dict[str, tuple[float, Callable[[], None]]] = {}
        self._soon: deque[tuple[str, Callable[[], None]]] = deque()
        self._wait_faults = 0
        self.finished = False
        # A descriptor, and what is wrong with its handler: empty once it works again, or is no longer wanted.
        self.on_aside: Callable[[int, str], None] = lambda _descriptor, _text: None

    def watch(self, descriptor: int, name: str, handler: Callable[[], None], *, writable: bool = False) -> None:
        """Call `handler` whenever a descriptor has news. Raise OSError when it can't be waited for."""
        self._system.watch(descriptor, writable=writable)
        self._wake(descriptor)
        self._handlers[descriptor] = (name, handler, writable)
        self._forgive(descriptor)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor; before it is closed."""
        self._wake(descriptor)
        self._forgive(descriptor)
        if self._handlers.pop(descriptor, None) is not None:
            self._system.unwatch(descriptor)

    def rest(self, descriptor: int, seconds: float) -> None:
        """Don't wait for a descriptor for so long. Who watches or unwatches it meanwhile has the last word."""
        entry = self._handlers.pop(descriptor, None)
        if entry is not None:
            self._resting[descriptor] = entry
            self.after(f"rest {descriptor}", seconds, lambda: self._again(descriptor, seconds))
            self.guard(f"{entry[0]}: rest", lambda: self._system.unwatch(descriptor))

    def _again(self, descriptor: int, seconds: float) -> None:
        name, _, writable = self._resting[descriptor]
        if self.guard(f"{name}: again", lambda: self._system.watch(descriptor, writable=writable)):
            self._handlers[descriptor] = self._resting.pop(descriptor)
        else:
            self.after(f"rest {descriptor}", seconds, lambda: self._again(descriptor, seconds))

    def _wake(self, descriptor: int) -> None:
        if self._resting.pop(descriptor, None) is not None:
            self.cancel(f"rest {descriptor}")

    def _forgive(self, descriptor: int) -> None:
        if self._faults.pop(descriptor, 0) >= PATIENCE:
            self.guard("aside", lambda: self.on_aside(descriptor, ""))

    def after(self, key: str, seconds: float, handler: Callable[[], None]) -> None:
        """Call `handler` once, `seconds` from now, in place of the timer of the same key."""
        self._timers[key] = (self._system.now() + seconds, handler)

    def cancel(self, key: str) -> None:
        """Forget a timer; one that is not set is fine."""
        self._timers.pop(key, None)

    def armed(self, key: str) -> bool:
        """Tell whether a timer is set."""
        return key in self._timers

    def soon(self, name: str, function: Callable[[], None]) -> None:
        """Call a function when what runs now is done."""
        self._soon.append((name, function))

    def guard(self, name: str, function: Callable[[], None]) -> bool:
        """Call a function under the net; tell whether it came back without an exception."""
        try:
            function()
        except BaseException as error:  # the last net: nothing may end PID 1
            self._tell(name, error)
            return False
        return True

    def _tell(self, name: str, error: BaseException) -> None:
        try:
            self._on_fault(name, error)
        except BaseException:  # telling failed, too: living on matters more
            return

    def turn(self, most: float = IDLE_MOST) -> None:
        """Go round once: do what is due, wait at most `most` seconds for news, hand them out."""
        self.guard("timers", self._run_timers)
        self._run_soon()
        if self.finished:
            return
        ready: list[int] = []

        def look() -> None:
            ready.extend(self._system.wait(self._pause(most)))

        if self.guard("poll", look):
            self._wait_faults = 0
        else:
            self._wait_faults += 1
            self.guard("signals", self._ask_all)
        for descriptor in ready:
            self._handle(descriptor)
        self._run_soon()

    def run(self) -> None:
        """Go round until `finished`."""
        while not self.finished:
            self.guard("loop", self.turn)

    def _pause(self, most: float) -> float:
        if self._soon:
            return 0.0
        now = self._system.now()
        nearest = min((due for due, _ in self._timers.values()), default=now + most)
        return min(max(nearest - now, 0.0), most)

    def _ask_all(self) -> None:
        """Waiting itself failed: call every handler by turns, slowly, for descriptors don't block."""
        if self._wait_faults > 1:
            self._system.wait_readable((), 0.1)
        for descriptor in list(self._handlers):
            self._handle(descriptor)

    def _handle(self, descriptor: int) -> None:
        entry = self._handlers.get(descriptor)
        if entry is None:  # an earlier handler of this round took it away
            return
        name, handler, _ = entry
        if self.guard(name, handler):
            self._forgive(descriptor)
            return
        count = self._faults.get(descriptor, 0) + 1
        self._faults[descriptor] = count
        if count >= PATIENCE and self._handlers.get(descriptor) is entry:
            seconds = ASIDE * 2 ** min(count - PATIENCE, DOUBLINGS_MOST)
            text = f"{name}: failed {count} times in a row, again in {seconds:g} s; see berthctl logs init"
            self.rest(descriptor, seconds)
            self.guard("aside", lambda: self.on_aside(descriptor, text))

    def _run_timers(self) -> None:
        now = self._system.now()
        due = sorted((when, key) for key, (when, _) in self._timers.items() if when <= now)
        for when, key in due:
            entry = self._timers.get(key)
            if entry is not None and entry[0] == when:
                del self._timers[key]
                self.guard(f"timer {key}", entry[1])

    def _run_soon(self) -> None:
        for _ in range(BURST):
            if not self._soon:
                return
            name, function = self._soon.popleft()
            self.guard(name, function)


def origin(error: BaseException) -> str:
    """Return where an exception was raised, from its traceback (the module `traceback` costs 30 ms to import)."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return ""
    code = last.tb_frame.f_code
    return f" ({code.co_filename.rpartition('/')[2]}:{last.tb_lineno}, {code.co_name})"
