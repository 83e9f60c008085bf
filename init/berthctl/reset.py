"""`berthctl reset`: back to the factory at the next boot, which comes at once."""

from __future__ import annotations

import signal
import sys

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "take away all that was written, and reboot"
EXAMPLES = ("berthctl reset", "berthctl reset --yes", "berthctl reset --everything")
_GOES = "volumes, images, logs, homes and everything else that was written goes"
_STAYS = "the configuration, the SSH host key and the machine's id stay"
_TOO = "so do the configuration, the SSH host key and the machine's id: only the recipe's own ways in are left"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--everything", action="store_true", help="the configuration and the host key, too")


def run(arguments: argparse.Namespace) -> int:
    """Ask the person to type the machine's name, then PID 1."""
    if not arguments.yes:
        _confirm(arguments)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it goes to all at once, and this still has to say its word
    answer = talk.one({"verb": "reset", "everything": arguments.everything}, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    else:
        print("the machine is going down, and comes back new")
    return 0


def _confirm(arguments: argparse.Namespace) -> None:
    if not sys.stdin.isatty():
        raise talk.Failure("confirm", "nobody is there to ask", "give --yes", usage=True)
    answer = talk.one({"verb": "status"}, arguments.socket)
    if show.mapping(answer.get("state")).get("kind") in ("memory", "none"):
        return  # PID 1 refuses it, and says why
    name = str(answer.get("hostname"))
    print(f"{_GOES}; {_TOO if arguments.everything else _STAYS}.", file=sys.stderr)
    print(f"Type the machine's name, {show.safe(name)}, to go on: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() != name:
        raise talk.Failure("confirm", "that is not its name", "nothing was changed")
