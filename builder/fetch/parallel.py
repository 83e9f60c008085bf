"""Does the same for many things at once, in threads that never keep the program from ending."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


def for_each(items: Sequence[T], work: Callable[[T], R], *, threads: int) -> list[R]:
    """Return `work(item)` for all `items`, in their order. The first exception stops what has not begun and is raised.

    The threads are daemons, unlike those of `concurrent.futures`: Ctrl-C ends the program at once, even while
    a server is silent.
    """
    results: dict[int, R] = {}
    failures: list[BaseException] = []
    waiting = list(enumerate(items))[::-1]
    changed = threading.Condition()
    running = min(threads, len(items))

    def run() -> None:
        nonlocal running
        while True:
            with changed:
                if failures or not waiting:
                    running -= 1
                    changed.notify_all()
                    return
                at, item = waiting.pop()
            try:
                result = work(item)
            except BaseException as failure:
                with changed:
                    failures.append(failure)
            else:
                with changed:
                    results[at] = result

    for number in range(running):
        threading.Thread(target=run, daemon=True, name=f"berth-{number}").start()
    with changed:
        try:
            while running and not failures:
                changed.wait(timeout=1.0)  # a wait without end would hold back Ctrl-C
        finally:
            waiting.clear()
        if failures:
            raise failures[0]
    return [results[at] for at in range(len(items))]
