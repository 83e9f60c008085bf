"""One running QEMU: its events, console and control, each over a socket that it inherits.

Sockets made in pairs need no path, so no length limit, no file left behind and no race at the start. All reading goes
through `step`, which one thread calls; nothing here decides what the reports mean.
"""

from __future__ import annotations

import ctypes
import json
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from builder.emulate.command import TERMINAL, Guest, arguments
from builder.emulate.qmp import Qmp
from builder.errors import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping

LAST_LINES = 200
_MOST_LINE = 65536  # bytes; a guest that never ends its line is no reason to fill this computer's memory


class Starter(Protocol):
    """What of the tools tree is needed here."""

    def argv(self, tool: str, *arguments: str) -> list[str]:
        """Return the argument list that starts a tool."""

    def environment(self) -> Mapping[str, str]:
        """Return the environment that a tool starts in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """Something the guest did: an event (JSON object), or a line on the console. `at` is seconds since QEMU's start."""

    at: float
    event: dict[str, Any] | None = None
    line: str | None = None


_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _end_with_parent() -> None:
    """Between fork and exec: a machine does not outlive the program that watches it, even one that was killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Session:
    """A guest under way. Use it as a context: leaving it ends QEMU in any case."""

    def __init__(self, guest: Guest, tools: Starter, *, attach: bool = False, channel: bool = True) -> None:
        """Start QEMU; `attach` gives it this terminal as the guest's console. Raises ToolError.

        Without `channel` the guest has no event port, which costs it 12 MiB; events are then looked for among the
        console's lines, where `berth.console=events` on its command line puts them.
        """
        self._channel = channel
        ours, theirs = zip(*(socket.socketpair() for _ in range(3)), strict=True)
        self._events, self._console, control = ours
        wired = replace(
            guest,
            events=theirs[0].fileno() if channel else None,
            console=TERMINAL if attach else theirs[1].fileno(),
            control=theirs[2].fileno(),
        )
        self.argv = tools.argv("qemu-system-x86_64", *arguments(wired))
        self.started = time.monotonic()
        try:
            self._process = subprocess.Popen(
                self.argv, env=dict(tools.environment()), pass_fds=[end.fileno() for end in theirs],
                stdin=None if attach else subprocess.DEVNULL, stdout=None if attach else subprocess.DEVNULL,
                stderr=subprocess.PIPE, start_new_session=not attach, preexec_fn=_end_with_parent,  # noqa: PLW1509 - no threads here
            )  # fmt: skip
        except OSError as error:
            for end in ours:
                end.close()
            raise ToolError(f"QEMU cannot be started: {error.strerror}") from error
        finally:
            for end in theirs:
                end.close()
        self._control = Qmp(control)
        self._control_socket = control
        assert self._process.stderr is not None
        self._stderr = self._process.stderr
        self._partial: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        for stream in (self._events, self._console):
            stream.setblocking(False)
            self._selector.register(stream, selectors.EVENT_READ)
        self._selector.register(self._stderr, selectors.EVENT_READ)
        self.console: deque[str] = deque(maxlen=LAST_LINES)
        self.complaints: deque[str] = deque(maxlen=20)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.cut_power()

    @property
    def elapsed(self) -> float:
        """Seconds since QEMU's start."""
        return time.monotonic() - self.started

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """QEMU's exit status, None while it runs."""
        return self._process.poll()

    def step(self, timeout: float) -> list[Report]:
        """Return what came within `timeout` seconds; at once when something did. An empty list: nothing, or the end."""
        reports: list[Report] = []
        for key, _ in self._selector.select(max(0.0, timeout)):
            reports.extend(self._read(key.fileobj))
        if not self._selector.get_map():
            self._process.wait()
        return reports

    @property
    def open(self) -> bool:
        """Whether anything can still come."""
        return bool(self._selector.get_map())

    @property
    def prompt(self) -> str:
        """What the console shows of a line that has not ended."""
        return self._partial.get(id(self._console), b"").decode(errors="replace")

    def type(self, text: str) -> None:
        """Type on the guest's serial console."""
        self._console.setblocking(True)
        try:
            self._console.sendall(text.encode())
        finally:
            self._console.setblocking(False)

    def ask(self, command: str, **values: object) -> Any:
        """Run a command of QEMU's control protocol. Raises ToolError."""
        return self._control.ask(command, **values)

    def press_power_button(self) -> None:
        """Ask the guest for an orderly power-off (ACPI). A guest that is gone already is no error."""
        if self.status is None:
            try:
                self.ask("system_powerdown")
            except ToolError:
                if self.status is None:
                    raise

    def cut_power(self) -> None:
        """End QEMU at once, as a power cut would, and release everything."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._events, self._console, self._stderr):
            if stream in {key.fileobj for key in self._selector.get_map().values()}:
                self._selector.unregister(stream)
            stream.close()
        self._control_socket.close()
        self._selector.close()

    def _read(self, stream: Any) -> list[Report]:
        try:
            data = stream.recv(65536) if isinstance(stream, socket.socket) else stream.read1(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(stream)
        held = self._partial.get(id(stream), b"") + data
        *lines, rest = held.split(b"\n")
        if rest and (not data or len(rest) > _MOST_LINE):
            lines, rest = [*lines, rest], b""
        self._partial[id(stream)] = rest
        reports = (self._report(stream, line.decode(errors="replace").rstrip("\r")) for line in lines)
        return [report for report in reports if report is not None]

    def _report(self, stream: Any, line: str) -> Report | None:
        if stream is self._console:
            self.console.append(line)
            event = None if self._channel else _event(line)
            return Report(at=self.elapsed, line=line) if event is None else Report(at=self.elapsed, event=event)
        if stream is self._stderr:
            self.complaints.append(line)
            return None
        event = _event(line)
        return None if event is None else Report(at=self.elapsed, event=event)


def _event(line: str) -> dict[str, Any] | None:
    """Return a line's event; None for what is none: the stream's first line, or another format's."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None
