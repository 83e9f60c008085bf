"""`berthctl`: asks PID 1 and shows what it says. It never decides anything.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Results go to stdout, what people are told to stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from init.berthctl import (
    config,
    events,
    install,
    logs,
    poweroff,
    ps,
    reboot,
    rescue,
    reset,
    rollback,
    service,
    status,
    talk,
    timeline,
    update,
)

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    class Verb(Protocol):
        """What a verb's module offers."""

        HELP: str
        EXAMPLES: tuple[str, ...]
        add: Callable[[argparse.ArgumentParser], None]
        run: Callable[[argparse.Namespace], int]


VERBS = {
    "status": status,
    "ps": ps,
    "logs": logs,
    "events": events,
    "timeline": timeline,
    "service": service,
    "install": install,
    "update": update,
    "rollback": rollback,
    "config": config,
    "rescue": rescue,
    "reset": reset,
    "reboot": reboot,
    "poweroff": poweroff,
}


def parser() -> argparse.ArgumentParser:
    """Return the command line; completion and man pages are made from it, too."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="for programs: JSON, as docs/formats.md has it")
    common.add_argument("--socket", default=talk.PATH, help=argparse.SUPPRESS)
    whole = argparse.ArgumentParser(
        prog="berthctl",
        description="Look at and steer this Berth machine.",
        epilog="examples:\n  berthctl status\n  berthctl logs web -f\n  berthctl service restart web",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = whole.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, module in VERBS.items():
        examples = "examples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES)
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=examples,
            parents=[common],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add(verb)
        verb.set_defaults(run=module.run)
    return whole


def main(words: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status."""
    arguments = parser().parse_args(words)
    try:
        return int(arguments.run(arguments))
    except talk.Failure as failure:
        if arguments.json:
            print(json.dumps(failure.as_json(), ensure_ascii=False))
        else:
            hint = f"\n  {failure.hint}" if failure.hint else ""
            print(f"berthctl: {failure.message}{hint}", file=sys.stderr)
        return 2 if failure.usage else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`| head`): Python would complain once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
