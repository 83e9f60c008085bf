"""Berth's own small programs, run in the process that PID 1 has forked for them, without another start of Python.

Under emulation an interpreter that starts costs half a second of processor, and what the first container waits for is
one of these (`LIGHT`), as is every question after its health. The fork has the interpreter already. What
makes a program of it: no descriptor of PID 1's is left but the three streams, the environment is its own, and the way
back into PID 1 is closed.
"""

from __future__ import annotations

import ctypes
import os
import sys

from init.formats.release import PROGRAM

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from init.pid1.system import Spawn

_PR_SET_NAME = 15  # linux/prctl.h
_CANNOT_START = 125  # as the programs themselves say it


def _container(words: list[str]) -> int:
    from init.containers.run import main  # noqa: PLC0415 - in the child alone

    return main(words)


def _probe(words: list[str]) -> int:
    from init.containers.probe import main  # noqa: PLC0415 - the same

    return main(words)


LIGHT: dict[str, Callable[[list[str]], int]] = {"container": _container, "probe": _probe}


def words_of(argv: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of one of our light programs; none for every other program."""
    if argv[: len(PROGRAM)] != PROGRAM:
        return ()
    words = argv[len(PROGRAM) :]
    return words if words[:1] and words[0] in LIGHT else ()


def run(spawn: Spawn, words: tuple[str, ...]) -> NoReturn:
    """Be one of our own programs, in a fork whose streams, cgroup and user are in place already; never come back."""
    status = _CANNOT_START
    try:
        os.closerange(3, 1 << 20)
        os.environ.clear()
        os.environ.update(dict(spawn.environment))
        ctypes.CDLL(None).prctl(_PR_SET_NAME, words[0].encode(), 0, 0, 0)  # `ps` tells it from PID 1
        status = int(LIGHT[words[0]](list(words[1:])) or 0)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # a second PID 1 must not come of it
        sys.stderr.write(f"berth: {words[0]} failed: {type(error).__name__}: {error}\n")
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                continue
        os._exit(status)
