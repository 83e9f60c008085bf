"""A machine under test: started, waited for by its events, cut off, listened to. No test reads a clock or a prompt.

    with Machine(iso, tools=tools, folder=tmp_path) as machine:
        machine.wait(events.CONTAINER_HEALTHY, name="web")
        machine.get(8080)
        machine.power_off()

A machine that dies of the emulator's known fault (`builder.emulate.fault`) is started once more, which is counted in
`retries` and told at the run's end (`retries.py`).
"""

from __future__ import annotations

import shutil
import socket
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.emulate import fault
from builder.emulate.command import Guest
from builder.emulate.options import Forward, Options
from builder.emulate.run import prepare
from builder.emulate.session import Session
from builder.tools.call import Tools
from init.formats import events

PATIENCE = 180.0  # seconds for one event: ten times what it takes on a quiet machine
SHOWN = 40  # lines of the console in a failure

retries = 0


class Machine:
    """One machine. `changed` may alter the guest before it starts (another bus, another card)."""

    def __init__(
        self,
        image: Path,
        *,
        tools: Tools,
        folder: Path,
        config: str | None = None,
        changed: Callable[[Guest], Guest] = lambda guest: guest,
        forwards: tuple[int, ...] = (),
        **options: Any,
    ) -> None:
        """Prepare it; `forwards` are ports of the guest, `options` those of `Options` (memory 512, one processor)."""
        self.folder = folder / f"machine-{time.monotonic_ns()}"
        self.folder.mkdir()
        if config is not None:
            options["config"] = config.encode()
        wanted = {
            "memory": 512,
            "cpus": 1,
            "forwards": tuple(Forward(host=0, guest=port) for port in forwards),
            **options,
        }
        guest, _ = prepare(Options(image=image, **wanted), tools=tools, folder=self.folder)
        self.guest = changed(guest)
        self.tools = tools
        self.seen: list[dict[str, Any]] = []
        self.console: list[str] = []
        self._session: Session | None = None

    def __enter__(self) -> Machine:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.cut_power()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def session(self) -> Session:
        assert self._session is not None, "the machine is off"
        return self._session

    def start(self) -> None:
        """Switch it on, with an empty memory of what came before."""
        self.cut_power()
        self.seen, self.console = [], []
        self._session = Session(self.guest, self.tools)

    def save(self, path: Path) -> None:
        """Put what it is doing into a file, and end. A machine with the same parts goes on from there."""
        self.session.ask("migrate", uri=f"file:{path}")
        while (status := self.session.ask("query-migrate").get("status")) != "completed":
            assert status not in ("failed", "cancelled"), self.explain(f"it can't be saved: {status}")
            self._listen(0.05)
        self.session.ask("quit")
        self.wait_until_off()

    def go_on(self, path: Path) -> None:
        """Go on from where a machine with the same parts was saved, with an empty memory of what came before."""
        self.cut_power()
        self.seen, self.console = [], []
        guest = replace(self.guest, extra=(*self.guest.extra, "-incoming", f"file:{path}"))
        self._session = Session(guest, self.tools)

    def cut_power(self) -> None:
        """Take the power away, as from a real machine: nothing is written any more."""
        if self._session is not None:
            self._session.cut_power()
            self._session = None

    def wait(self, event: str, *, timeout: float = PATIENCE, after: int = 0, **fields: object) -> Mapping[str, Any]:
        """Return the first event of that name with these fields, from the `after`-th on."""
        return self.wait_for(
            lambda one: one["event"] == event and all(one.get(key) == value for key, value in fields.items()),
            what=f"{event} {fields or ''}", timeout=timeout, after=after,
        )  # fmt: skip

    def wait_for(
        self, matches: Callable[[Mapping[str, Any]], bool], *, what: str, timeout: float = PATIENCE, after: int = 0
    ) -> Mapping[str, Any]:
        """Return the first event that matches."""
        deadline = time.monotonic() + timeout
        at = after
        while True:
            while at < len(self.seen):
                if matches(self.seen[at]):
                    return self.seen[at]
                at += 1
            if self._restarted_after_fault():
                at, deadline = 0, time.monotonic() + timeout
            if not self.session.open:
                raise AssertionError(self.explain(f"the guest ended before {what}"))
            if time.monotonic() > deadline:
                raise AssertionError(self.explain(f"{what} did not come within {timeout:.0f} s"))
            self._listen(min(1.0, deadline - time.monotonic()))

    def wait_until(self, condition: Callable[[], bool], *, what: str, timeout: float = PATIENCE) -> None:
        """Wait for something that the machine does to others."""
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.session.open or time.monotonic() > deadline:
                raise AssertionError(self.explain(f"{what} did not come"))
            self._listen(0.05)

    def wait_for_line(self, text: str, *, timeout: float = PATIENCE) -> str:
        """Return the first line of the console that holds `text`."""
        deadline = time.monotonic() + timeout
        while True:
            for line in self.console:
                if text in line:
                    return line
            if not self.session.open or time.monotonic() > deadline:
                raise AssertionError(self.explain(f"the console did not show {text!r}"))
            self._listen(1.0)

    def type_at(self, prompt: str, text: str, *, timeout: float = PATIENCE) -> None:
        """Type a line on the console once it shows a prompt, which no line's end follows."""
        deadline = time.monotonic() + timeout
        before = len(self.console)
        while prompt not in self.session.prompt and not any(prompt in line for line in self.console[before:]):
            if not self.session.open or time.monotonic() > deadline:
                raise AssertionError(self.explain(f"the console did not ask {prompt!r}"))
            self._listen(1.0)
        self.session.type(f"{text}\n")

    def names(self) -> list[str]:
        """Return the names of the events so far."""
        return [one["event"] for one in self.seen]

    def power_off(self, *, timeout: float = 90.0) -> None:
        """Press the power button and see that the end is orderly: `shutdown.clean`, then off."""
        before = len(self.seen)
        self.session.press_power_button()
        self.wait(events.SHUTDOWN_CLEAN, after=before, timeout=timeout)
        self.wait_until_off(timeout=timeout)

    def wait_until_off(self, *, timeout: float = 30.0) -> None:
        """Wait for QEMU's own end, with status 0."""
        if not self.off_within(timeout):
            raise AssertionError(self.explain(f"the guest is still on after {timeout:.0f} s"))
        assert self.session.status == 0, self.explain(f"QEMU ended with {self.session.status}")

    def off_within(self, seconds: float) -> bool:
        """Wait for QEMU's end; tell whether it came."""
        deadline = time.monotonic() + seconds
        while self.session.open and time.monotonic() < deadline:
            self._listen(0.5)
        return not self.session.open

    def reset(self) -> None:
        """Press the reset button; what was seen stays, use `after` to wait for what comes."""
        self.session.ask("system_reset")

    def hear(self, seconds: float = 0.0) -> None:
        """Take in what the machine has said so far; wait at most so long for more."""
        self._listen(seconds)

    def port(self, guest: int) -> int:
        """Return the port of this computer that leads to a guest's."""
        return next(forward.host for forward in self.guest.forwards if forward.guest == guest)

    def says_first(self, port: int, *, timeout: float = 30.0) -> bytes:
        """Return what a guest's server says before it is asked; nothing where the guest refuses the connection."""
        with socket.create_connection(("127.0.0.1", self.port(port)), timeout=timeout) as connection:
            try:
                return connection.recv(256)
            except ConnectionError:
                return b""

    def get(self, port: int, path: str = "/", *, timeout: float = 60.0) -> bytes:
        """Return what a guest's HTTP server answers; the first connections may come before it listens."""
        address = f"http://127.0.0.1:{self.port(port)}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + timeout
        while True:
            try:
                with opener.open(address, timeout=10) as answer:
                    body: bytes = answer.read()
                    return body
            except OSError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(self.explain(f"{address}: {error}")) from error
                self._listen(0.5)

    def explain(self, what: str) -> str:
        """Return a failure with the events and the console's last lines."""
        last = self.console[-SHOWN:]
        complaints = list(self._session.complaints) if self._session else []
        return "\n".join([what, f"events: {' '.join(self.names()) or 'none'}", *complaints, "console:", *last])

    def _listen(self, timeout: float) -> None:
        for report in self.session.step(timeout):
            if report.event is not None:
                self.seen.append(report.event)
            elif report.line is not None:
                self.console.append(report.line)

    def _restarted_after_fault(self) -> bool:
        global retries  # noqa: PLW0603 - counted over the whole run, on purpose
        complaints = self._session.complaints if self._session else ()
        if retries or not fault.died_of_it((*self.console, *complaints)):
            return False
        retries += 1
        self.start()
        return True


def on_bus(bus: str) -> Callable[[Guest], Guest]:
    """Return a change that hangs the first drive on another bus."""
    return lambda guest: replace(guest, drives=(replace(guest.drives[0], bus=bus), *guest.drives[1:]))


def with_card(nic: str) -> Callable[[Guest], Guest]:
    """Return a change to another network card."""
    return lambda guest: replace(guest, nic=nic)
