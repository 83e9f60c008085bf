"""`berthctl events`: what happened in this boot, as JSON lines or for people."""

from __future__ import annotations

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "what happened in this boot: containers, health, network, updates"
EXAMPLES = ("berthctl events", "berthctl events -f --json")
_COMMON = ("t", "event", "seq", "boot_id")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what happens from now on")


def run(arguments: argparse.Namespace) -> int:
    """Ask and show, event by event."""
    ask = talk.followed if arguments.follow else talk.ask
    for value in ask({"verb": "events", "follow": arguments.follow}, arguments.socket):
        if arguments.json:
            show.as_json(value)
        elif "event" in value:
            print(line(value), flush=True)
        elif "skipped" in value:
            show.skipped(value)
    return 0


def line(event: dict[str, object]) -> str:
    """Return one event for people."""
    fields = " ".join(
        f"{key}={', '.join(show.texts(value)) if isinstance(value, list) else value}"
        for key, value in event.items()
        if key not in _COMMON and value not in (None, "", [])
    )
    return show.safe(f"{event.get('t', 0):>12.3f}  {event.get('event'):<20} {fields}".rstrip())
