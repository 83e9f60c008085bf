"""The way down, done: the machine of `shutdown` is asked, its actions are done, and whatever fails, it goes on."""

from __future__ import annotations

from init.pid1 import leave, shutdown, supervisor

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.console import Console
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import System

POLL = 0.02  # seconds between looks whether all are gone, or all is out
AGAIN = 1.0  # seconds until reboot(2) is tried again
TRIES = 3


class Descent:
    """Takes the machine down, once it is asked to."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        *,
        performer: Performer,
        announcer: Announcer,
        early: EarlyResult,
        logs: Logs,
        console: Console,
        close_doors: Callable[[], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._performer = performer
        self._announcer = announcer
        self._early = early
        self._logs = logs
        self._console = console
        self._close_doors = close_doors
        self._shutdown = shutdown.Shutdown()

    @property
    def is_up(self) -> bool:
        """Tell whether nobody has asked yet."""
        return self._shutdown.state is shutdown.State.UP

    def look(self) -> None:
        """A service changed."""
        at_rest = supervisor.at_rest(self._performer.supervisor)
        if self._shutdown.state is shutdown.State.SERVICES and at_rest:
            self._shut(shutdown.AtRest())

    def ask(self, how: str, why: str) -> None:
        """Somebody wants the machine down: `poweroff`, `reboot` or `halt`, and why."""
        bound = supervisor.stop_bound(self._performer.supervisor)
        self._shut(shutdown.Asked(how=how, why=why, bound=bound))

    def _shut(self, event: shutdown.Event) -> None:
        self._shutdown, actions = shutdown.step(self._shutdown, event)
        for action in actions:
            if not self._loop.guard(f"shutdown: {type(action).__name__}", lambda action=action: self._do_shut(action)):  # type: ignore[misc]
                self._after_fault(action)

    def _do_shut(self, action: shutdown.Action) -> None:
        match action:
            case shutdown.StopServices():
                self._loop.guard("doors", self._close_doors)
                self._performer.close()
                self.look()
            case shutdown.SignalAll(number=number):
                self._signal_all(number)
            case shutdown.LeaveState():
                self._logs.let_go()
                order = self._early.unmount
                on_disk = self._early.state.kind == "ext4"
                unmounted = leave.leave(self._system, order, self._console.say, on_disk=on_disk, alive=self._feed)
                self._shut(shutdown.Left(unmounted=unmounted))
            case shutdown.Flush():
                self._flush()
            case shutdown.PowerOff(how=how):
                self._power(how)
            case shutdown.Bound(state=state, seconds=seconds):
                self._loop.after(f"shutdown.{state}", seconds, lambda: self._shut(shutdown.Late(state=state)))
            case shutdown.Emit(event=event, fields=fields):
                self._announcer.emit(event, **fields)

    def _feed(self) -> None:
        dog = self._early.watchdog
        if dog is not None:
            self._loop.guard("watchdog", lambda: self._system.feed_watchdog(dog))

    def _after_fault(self, action: shutdown.Action) -> None:
        """An action of the way down raised: the next state comes all the same."""
        match action:
            case shutdown.LeaveState():
                self._loop.soon("left", lambda: self._shut(shutdown.Left(unmounted=False)))
            case shutdown.Flush():
                self._loop.soon("flushed", lambda: self._shut(shutdown.Flushed()))
            case shutdown.PowerOff(how=how):
                self._loop.after("power", AGAIN, lambda: self._power_again(how))
            case _:
                return

    def _signal_all(self, number: int) -> None:
        try:
            self._system.signal_all(number)
        except ProcessLookupError:
            self._shut(shutdown.NobodyLeft())
            return
        self._look_left()

    def _look_left(self) -> None:
        self._performer.reap()
        if not self._system.has_children():
            self._shut(shutdown.NobodyLeft())
        elif self._shutdown.state is shutdown.State.KILLING:
            self._loop.after("left", POLL, self._look_left)

    def _flush(self) -> None:
        self._console.flush()
        if self._announcer.flush():
            self._shut(shutdown.Flushed())
        else:
            self._loop.after("flush", POLL, self._flush)

    def _power(self, how: str) -> None:
        dog = self._early.watchdog
        if dog is not None and how != "reboot":
            self._loop.guard("watchdog", lambda: self._system.close_watchdog(dog))
        self._system.power(how)
        self._loop.finished = True  # only a fake comes back

    def _power_again(self, how: str, left: int = TRIES) -> None:
        """reboot(2) was refused: the same again, and when that doesn't help, a reboot, for it is what is left."""
        wanted = how if left or how == "halt" else "reboot"
        if not self._loop.guard("power", lambda: self._power(wanted)):
            self._loop.after("power", AGAIN, lambda: self._power_again(how, max(left - 1, 0)))
