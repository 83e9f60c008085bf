"""When a machine looks for a release by itself (`berth.update.policy`), pure. Times are seconds since 1970, UTC.

| policy | looks                                                             | takes and reboots          |
|--------|-------------------------------------------------------------------|----------------------------|
| manual | never                                                             | –                          |
| now    | 20 to 60 s after the boot gate, then every 48 to 72 minutes       | at once                    |
| window | once in each window, within its first half and at most one hour in | while the window is open   |

Each machine has a place of its own in these spans, made from its id: a fleet that was switched on together does not
ask, or reboot, in the same second.
"""

from __future__ import annotations

from dataclasses import dataclass

DAY = 86400
WEEK = 7 * DAY
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_FIRST_DAY = 3  # 1 January 1970 was a Thursday
FIRST = (20.0, 40.0)  # seconds: at least, and spread
AGAIN = (2880.0, 1440.0)
SPREAD_MOST = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """`Sun 03:00-05:00` or `03:00-05:00`: a day of `DAYS` or None, seconds of the day and of length."""

    day: int | None
    start: int
    length: int


def parse(text: str) -> Window | None:
    """Read a window; None for what has not its form."""
    head, _, span = text.strip().rpartition(" ")
    start, dash, end = span.partition("-")
    if not dash or (head and head not in DAYS):
        return None
    begins, ends = _seconds(start), _seconds(end)
    if begins is None or ends is None:
        return None
    return Window(day=DAYS.index(head) if head else None, start=begins, length=(ends - begins) % DAY or DAY)


def _seconds(text: str) -> int | None:
    hour, colon, minute = text.partition(":")
    if not (colon and hour.isdecimal() and minute.isdecimal() and int(hour) < 24 and int(minute) < 60):
        return None
    return int(hour) * 3600 + int(minute) * 60


def fraction(machine_id: str) -> float:
    """Return a machine's own place between 0 and 1."""
    try:
        return int(machine_id[:8], 16) / 2**32
    except ValueError:
        return 0.5


def since_opening(window: Window, now: float) -> float:
    """Return how long ago the window opened last, in seconds."""
    period = DAY if window.day is None else WEEK
    offset = window.start if window.day is None else ((window.day - _FIRST_DAY) % 7) * DAY + window.start
    return (now - offset) % period


def is_open(window: Window, now: float) -> bool:
    """Tell whether the window is open."""
    return since_opening(window, now) < window.length


def until_opening(window: Window, now: float) -> float:
    """Return the seconds until the window opens next; 0 while it is open."""
    if is_open(window, now):
        return 0.0
    return (DAY if window.day is None else WEEK) - since_opening(window, now)


def until_look(policy: str, window: Window | None, now: float, place: float, *, first: bool) -> float | None:
    """Return the seconds until the next look; None: never. `first`: there was none in this boot."""
    if policy == "now":
        least, spread = FIRST if first else AGAIN
        return least + spread * place
    if policy != "window" or window is None:
        return None
    delay = place * min(window.length / 2, SPREAD_MOST)
    ago = since_opening(window, now)
    if first and ago < window.length:  # a boot in the middle of it; the one that an update made looks once more
        return max(delay - ago, FIRST[0])
    return (DAY if window.day is None else WEEK) - ago + delay
