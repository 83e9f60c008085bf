"""`berthctl rollback`: back to the release in the other slot."""

from __future__ import annotations

import signal

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "go back to the release in the other slot, or give up one that waits for its reboot"
EXAMPLES = ("berthctl rollback", "berthctl rollback --no-reboot")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--no-reboot", action="store_true", help="only let it boot next time")


def run(arguments: argparse.Namespace) -> int:
    """Ask PID 1; a reboot has begun when this returns."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it goes to all at once, and this still has to say its word
    answer = talk.one({"verb": "rollback", "reboot": not arguments.no_reboot}, arguments.socket)
    if arguments.json:
        show.as_json(answer)
        return 0
    then = "the machine is going down" if answer.get("rebooting") else "it runs after the next boot (berthctl reboot)"
    if answer.get("running"):
        then = "it runs now, and the release that waited for a reboot is given up"
    print(f"slot {answer.get('slot')} boots next, {answer.get('version') or 'an unnamed release'}: {then}")
    print("the release that is left is held: it is taken again by `berthctl update apply --again` only")
    return 0
