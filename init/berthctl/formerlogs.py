"""The program `former-logs BOOT LINES [NAME]`: what was said in a boot before, as lines of JSON.

A child of PID 1, whose standard output is the connection of a `berthctl logs --boot -1`.
"""

from __future__ import annotations

import json
import os
import sys

from init.formats import events
from init.formats.logfile import FOLDER, FORMER_KEPT, file_name, parse

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOST = 8 << 20  # bytes read of one file, from its end


def main(words: list[str]) -> int:
    """Print them; what can't be had is printed as `berth.error/1`, which the other end shows."""
    boot, count, name = int(words[0]), int(words[1]), words[2] if len(words) > 2 else None
    os.set_blocking(1, True)  # PID 1 never waits for a reader; this may
    try:
        for value in answer(FOLDER, boot, count, name):
            sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


def answer(folder: str, boot: int, count: int, name: str | None) -> Iterator[dict[str, object]]:
    """Yield what a client is told: a head and the newest `count` lines, or one failure. `boot` is 1 for the last."""
    place = f"{folder}.{boot}"
    there = sorted({file.partition(".log")[0] for file in _names(place) if ".log" in file})
    if not there:
        hint = f"logs are kept on state, of {FORMER_KEPT} boots; a machine without a disk forgets them"
        yield _failure("boot", f"there are no logs of boot -{boot}", hint)
        return
    if name is not None and file_name(name) not in there:
        yield _failure("name", f"there is no log of {name} in boot -{boot}", f"there are: {', '.join(there)}")
        return
    yield {"format": events.FORMAT}
    lines: list[dict[str, object]] = []
    for each in there if name is None else [file_name(name)]:
        lines += _tail(_lines(place, each), count)
    lines.sort(key=lambda line: float(str(line["t"])))  # the clock may have been set in between
    yield from _tail(lines, count)


def _tail(lines: Iterable[dict[str, object]], count: int) -> list[dict[str, object]]:
    return list(lines)[-count:] if count else []


def _lines(place: str, name: str) -> Iterator[dict[str, object]]:
    for file in (f"{place}/{name}.log.1", f"{place}/{name}.log"):
        for text in _text(file).splitlines():
            parsed = parse(text)
            if parsed is not None:
                yield {"time": parsed[0], "t": parsed[1], "name": name, "text": parsed[2]}


def _text(path: str) -> str:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - without pathlib
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _MOST))
            return stream.read(_MOST).decode("utf-8", "replace")
    except OSError:
        return ""


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - the same
    except OSError:
        return []


def _failure(code: str, message: str, hint: str) -> dict[str, object]:
    return {"format": "berth.error/1", "code": code, "message": message, "hint": hint}
