"""Runs `berth` and kills it, with all that it started, at the n-th thing that it does to files or programs.

    python falling.py main|other N NOTE build minimal …

What counts is what Python tells its audit hooks of: a file opened, renamed, linked or removed, a folder made, a program
started; by the main thread, or by any other. The main thread does the same each time, so that every N up to the number
of its things is an instant within the build. With N = 0 nothing is killed, and NOTE gets thread and second of each.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time
from pathlib import Path

EVENTS = frozenset((
    "open", "os.rename", "os.remove", "os.link", "os.symlink", "os.mkdir", "os.rmdir", "subprocess.Popen",
))  # fmt: skip


def watch(which: str, last: int, done: list[tuple[str, float]]) -> None:
    """Count from now on, in this process alone; `last` is the number of `which` at which all ends, 0 for never."""
    numbers = itertools.count(1)
    begin, me, main = time.monotonic(), os.getpid(), threading.get_ident()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS or str(arguments[0]).endswith((".py", ".pyc", ".so")) or os.getpid() != me:
            return
        thread = "main" if threading.get_ident() == main else "other"
        if thread == which and next(numbers) == last:
            os.killpg(0, signal.SIGKILL)
        done.append((thread, time.monotonic() - begin))

    sys.addaudithook(hook)


def run() -> int:
    """Be `berth`."""
    which, last, note, *words = sys.argv[1:]
    sys.path.pop(0)  # this file's own folder is no part of the product
    from builder.cli.main import main  # noqa: PLC0415 - the clone's

    done: list[tuple[str, float]] = []
    watch(which, int(last), done)
    status = main(words)
    Path(note).write_text("".join(f"{thread} {second}\n" for thread, second in list(done)))
    return status


if __name__ == "__main__":
    sys.exit(run())
