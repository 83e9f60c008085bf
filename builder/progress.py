"""How steps report what they do: a protocol, so that no step knows who watches.

`builder.cli` chooses the body: a bar on a terminal, plain lines elsewhere, nothing in tests.
"""

from __future__ import annotations

from typing import Protocol


class Task(Protocol):
    """One thing under way whose size may be known."""

    def advance(self, amount: int) -> None:
        """Report `amount` more units (bytes, or items) done."""

    def done(self, note: str = "") -> None:
        """Report the end; `note` says in a few words what came of it."""


class Progress(Protocol):
    """Where a step reports to."""

    def task(self, title: str, *, total: int | None = None, unit: str = "bytes") -> Task:
        """Begin a task. `total` is in `unit` (`bytes` or a plural noun), None where it is not known."""

    def note(self, message: str) -> None:
        """Say one line to the person who watches."""

    def clear(self) -> None:
        """Take away what is shown of tasks that will not come to their end; further ones may begin."""


class SilentTask:
    """A task that nobody watches."""

    def advance(self, amount: int) -> None:
        """Ignore it."""

    def done(self, note: str = "") -> None:
        """Ignore it."""


class SilentProgress:
    """For tests and for programs that want no reports."""

    def task(self, title: str, *, total: int | None = None, unit: str = "bytes") -> Task:  # noqa: ARG002 - the protocol's
        """Begin a task that nobody watches."""
        return SilentTask()

    def note(self, message: str) -> None:
        """Ignore it."""

    def clear(self) -> None:
        """Nothing is shown."""
