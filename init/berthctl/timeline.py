"""`berthctl timeline`: when what happened in this boot, as bars."""

from __future__ import annotations

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "how long this boot took, from the kernel's start, event by event"
EXAMPLES = ("berthctl timeline", "berthctl timeline --json")
_WIDTH = 30
_ROWS = 40


def add(parser: argparse.ArgumentParser) -> None:
    """`timeline` has no arguments of its own."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Ask and show."""
    answer = talk.one({"verb": "timeline"}, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    else:
        print("\n".join(chart(answer)))
    return 0


def chart(answer: dict[str, object]) -> list[str]:
    """Return one line a mark: seconds, a bar as long as the time since the kernel's start, what it was."""
    marks = show.items(answer.get("marks"))
    times = [float(str(mark.get("t", 0))) for mark in marks][:_ROWS]
    whole = max(times, default=0.0) or 1.0
    before = 0.0
    lines = []
    for mark, now in zip(marks, times, strict=False):
        bar = "█" * max(round(now / whole * _WIDTH), 1)
        what = f"{mark.get('event')} {mark.get('name') or ''}".rstrip()
        lines.append(show.safe(f"{now:9.3f} s  +{now - before:7.3f}  {bar:<{_WIDTH}}  {what}"))
        before = now
    if len(marks) > _ROWS:
        lines.append(f"… and {len(marks) - _ROWS} more: berthctl events")
    return lines
