"""`berthctl`: asks PID 1 and shows what it says. It never decides anything.

Exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted, 141 whoever read the results went away. Results go to
stdout, what people are told to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys

from init.berthctl import (
    config,
    events,
    install,
    logs,
    output,
    poweroff,
    ps,
    reboot,
    rescue,
    reset,
    rollback,
    service,
    show,
    status,
    talk,
    timeline,
    update,
)

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn, Protocol

    class Verb(Protocol):
        """What a verb's module offers."""

        HELP: str
        EXAMPLES: tuple[str, ...]
        add: Callable[[argparse.ArgumentParser], None]
        run: Callable[[argparse.Namespace], int]


READER_GONE = 128 + 13  # as a shell tells SIGPIPE's end

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


# What people type instead, and what they mean; none is ever led to a verb that takes something away.
MEANT = {
    "start": "berthctl service start NAME",
    "stop": "berthctl service stop NAME",
    "restart": "berthctl service restart NAME",
    "log": "berthctl logs",
    "journal": "berthctl logs",
    "event": "berthctl events",
    "list": "berthctl ps",
    "stat": "berthctl status",
    "health": "berthctl status",
    "version": "berthctl status",
    "upgrade": "berthctl update apply",
    "check": "berthctl update check, or berthctl config check FILE",
    "apply": "berthctl update apply, or berthctl config apply FILE",
    "history": "berthctl update history",
    "show": "berthctl config show",
    "plan": "berthctl config plan FILE",
    "retry": "berthctl rescue retry",
    "shutdown": "berthctl poweroff",
    "halt": "berthctl poweroff",
    "help": "berthctl --help",
}


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are told as every other failure is."""

    def error(self, message: str) -> NoReturn:
        """Raise Failure: what is wrong, and what is taken."""
        raise talk.Failure("usage", message, " ".join(self.format_usage().split()), usage=True)


def parser() -> argparse.ArgumentParser:
    """Return the command line; completion and man pages are made from it, too."""
    common = Parser(add_help=False)
    # Before the verb it counts as well, which a default here would undo.
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="for programs: JSON, as docs/formats.md has it"
    )
    common.add_argument("--socket", default=talk.PATH, help=argparse.SUPPRESS)
    whole = Parser(
        prog="berthctl",
        description="Look at and steer this Berth machine.",
        epilog="examples:\n  berthctl status\n  berthctl logs web -f\n  berthctl service restart web",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--json", action="store_true", help=argparse.SUPPRESS)
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
    words = sys.argv[1:] if words is None else words
    output.ready()
    try:
        status = _run(words)
        output.flush()
    except talk.Failure as failure:
        return _told(failure, as_json="--json" in words)
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        told = output.lost(error)
        return READER_GONE if told is None else _told(told, as_json=False)
    except Exception as error:  # noqa: BLE001, RUF100 - the last net: nobody is shown a traceback
        what = f"a mistake in berthctl itself: {type(error).__name__}: {error}"
        return _told(talk.Failure("internal", what, "please report it, with what was typed"), as_json="--json" in words)
    return status


def _run(words: Sequence[str]) -> int:
    if not words:
        parser().print_help()
        return 2
    arguments = _read(words)
    return int(arguments.run(arguments))


def _read(words: Sequence[str]) -> argparse.Namespace:
    """Return what a command line means; raise Failure."""
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in VERBS:
        hint = _meant(verb)
        raise talk.Failure("usage", f"there is no verb {verb}", hint, usage=True)
    arguments, rest = parser().parse_known_args(words)
    if rest:
        raise talk.Failure("usage", f"{verb} does not take {' '.join(rest)}", f"berthctl {verb} --help", usage=True)
    return arguments


def _meant(word: str) -> str:
    import difflib  # noqa: PLC0415 - only whoever mistypes pays for it

    near = difflib.get_close_matches(word, sorted({*VERBS, *MEANT} - {"reset"}), 1)
    return f"you may mean: {MEANT.get(near[0], f'berthctl {near[0]}')}" if near else f"there are: {', '.join(VERBS)}"


def _told(failure: talk.Failure, *, as_json: bool) -> int:
    """Tell a failure to whoever asked; return the exit status."""
    if as_json:
        print(json.dumps(failure.as_json(), ensure_ascii=False))
    else:
        hint = f"\n  {show.safe(failure.hint)}" if failure.hint else ""
        print(f"berthctl: {show.safe(failure.message)}{hint}", file=sys.stderr)
    return 2 if failure.usage else 1
