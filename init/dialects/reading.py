"""Reading where configurations may lie: at once, or all places side by side under one bound.

A disk may be slow, and a server silent; neither may keep the others waiting. Each place is read by a thread of its own,
and whoever asks for a place waits until it is read or the bound is over. A thread that hangs is left to hang: the
program ends without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from init.dialects import nocloud
from init.dialects.netseed import Address, Fetched, fetch
from init.dialects.nocloud import Seed

_STACK = 512 << 10  # bytes: a thread's usual 8 MiB count against the child's limit of address space


class Reading(Protocol):
    """How a place is read. Nothing is raised: what can't be read has a `problem` or a `reason`."""

    def folder(self, path: Path) -> Seed:
        """Return a seed folder."""

    def file(self, path: Path) -> Seed:
        """Return a seed whose user-data is a file."""

    def address(self, address: Address) -> Fetched:
        """Return what an address gave."""


class AtOnce:
    """Reads a place when it is asked for, and asks no network."""

    def folder(self, path: Path) -> Seed:
        """Return a seed folder."""
        return nocloud.read_folder(path)

    def file(self, path: Path) -> Seed:
        """Return a seed whose user-data is a file."""
        data, problem = nocloud.read_part(path)
        return Seed(user_data=data, problem=problem and f"it can't be read: {problem}")

    def address(self, address: Address) -> Fetched:  # noqa: ARG002 - the protocol's shape
        """Say that nobody is asked."""
        return Fetched(seed=None, reason="there is no network")


AT_ONCE = AtOnce()


class SideBySide:
    """Begins to read all places when it is made. `seconds`: how long in all; `network`: how long addresses may take."""

    def __init__(
        self,
        *,
        folders: Iterable[Path] = (),
        files: Iterable[Path] = (),
        addresses: Iterable[Address] = (),
        seconds: float,
        network: float | None = None,
        reader: Reading = AT_ONCE,
    ) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._network = network
        self._done: dict[Path | Address, Any] = {}
        self._threads: dict[Path | Address, Any] = {}
        for path in folders:
            self._begin(path, lambda path=path: reader.folder(path))  # type: ignore[misc]
        for path in files:
            self._begin(path, lambda path=path: reader.file(path))  # type: ignore[misc]
        if network is not None:
            for address in addresses:
                self._begin(address, lambda address=address: fetch(address, network))  # type: ignore[misc]

    def _begin(self, place: Path | Address, read: Callable[[], object]) -> None:
        import threading  # noqa: PLC0415 - `berth check` reads one file and needs none

        def run() -> None:
            self._done[place] = read()

        threading.stack_size(_STACK)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads[place] = thread

    def _wait(self, place: Path | Address, seconds: float) -> Any:
        if place in self._threads:
            self._threads[place].join(max(seconds, 0))
        return self._done.get(place)

    def folder(self, path: Path) -> Seed:
        """Return a seed folder that was named at the start."""
        return self._wait(path, self._end - time.monotonic()) or self._late()

    def file(self, path: Path) -> Seed:
        """Return a seed whose user-data is a file that was named at the start."""
        return self._wait(path, self._end - time.monotonic()) or self._late()

    def _late(self) -> Seed:
        return Seed(problem=f"it can't be read within {self._seconds:g} s")

    def address(self, address: Address) -> Fetched:
        """Return what an address gave that was named at the start."""
        if self._network is None:
            return Fetched(seed=None, reason="there is no network")
        # One moment more than `fetch` takes for itself, whose own reason says more.
        end = self._end - self._seconds + self._network + 1
        had: Fetched | None = self._wait(address, end - time.monotonic())
        return had or Fetched(seed=None, reason=f"no answer within {self._network:g} s")
