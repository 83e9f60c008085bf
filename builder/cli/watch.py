"""Who watches a build: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from builder.progress import Progress, Task

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_PLAIN_INTERVAL = 5.0  # seconds between two lines of one task, where no bar can be drawn


def choose_progress(stream: TextIO) -> Progress:
    """Return a bar where `stream` is a capable terminal, plain lines elsewhere."""
    if stream.isatty() and os.environ.get("TERM") not in (None, "dumb"):
        return BarProgress(stream)
    return PlainProgress(stream)


def show_bytes(count: float) -> str:
    """Say a number of bytes as people do: `1.4 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit in ("B", "kB") else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("the loop ends at GB")


@dataclass(kw_only=True)
class PlainTask:
    """A task told in lines: the end always, the middle every few seconds."""

    stream: TextIO
    title: str
    total: int | None
    unit: str
    started: float = field(default_factory=time.monotonic)
    amount: int = 0
    shown: float = field(default_factory=time.monotonic)

    def _measure(self) -> str:
        show = show_bytes if self.unit == "bytes" else lambda number: f"{number:.0f}"
        seconds = max(time.monotonic() - self.started, 0.001)
        text = show(self.amount)
        if self.total:
            text += f" of {show(self.total)}"
        if self.unit != "bytes":
            return f"{text} {self.unit}"
        rate = self.amount / seconds
        text += f", {show_bytes(rate)}/s"
        if self.total and 0 < self.amount < self.total:
            text += f", {(self.total - self.amount) / max(rate, 1):.0f} s left"
        return text

    def advance(self, amount: int) -> None:
        """Count, and say so from time to time."""
        self.amount += amount
        now = time.monotonic()
        if now - self.shown >= _PLAIN_INTERVAL:
            self.shown = now
            print(f"  {self.title}: {self._measure()}", file=self.stream, flush=True)

    def done(self, note: str = "") -> None:
        """Say the end, how long it took, and what came of it."""
        seconds = time.monotonic() - self.started
        what = note or (self._measure() if self.amount else "done")
        print(f"  {self.title}: {what} ({seconds:.1f} s)", file=self.stream, flush=True)


@dataclass(kw_only=True)
class BarTask:
    """A task drawn as a bar."""

    bars: RichProgress
    identity: TaskID
    title: str

    def advance(self, amount: int) -> None:
        """Move the bar."""
        self.bars.advance(self.identity, amount)

    def done(self, note: str = "") -> None:
        """Replace the bar by a line."""
        seconds = self.bars.tasks[self.bars.task_ids.index(self.identity)].elapsed or 0.0
        self.bars.remove_task(self.identity)
        self.bars.console.print(f"  {self.title}: {note or 'done'} ({seconds:.1f} s)", highlight=False, markup=False)
        if not self.bars.task_ids:
            self.bars.stop()


class BarProgress:
    """Bars with bytes, rate and time left, by rich."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - 48 ms that a machine's reader need not pay
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("  {task.description}"), BarColumn(bar_width=30), TextColumn("{task.fields[measure]}"),
            TimeRemainingColumn(), console=Console(file=stream), transient=True,
        )  # fmt: skip

    def task(self, title: str, *, total: int | None = None, unit: str = "bytes") -> Task:
        """Begin a bar."""
        self._bars.start()
        identity = self._bars.add_task(title, total=total, measure="")
        return MeasuredBar(bars=self._bars, identity=identity, title=title, unit=unit)

    def note(self, message: str) -> None:
        """Say one line above the bars."""
        self._bars.console.print(f"  {message}", highlight=False, markup=False)

    def clear(self) -> None:
        """Take the bars away and give the cursor back, which is hidden as long as one is drawn."""
        for identity in self._bars.task_ids:
            self._bars.remove_task(identity)
        self._bars.stop()


@dataclass(kw_only=True)
class MeasuredBar(BarTask):
    """A bar that tells its amount and rate in words."""

    unit: str

    def advance(self, amount: int) -> None:
        """Move the bar and rewrite its measure."""
        super().advance(amount)
        state = self.bars.tasks[self.bars.task_ids.index(self.identity)]
        if self.unit == "bytes":
            whole = f" of {show_bytes(state.total)}" if state.total else ""
            text = f"{show_bytes(state.completed)}{whole}, {show_bytes(state.speed or 0)}/s"
        else:
            text = f"{state.completed:.0f} {self.unit}"
        self.bars.update(self.identity, measure=text)


class PlainProgress:
    """Lines for logs, CI and terminals that can't draw."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def task(self, title: str, *, total: int | None = None, unit: str = "bytes") -> Task:
        """Begin a task told in lines."""
        return PlainTask(stream=self._stream, title=title, total=total, unit=unit)

    def note(self, message: str) -> None:
        """Say one line."""
        print(f"  {message}", file=self._stream, flush=True)

    def clear(self) -> None:
        """Lines stay."""
