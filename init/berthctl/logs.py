"""`berthctl logs`: what services, the kernel and PID 1 said."""

from __future__ import annotations

import sys

from init.berthctl import show, talk
from init.formats import logfile

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "what a service said, or all of them; `init` is PID 1, `kernel` the kernel"
EXAMPLES = ("berthctl logs", "berthctl logs web -f", "berthctl logs kernel -n 1000", "berthctl logs --boot -1")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", nargs="?", help="a service, a container, init or kernel; all of them without it")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is said from now on")
    parser.add_argument("--boot", type=int, default=0, metavar="-N", help="of a boot before: -1 is the last one")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="the newest N lines (100)")


def run(arguments: argparse.Namespace) -> int:
    """Ask and show, line by line."""
    if arguments.lines < 0:
        raise talk.Failure("usage", "--lines can't be negative", "give a number from 0", usage=True)
    if arguments.boot > 0:
        hint = "berthctl logs --boot -1 shows the last one"
        raise talk.Failure("usage", "--boot takes 0, this boot, or -1 and less, those before", hint, usage=True)
    if arguments.boot and arguments.follow:
        hint = f"berthctl logs --boot {arguments.boot}"
        raise talk.Failure("usage", "a boot that is over can't be followed", hint, usage=True)
    request: dict[str, object] = {
        "verb": "logs",
        "name": arguments.name,
        "lines": arguments.lines,
        "follow": arguments.follow,
        "boot": arguments.boot,
    }
    count = 0
    for value in (talk.followed if arguments.follow else talk.ask)(request, arguments.socket):
        count += "text" in value
        if arguments.json:
            show.as_json(value)
        elif "text" in value:
            name = "" if arguments.name else show.paint(f"{value.get('name')}: ", "dim")
            print(f"{show.paint(str(value.get('time')), 'dim')} {name}{show.safe(str(value['text']))}", flush=True)
        elif "skipped" in value:
            show.skipped(value)
    if count == logfile.LINES_MOST < arguments.lines:
        print(f"there may be more: these are the newest {count}; the files are in {logfile.FOLDER}", file=sys.stderr)
    return 0
