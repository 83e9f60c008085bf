"""`berthctl ps`: every service that PID 1 supervises."""

from __future__ import annotations

from init.berthctl import show, talk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

HELP = "services and containers: state, health, pid, restarts, memory"
EXAMPLES = ("berthctl ps", "berthctl ps --json")


def add(parser: argparse.ArgumentParser) -> None:
    """`ps` has no arguments of its own."""
    del parser


def run(arguments: argparse.Namespace) -> int:
    """Ask and show."""
    answer = talk.one({"verb": "ps"}, arguments.socket)
    if arguments.json:
        show.as_json(answer)
        return 0
    rows = [
        [
            str(row.get("name")),
            str(row.get("kind")),
            str(row.get("state")),
            "" if row.get("health") == "none" else str(row.get("health")),
            str(row.get("pid") or ""),
            str(row.get("restarts")),
            "" if row.get("status") is None else str(row.get("status")),
            show.duration(row.get("since")),
            "" if row.get("memory") is None else show.size(row.get("memory")),
        ]
        for row in show.items(answer.get("services"))
    ]
    head = ("NAME", "KIND", "STATE", "HEALTH", "PID", "RESTARTS", "STATUS", "SINCE", "MEMORY")
    print("\n".join(show.table(head, rows)))
    return 0
