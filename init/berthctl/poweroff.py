"""`berthctl poweroff`: services are stopped in order, state is unmounted, then the machine goes down."""

from __future__ import annotations

import signal

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "switch the machine off, in order"
EXAMPLES = ("berthctl poweroff",)


def add(parser: argparse.ArgumentParser) -> None:
    """`poweroff` has no arguments of its own."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Ask PID 1; it has begun when this returns."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it goes to all at once, and this still has to say its word
    answer = talk.one({"verb": "poweroff"}, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    else:
        print("the machine is going down")
    return 0
