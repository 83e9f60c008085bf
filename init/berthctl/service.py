"""`berthctl service start|stop|restart NAME`."""

from __future__ import annotations

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "start, stop or restart one service or container"
EXAMPLES = ("berthctl service restart web", "berthctl service stop web")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("action", choices=("start", "stop", "restart"), help="what to do with it")
    parser.add_argument("name", help="its name, as berthctl ps shows it")


def run(arguments: argparse.Namespace) -> int:
    """Ask PID 1 to do it; it is under way when this returns."""
    request: dict[str, object] = {"verb": "service", "action": arguments.action, "name": arguments.name}
    answer = talk.one(request, arguments.socket)
    if arguments.json:
        show.as_json(answer)
    else:
        print(f"{answer.get('name')}: {answer.get('action')}, now {answer.get('state')}")
    return 0
