"""The boot record's two changes in an update, done by PID 1 at the updater's word.

PID 1 alone writes the record: it refills tries and confirms releases while the updater runs, and two writers of two
copies would undo each other's work. The rules are `bootrecord.vacate` and `bootrecord.prefer`; each change is one
sector, synced and read back.
"""

from __future__ import annotations

import json
import socket
from typing import Protocol

from init.updater.errors import FailedError

CONTROL = "/run/berth/control"
BOUND = 60.0  # seconds: a disk that was just written to takes its time to sync one sector more
VACATE = "vacate"
PREFER = "prefer"


class Switch(Protocol):
    """Changes the record; both raise FailedError."""

    def vacate(self, slot: str) -> None:
        """From now on `slot` can't be booted: it is about to be written over."""

    def prefer(self, slot: str) -> None:
        """`slot` boots next, not confirmed yet, with all its tries."""


class ControlSwitch:
    """Asks PID 1 by its control socket."""

    def __init__(self, path: str = CONTROL) -> None:
        self._path = path

    def vacate(self, slot: str) -> None:
        """Ask for `vacate`."""
        self._ask(VACATE, slot)

    def prefer(self, slot: str) -> None:
        """Ask for `prefer`."""
        self._ask(PREFER, slot)

    def _ask(self, rule: str, slot: str) -> None:
        request = json.dumps({"verb": "update-record", "rule": rule, "slot": slot}).encode() + b"\n"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(BOUND)
                connection.connect(self._path)
                connection.sendall(request)
                with connection.makefile("rb") as stream:
                    answer = json.loads(stream.readline(1 << 16))
        except (OSError, ValueError) as error:
            raise FailedError(f"PID 1 could not be asked to change the boot record: {error}") from error
        if not isinstance(answer, dict) or answer.get("done") is not True:
            reason = answer.get("message") if isinstance(answer, dict) else None
            raise FailedError(f"the boot record was not changed: {reason or 'PID 1 gave no answer'}")
