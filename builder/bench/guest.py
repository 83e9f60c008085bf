"""One guest, watched from outside: what it said when, and how much processor QEMU had used by then."""

from __future__ import annotations

import contextlib
import functools
import http.client
import os
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.emulate import fault, silent
from builder.emulate.session import Session
from builder.errors import GuestFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import ParamSpec, TypeVar

    from builder.emulate.command import Guest
    from builder.tools.call import Tools

    P = ParamSpec("P")
    T = TypeVar("T")

BALLOON = ("-device", "virtio-balloon-pci,id=balloon")  # through it a guest tells how its memory is used
_STEP = 0.05  # seconds between two looks
_LOOKS = 9  # at the memory at rest
SHOWN = 12  # of the console's lines, where a guest failed

retries = 0  # guests that were started once more, over the whole run


class EmulatorFailed(GuestFailed):
    """A guest died of the emulator's known fault: what was measured of it is nothing."""


def once_more(measured: Callable[P, T]) -> Callable[P, T]:
    """Let a measurement whose guest died of the emulator's known fault begin anew, once."""

    @functools.wraps(measured)
    def begun(*args: P.args, **named: P.kwargs) -> T:
        global retries  # noqa: PLW0603 - counted over the whole run, on purpose
        try:
            return measured(*args, **named)
        except EmulatorFailed:
            retries += 1
            return measured(*args, **named)

    return begun


def look_for_fault(session: Session) -> None:
    """Raise EmulatorFailed where console or QEMU tell of it: a guest that starts again by itself has a second time."""
    if fault.died_of_it((*session.console, *session.complaints)):
        raise EmulatorFailed("\n".join(["the guest died of the emulator's known fault", *console_of(session)]))


def console_of(session: Session) -> list[str]:
    """Return the last lines on a guest's console, with one that has not ended."""
    lines = [line for line in (*session.console, session.prompt) if line.strip()]
    return lines[-SHOWN:]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """An instant: seconds since QEMU's start, since the kernel's (None where it is not told), and of processor."""

    wall: float
    kernel: float | None
    processor: float


def processor_of(pid: int) -> float:
    """Return the seconds of processor that a process has used; proc_pid_stat(5), fields 14 and 15."""
    return ticks(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")) / os.sysconf("SC_CLK_TCK")


def ticks(stat: str) -> int:
    """Return user and system time, in clock ticks, of a text of /proc/PID/stat; a name may hold blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


class Watched:
    """A guest under way. Use it as a context: leaving it ends QEMU in any case."""

    def __init__(self, guest: Guest, tools: Tools, *, channel: bool = True) -> None:
        """Start QEMU; where memory counts, without the event port. Raises ToolError."""
        self._guest = guest
        self.session = Session(guest, tools, channel=channel)
        self.marks: dict[str, Mark] = {}

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *exc: object) -> None:
        self.session.cut_power()

    def until(self, done: Callable[[], bool], *, timeout: float, what: str) -> None:
        """Note every event's first mark until `done`; raise GuestFailed when the guest ends or the time is up."""
        deadline = self.session.elapsed + timeout
        while not done():
            reports = self.session.step(_STEP)
            for report in reports:
                if report.event is not None:
                    self.mark(report.event["event"], at=report.at, kernel=_seconds(report.event.get("t")))
                elif report.line is not None:
                    self.mark(f"line {report.line}", at=report.at)
            if any(report.line is not None for report in reports) or not self.session.open:
                look_for_fault(self.session)
            if not done() and not self.session.open:
                raise GuestFailed(self._explain(f"QEMU ended before {what} came"))
            if not done() and self.session.elapsed > deadline:
                raise GuestFailed(self._explain(f"{what} did not come within {timeout:.0f} s"))

    def _explain(self, what: str) -> str:
        came = [name for name in self.marks if not name.startswith("line ")]
        lines = [f"{what}; came: {', '.join(came) or 'no event'}", *self.session.complaints]
        said = console_of(self.session)
        lines += ["its console:", *said] if said else ["nothing on its console"]
        if not came and self.session.status is None:
            lines += silent.last_words(self.session, self._guest.memory)
        return "\n".join(lines)

    def mark(self, name: str, *, at: float | None = None, kernel: float | None = None) -> None:
        """Note that `name` happened, unless it is noted already."""
        if name not in self.marks:
            processor = 0.0
            with contextlib.suppress(OSError):  # it may have ended this instant
                processor = processor_of(self.session.pid)
            wall = self.session.elapsed if at is None else at
            self.marks[name] = Mark(wall=wall, kernel=kernel, processor=processor)

    def has_line(self, text: str) -> bool:
        """Return whether a line with this text was on the console."""
        return any(name.startswith("line ") and text in name for name in self.marks)

    def rest(self, seconds: float) -> None:
        """Let the guest run on."""
        end = time.monotonic() + seconds
        while self.session.open and (left := end - time.monotonic()) > 0:
            self.session.step(left)

    def used_memory(self) -> int | None:
        """Return MemTotal - MemAvailable in bytes as the guest tells it to its balloon, None where it does not.

        It is the median of what it tells in some seconds, for at any instant the container's health may be asked.
        """
        place = "/machine/peripheral/balloon"
        self.session.ask("qom-set", path=place, property="guest-stats-polling-interval", value=1)
        told: list[int] = []
        for _ in range(2 * _LOOKS):  # it needs a while to answer first
            self.rest(1.0)
            used = in_use(self.session.ask("qom-get", path=place, property="guest-stats"))
            told += [used] if used is not None else []
            if len(told) == _LOOKS:
                break
        return statistics.median_low(told) if told else None

    def power_off(self, timeout: float = 60.0) -> float:
        """Press the power button and return the seconds until QEMU is gone; raise GuestFailed where it stays."""
        begun = self.session.elapsed
        self.session.press_power_button()
        self.until(lambda: not self.session.open, timeout=timeout, what="the power-off")
        return self.session.elapsed - begun


def in_use(stats: Any) -> int | None:
    """Return total less available memory of QEMU's `guest-stats`; None before the guest has answered."""
    if not isinstance(stats, dict) or not stats.get("last-update"):
        return None
    values = stats.get("stats", {})
    total, available = values.get("stat-total-memory", 0), values.get("stat-available-memory", 0)
    known = 0 < available <= total < 1 << 63  # what a guest does not tell is all ones
    return total - available if known else None


@contextlib.contextmanager
def asking(port: int, begin: threading.Event, answered: Callable[[], None]) -> Iterator[None]:
    """From `begin` on, ask a forwarded port until a web server answers, and call `answered` then, all in a thread.

    QEMU takes the connection of a guest that does not answer yet, so that each question may take its whole time: what
    the guest says meanwhile would be heard that much later.
    """
    ended = threading.Event()

    def ask() -> None:
        begin.wait()
        while not ended.is_set():
            if answers(port):
                answered()
                return
            ended.wait(_STEP)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        begin.set()
        thread.join()


def answers(port: int) -> bool:
    """Return whether a container's web server behind a forwarded port answers now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=0.5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < 500
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
