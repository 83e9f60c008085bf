"""Standard output, where it may be closed, full, read by nobody, or of an alphabet that lacks a letter."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from init.berthctl.talk import Failure


def ready() -> None:
    """Let printing work whatever the streams are: nowhere where one is closed, in some form what it can't show."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - for the whole of this program's life
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: PTH123, SIM115 - the same
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flush() -> None:
    """Write what is pending, while somebody can be told that it fails; raise OSError."""
    sys.stdout.flush()


def lost(error: OSError) -> Failure | None:
    """Return what a person is told after an error of the system; None where the reader went away (`| head`).

    What is pending goes nowhere: Python would complain once more when it flushes at its end.
    """
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return None
    where = error.filename or "standard output"
    return Failure("output", f"{where} can't be written: {error.strerror or error}", "is there room left?")
