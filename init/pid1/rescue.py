"""Rescue: no root, no containers; the initramfs alone, until somebody helps or the missing disk appears.

It says why on every console, listens to the kernel's news (a disk that is put in is tried at once), and takes a few
words from each of them. Where GRUB asked for it, network and SSH come by what can be borrowed from a slot
(`rescueway`), and `retry` gives the slots their tries back. The watchdog, if one is open, is fed: rescue is no hang.
"""

from __future__ import annotations

from dataclasses import replace

from init.pid1 import early, rescuedisk
from init.pid1.buttons import Buttons
from init.pid1.messages import Messages
from init.pid1.rescueway import WayIn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.early import Events
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.system import Early, System

WORDS = "rescue status · rescue retry · reboot · poweroff"
_FRONT = ("berthctl", "rescue")  # people type the whole verb
_BUTTON_DRIVERS = ("button", "evdev")
_TICK = 10.0
_MOST_REFUSALS = 3  # in a row, then a console counts as gone
_MOST_TYPED = 1024  # bytes of one line


class _Listening:
    """What `Buttons` needs of a loop."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[], None]] = {}

    def watch(self, descriptor: int, name: str, handler: Callable[[], None]) -> None:  # noqa: ARG002 - as the loop's
        self.handlers[descriptor] = handler

    def unwatch(self, descriptor: int) -> None:
        self.handlers.pop(descriptor, None)


class Rescue:
    """The rescue's state: what it was entered for, and what was typed so far."""

    def __init__(self, system: System, events: Events, result: EarlyResult) -> None:
        self._system = system
        self._events = events
        self._result = result
        self._messages = Messages(system)
        self._way = WayIn(system, result, self._messages.say)
        self._typed: dict[int, bytes] = {}  # by console: a line's beginning
        self._refusals: dict[int, int] = {}
        self._listening = _Listening()
        self._buttons = Buttons(system, self._listening, self._press)
        self._pressed = False

    def enter(self) -> None:
        """Say why, and bring up what can be."""
        self._open_consoles()
        self._say_status()
        try:
            for link in self._system.links():
                self._system.set_link(link.name, up=True)
        except OSError as error:
            self._messages.say(f"the network stays down: {error.strerror}")
        if self._result.devices is not None:
            for name in _BUTTON_DRIVERS:  # the initramfs has them for here alone: no device asks for them
                self._result.devices.load(self._system, name)
        self._buttons.look()
        self._events.emit("rescue.entered", reason=self._result.reason)  # from here on the power button is heard
        self._let_in()

    def _let_in(self) -> None:
        """Open the way in where the disk is there; what fails is said, and the consoles stay."""
        try:
            self._way.look()
        except Exception as error:  # a way in that fails must not cost the other one
            self._messages.say(f"no way in by network: {_words(error)}")

    def _open_consoles(self) -> None:
        self._messages.open_consoles()
        self._typed, self._refusals = {}, {}

    def _say_status(self) -> None:
        self._messages.say(f"rescue: {self._result.reason}")
        devices = self._result.devices
        if devices is not None:
            for problem in devices.problems:
                self._messages.say(problem)
        for line in self._way.lines:
            self._messages.say(line)
        self._messages.say(f"words that help here: {WORDS}")

    def step(self, seconds: float) -> EarlyResult | None:
        """Wait for one thing, at most `seconds`, and act on it; return the result that ends rescue, or None."""
        system, result = self._system, self._result
        listening = [one for one in self._messages.inputs if self._refusals.get(one, 0) < _MOST_REFUSALS]
        waiting = list(listening)
        if result.uevents is not None:
            waiting.append(result.uevents)
        waiting += self._way.descriptors
        waiting += self._listening.handlers
        ready = system.wait_readable(waiting, seconds)
        if result.watchdog is not None:
            system.feed_watchdog(result.watchdog)
        self._way.hear(ready)
        self._way.tend()
        for handler in [self._listening.handlers[one] for one in ready if one in self._listening.handlers]:
            handler()
        if self._pressed:
            return self._end("poweroff", "power button")
        if result.uevents in ready and self._new_disk(result.uevents):
            return self._retry()
        for word in [word for console in listening if console in ready for word in self._words(console)]:
            ended = self._obey(word)
            if ended is not None:
                return ended
        return None

    def _new_disk(self, descriptor: int | None) -> bool:
        assert descriptor is not None
        news = self._system.read_uevents(descriptor)
        for event in news:
            if self._result.devices is not None:
                self._result.devices.handle(self._system, event)
        if any(event.variables.get("SUBSYSTEM") == "input" for event in news):
            self._buttons.look()
        if not any(event.action == "add" and event.variables.get("SUBSYSTEM") == "block" for event in news):
            return False
        if self._result.command_line.rescue:  # it was asked for: nothing but the word `retry` leaves it
            self._let_in()
            return False
        return True

    def _words(self, console: int) -> list[str]:
        try:
            data = self._system.read_from(console, _MOST_TYPED)
        except OSError:
            self._refusals[console] = self._refusals.get(console, 0) + 1
            return []
        # An end of the data is a console that hung up: it would be ready for ever.
        self._refusals[console] = 0 if data else _MOST_REFUSALS
        *lines, rest = (self._typed.get(console, b"") + data).replace(b"\r", b"\n").split(b"\n")
        self._typed[console] = rest[-_MOST_TYPED:]
        return [line.decode("utf-8", "replace").strip() for line in lines if line.strip()]

    def _obey(self, typed: str) -> EarlyResult | None:
        words = typed.split()
        while len(words) > 1 and words[0] in _FRONT:
            del words[0]
        match " ".join(words):
            case "retry" if self._result.command_line.rescue and self._result.command_line.record:
                return self._try_again()
            case "retry":
                return self._retry()
            case "reboot" | "poweroff" as word:
                return self._end(word, f"{word} by the console")
            case "status":
                self._say_status()
            case _:
                self._messages.say(f"words that help here: {WORDS}")
        return None

    def _press(self) -> None:
        self._pressed = True

    def _end(self, how: str, why: str) -> EarlyResult:
        """Go down in order: nothing that could be written to is mounted."""
        self._messages.say(f"{how}, as was asked")
        self._events.emit("shutdown.begun", why=why)
        self._events.emit("shutdown.clean", state_unmounted=True)
        return replace(self._result, outcome=how)

    def _try_again(self) -> EarlyResult | None:
        """Give the slots their tries back, and reboot into what GRUB then chooses."""
        line = self._result.command_line
        try:
            found = rescuedisk.find(self._system, line.record)
            if found is None:
                self._messages.say("the disk that booted isn't there: nothing can be retried")
                return None
            rescuedisk.reset_tries(self._system, found, line.slot)
        except OSError as error:
            self._messages.say(f"the tries could not be given back ({_words(error)}): start a Berth ISO to repair it")
            return None
        self._messages.say("every slot has its tries back: reboot")
        self._system.sync()
        return self._end("reboot", "reboot by rescue retry")

    def _retry(self) -> EarlyResult | None:
        self._messages.say("looking for the root again")
        self._messages.close_consoles()
        result = early.run(self._system, self._events, self._result)
        if result.outcome == "root":
            return result
        self._result = result
        self._open_consoles()
        self._say_status()
        return None


def _words(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"


def serve(system: System, events: Events, result: EarlyResult) -> EarlyResult:
    """Stay until there is a root, or a reboot or power-off was asked for: `outcome` says which. Never raises."""
    rescue = Rescue(system, events, result)
    try:
        rescue.enter()
    except Exception as error:  # what is said is a help, no more
        system_say(system, f"rescue: {type(error).__name__}: {error}")
    while True:
        try:
            ended = rescue.step(_TICK)
        except Exception as error:  # the last net: nothing may end the only way in
            system_say(system, f"rescue: {type(error).__name__}: {error}")
            _pause(system)
            continue
        if ended is not None:
            return ended


def _pause(system: Early) -> None:
    """Let a fault that comes at every step not take the whole processor."""
    try:
        system.wait_readable([], 1.0)
    except OSError:
        return


def system_say(system: Early, text: str) -> None:
    """Say one line on the standard error, whatever else is broken."""
    Messages(system).say(text)
