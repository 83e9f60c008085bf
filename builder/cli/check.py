"""`berth check`: every error of machine configs at once, by the compiler that the machine itself uses."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from builder.cli.arguments import Named
from builder.cli.configfile import STANDARD_INPUT, read_config, read_standard_input
from builder.cli.context import Context
from builder.errors import InputError
from builder.recipe import compile_machine, load
from init.dialects.compile import compile_document
from init.dialects.diagnostic import Diagnostic, Place, Severity, Unreadable
from init.dialects.header import BUILT, DIALECTS, shape_of, without_header
from init.dialects.text import decode

EXAMPLES = """\
  berth check box1.yaml                 errors with line and column, and the key that was meant
  berth check box1.yaml --recipe podman laid over that recipe's own machine half, as on the machine
  berth check network-config          version 1 or 2 needs no header: its shape says what it is
  berth check - < box1.yaml           from standard input
  berth check configs/*.yaml --json     for programs; status 2 if and only if there is an error
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="a machine config; `-` is standard input")
    later = tuple(name for name in DIALECTS if name not in BUILT)
    parser.add_argument(
        "--dialect", metavar="NAME", type=Named(names=BUILT, later=later),
        help=f"one of {', '.join(BUILT)} (default: by its header, or by its shape)",
    )  # fmt: skip
    parser.add_argument("--recipe", metavar="RECIPE", help="lay the config over this recipe's machine half")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Compile each file and print what is to be said of it."""
    diagnostics: list[Diagnostic] = []
    errors = 0
    default = compile_machine(load(arguments.recipe)).document if arguments.recipe else None
    for path in arguments.files:
        name = STANDARD_INPUT if str(path) == "-" else str(path)
        try:
            data = read_standard_input() if name == STANDARD_INPUT else read_config(path)
        except InputError as error:  # the other files are looked at all the same
            diagnostics.append(
                Diagnostic(
                    severity=Severity.ERROR,
                    place=Place(name),
                    path="",
                    message=error.message,
                    hint=error.hint,
                    code="file",
                )
            )
            errors += 1
            continue
        if not data.strip() and arguments.dialect is None:
            diagnostics.append(without_header(name))
            errors += 1
            continue
        dialect = arguments.dialect or _by_shape(data, name)
        compiled = compile_document(data, file=name, default=default, dialect=dialect)
        diagnostics.extend(compiled.diagnostics)
        errors += compiled.errors
    if context.as_json:
        facts = [each.to_json() for each in diagnostics]
        print(json.dumps({"format": "berth.check/1", "valid": errors == 0, "diagnostics": facts}))
    else:
        for each in diagnostics:
            print(each)
        count = len(arguments.files)
        files = "1 file" if count == 1 else f"{count} files"
        print(f"{files}, {errors} error{'' if errors == 1 else 's'}", file=sys.stderr)
    return 2 if errors else 0


def _by_shape(data: bytes, name: str) -> str | None:
    """Return what a document without a header is by its keys; None leaves it to the compiler to say what is wrong."""
    try:
        return shape_of(decode(data, file=name))
    except Unreadable:
        return None
