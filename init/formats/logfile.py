"""What a log file holds: one line for each that a service said.

    2026-11-25T08:01:02.123Z 12.345678 text

: the time of day (UTC), the seconds since the kernel started, what was said. `NAME.log.1` is the older half of a log
that grew too large. The folder of a former boot has its number at the end.
"""

from __future__ import annotations

FOLDER = "/var/log/berth"
FORMER_KEPT = 3  # boots before this one
LINES_MOST = 2000  # that are shown at once


def file_name(name: str) -> str:
    """Return the file's name, without `.log`, for a service's name."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).lstrip(".") or "_"


def parse(line: str) -> tuple[str, float, str] | None:
    """Return time of day, seconds and text of a line; None for what a power cut left of one."""
    time, _, rest = line.partition(" ")
    seconds, space, text = rest.partition(" ")
    try:
        return (time, float(seconds), text) if space and time.endswith("Z") else None
    except ValueError:
        return None
