"""Standard output that remembers how writing failed: a full disk or a closed stream is said, never passed over."""

from __future__ import annotations

import io
import os
import sys
from typing import Any


class Descriptor(io.FileIO):
    """A file descriptor; `failure` is the first error that writing to it met."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write, and remember what went wrong (raised as ever, but not everybody above listens)."""
        try:
            return super().write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise


def standard_output() -> None:
    """Put a standard output in place that remembers, and let names that the locale can't show be printed in some form.

    A standard stream that is closed gets the null device, so that no file is given its number: standard output's
    refuses to be written, standard error's takes everything.
    """
    _occupy()
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    if sys.stdout is sys.__stdout__:  # else another program's, as in tests
        old = sys.stdout
        encoding = "utf-8" if old is None else old.encoding
        at_once = isinstance(old, io.TextIOWrapper) and (old.line_buffering or old.write_through)
        raw = io.BufferedWriter(Descriptor(1, "w", closefd=False))
        sys.stdout = io.TextIOWrapper(raw, encoding=encoding, line_buffering=at_once)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape" if stream.encoding == "utf-8" else "backslashreplace")


def failure_of_output() -> OSError | None:
    """Write out what is pending on standard output, and return the first error that writing ever met.

    After a failure all that is still printed goes nowhere, so that the interpreter's end meets no second one.
    """
    descriptor = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(descriptor, Descriptor):
        return None
    try:
        sys.stdout.flush()
    except OSError as error:
        descriptor.failure = descriptor.failure or error
    if descriptor.failure is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor.fileno())
        os.close(nowhere)
    return descriptor.failure


def _occupy() -> None:
    """Give each standard stream that is closed the null device; the lowest free number is always taken (open(2)).

    Programs that are started get them, too: what they print fails as ours does.
    """
    for number, access in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, access), True)
