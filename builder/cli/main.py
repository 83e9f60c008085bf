"""Entry point of `berth`: finds the verb, runs it, and turns every failure into a sentence and a status.

Status 0 done, 1 failed, 2 wrong usage or invalid input, 130 Ctrl-C, 141 whoever read the results went away.
Results go to standard output; people's text and progress go to standard error.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol, cast

from builder.cli.arguments import add_behind
from builder.cli.context import Context
from builder.cli.output import failure_of_output, standard_output
from builder.errors import BerthError, UsageError

READER_GONE = 128 + signal.SIGPIPE

VERBS: tuple[tuple[str, str], ...] = (
    ("doctor", "try what the work needs, one line and one cure each"),
    ("explain", "say more about an error's code"),
    ("schema", "print the JSON schema of a recipe or a machine config"),
    ("check", "check machine configs: every error at once, with line and column"),
    ("lock", "choose packages for a recipe and write its lock; `lock diff` compares two"),
    ("fetch", "download what a lock names, verified"),
    ("cache", "show, prune or clean the store of downloads"),
    ("tools", "list the programs that a build uses, with versions"),
    ("build", "build a recipe's artifacts: ISO, disk images, update bundle"),
    ("run", "boot an artifact in QEMU"),
    ("connect", "run a verb of berthctl on a machine, through SSH"),
    ("inspect", "say what an artifact holds"),
    ("diff", "compare two artifacts: packages, files, bytes"),
    ("keys", "make, replace and show the keys of an update repository"),
    ("publish", "put a release into a repository that machines update from"),
    ("serve", "serve a repository over HTTP, for trying out and small fleets"),
    ("repo", "check a repository: all that machines would verify"),
    ("completion", "print the script that lets a shell complete `berth`"),
    ("man", "print the man page of `berth` or `berthctl`"),
)


class Verb(Protocol):
    """What a verb's module offers."""

    EXAMPLES: str

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments."""

    def run(self, arguments: argparse.Namespace, context: Context) -> int:
        """Do the work and return the exit status."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose failures look like every other failure here; options may stand between the words."""

    _alone = False  # argparse reads options first, then the words, by calling the same method for each

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # signature of argparse
        """Read the words wherever the options stand, unless a further parser reads what is behind a word."""
        handed_on = (argparse.PARSER, argparse.REMAINDER)
        if self._alone or any(action.nargs in handed_on for action in self._get_positional_actions()):
            return super().parse_known_args(args, namespace)
        self._alone = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._alone = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and end with status 2."""
        if "--json" in sys.argv:
            report(UsageError(message, hint=f"{self.prog} --help"), as_json=True)
            self.exit(2)
        self.exit(2, f"berth: {message}\n  try: {self.prog} --help\n")


def load_verb(name: str) -> Verb:
    """Import one verb's module; the others stay unread, for start-up time."""
    return cast(Verb, importlib.import_module(f"builder.cli.{name}"))


def build_parser(*filled: str) -> argparse.ArgumentParser:
    """Return the parser; only the named verbs' arguments are filled in."""
    parser = Parser(
        prog="berth",
        description="Build small, immutable operating systems whose purpose is to run containers.",
        epilog="`berth VERB --help` shows a verb's options and examples.",
    )
    parser.add_argument("--version", action="store_true", help="print the version and end")
    add_behind(parser)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)
    for name, text in VERBS:
        sub = verbs.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        if name in filled:
            module = load_verb(name)
            sub.epilog = "examples:\n" + module.EXAMPLES.rstrip("\n")
            module.configure(sub)
            add_behind(sub)
    return parser


def report(error: BerthError, *, as_json: bool) -> None:
    """Print one failure: for programs on standard output, for people on standard error."""
    hint = error.hint or f"berth explain {error.code}"
    if as_json:
        fact: dict[str, object] = {"format": "berth.error/1", "code": error.code, "message": error.message}
        fact["hint"] = hint
        if error.place is not None:
            fact["file"] = error.place.file
            if error.place.line:
                fact["line"] = error.place.line
        print(json.dumps(fact))
        return
    where = f"{error.place}: " if error.place is not None else ""
    print(harmless(f"berth: {where}{error.message}"), file=sys.stderr)
    print(harmless(f"  try: {hint}"), file=sys.stderr)


def harmless(text: str) -> str:
    """Return a text without what would steer a terminal: parts of it come from servers, archives and file names."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def system_failure(error: OSError) -> BerthError:
    """Turn an error of the operating system into one for people."""
    name = f" ({error.filename})" if error.filename else ""
    hint = None
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "free space, or point BERTH_CACHE and --out to a larger disk"
    return BerthError(f"{error.strerror or error}{name}", hint=hint)


def unexpected(error: Exception) -> BerthError:
    """Turn a mistake of Berth's own into an error for people; `BERTH_DEBUG=1` shows where it happened."""
    if os.environ.get("BERTH_DEBUG"):
        traceback.print_exception(error)
    return BerthError(
        f"a mistake in Berth itself: {type(error).__name__}: {error}",
        hint="please report it, with what the same command prints with BERTH_DEBUG=1",
    )


def obey(words: Sequence[str]) -> int:
    """Find the verb, run it, and return the exit status. Every failure becomes a sentence, Ctrl-C included.

    A verb that reads further words of its own (`connect`) may find a `--json` there, and sets it in the arguments.
    """
    arguments = argparse.Namespace(json=False, quiet=False)
    try:
        verb = next((word for word in words if not word.startswith("-")), None)
        arguments = build_parser(*(name for name, _ in VERBS if name == verb)).parse_args(words, arguments)
        if arguments.version:
            from importlib.metadata import version  # noqa: PLC0415 - 20 ms that no other verb needs

            print(f"berth {version('berth-os')}")
            return 0
        if arguments.verb is None:
            build_parser().print_help()
            return 2
        verb_module = load_verb(arguments.verb)
        context = Context.create(quiet=arguments.quiet, as_json=arguments.json)
        try:
            return verb_module.run(arguments, context)
        finally:
            context.progress.clear()  # before a failure is told
    except BerthError as error:
        report(error, as_json=arguments.json)
        return error.exit_status
    except KeyboardInterrupt:
        print("\nberth: stopped; nothing is half-written", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return READER_GONE
    except OSError as error:
        if failure_of_output() is None:
            report(system_failure(error), as_json=arguments.json)
        return 1
    except Exception as error:  # noqa: BLE001, RUF100 - the last net: nobody is shown a traceback unasked
        report(unexpected(error), as_json=arguments.json)
        return 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    standard_output()
    # A service manager's or `timeout`'s word to end: what is half-written is taken away as on Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        status = obey(list(sys.argv[1:] if argv is None else argv))
    except SystemExit:  # of --help and wrong usage
        status = written(0)
        if status == 0:
            raise
        return status
    except OSError:  # while a failure was told
        return written(1)
    return written(status)


def written(status: int) -> int:
    """Return the exit status, or another one if what was printed did not get where it was to go."""
    failure = failure_of_output()
    if failure is None:
        return status
    if isinstance(failure, BrokenPipeError):
        return READER_GONE
    how = "is closed" if failure.errno == errno.EBADF else f"cannot be written: {failure.strerror}"
    report(BerthError(f"standard output {how}", hint="lead it to a disk with room, or to a program"), as_json=False)
    return 1
