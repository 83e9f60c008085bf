"""Telling how it goes: PID 1 by lines of JSON on stdout, and the record on state, which outlives everything."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from init.formats import updates
from init.formats.updates import UpdateRecord

EVERY = 1.0  # seconds between two lines about the same state


def stamp(seconds: float) -> str:
    """Return a time as RFC 3339 has it, UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Keeper(Protocol):
    """Where the record is kept."""

    def load(self) -> UpdateRecord:
        """Return it; an empty one where there is none."""

    def store(self, record: UpdateRecord) -> None:
        """Keep it, whole or not at all; raise OSError."""


class FileKeeper:
    """The record as a file on state."""

    def __init__(self, path: str = updates.PATH) -> None:
        self._path = Path(path)

    def load(self) -> UpdateRecord:
        """Return it. One that is damaged is as if there were none: it must not keep a machine from its updates."""
        try:
            return updates.decode(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            return UpdateRecord()

    def store(self, record: UpdateRecord) -> None:
        """Write it beside, sync, put it in place, sync the folder."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        beside = self._path.with_name(f".{self._path.name}.new")
        with beside.open("wb") as file:
            file.write(updates.encode(record))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Teller:
    """Lines for PID 1: a new state at once, progress within one at most every second."""

    def __init__(
        self,
        write: Callable[[str], object] = sys.stdout.write,
        flush: Callable[[], object] = sys.stdout.flush,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._flush = flush
        self._clock = clock
        self._state = ""
        self._next = 0.0

    def tell(self, state: str, **fields: object) -> None:
        """Say a state, with what is known of it."""
        now = self._clock()
        if state == self._state and now < self._next and not fields.get("reason"):
            return
        self._state, self._next = state, now + EVERY
        self._write(json.dumps({"state": state, **fields}, ensure_ascii=False) + "\n")
        self._flush()
