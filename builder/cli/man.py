"""`berth man`: the man pages berth(1) and berthctl(1), made from the same tables as `--help`."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from builder.cli import roff
from builder.cli.commandtree import Command, read
from builder.cli.context import Context
from builder.cli.main import VERBS, build_parser
from init.berthctl.main import parser as berthctl_parser

EXAMPLES = """\
  berth man > berth.1 && man ./berth.1
  berth man berthctl > ~/.local/share/man/man1/berthctl.1
"""
PAGES = ("berth", "berthctl")
_STATUS = """\
0
The work is done.

1
It failed.

2
The command line or what the user gave is wrong.

130
It was interrupted.

141
Whoever read what it printed went away.
"""
_NOTES = {
    "berth": {
        "EXIT STATUS": _STATUS,
        "ENVIRONMENT": """\
BERTH_MIRROR
A Debian mirror's base URL, with its path; a second one, after a blank, is the security archive's.

BERTH_SNAPSHOTS
The base URL of an archive of snapshots, which is asked for the packages of a lock that the mirror no longer has.

BERTH_CACHE
The folder of downloads, instead of the one in the user's cache folder.

BERTH_KEY_PASSPHRASE
The passphrase of encrypted root keys, where nobody can be asked.

HTTPS_PROXY, HTTP_PROXY, NO_PROXY
The proxy for mirrors and archives, and the hosts that are asked without it.

SSL_CERT_FILE
The certificates that are trusted, instead of the host's.

BERTH_DEBUG
Shows where in the program a mistake of Berth itself happened.

NO_COLOR
No colours on a terminal.
""",
    },
    "berthctl": {
        "EXIT STATUS": _STATUS,
        "WHO MAY": "Root and the groups berth, sudo and wheel may use every verb, others those that only read.",
    },
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("page", nargs="?", choices=PAGES, default="berth", help="which page (default: berth)")


def run(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 - a page is a page
    """Print the page."""
    print(page(arguments.page), end="")
    return 0


def page(name: str) -> str:
    """Return one of the pages as roff."""
    return roff.page(tree(name), section=1, version=version("berth-os"), notes=_NOTES[name])


def tree(name: str) -> Command:
    """Return the command line of `berth` or `berthctl`, whole."""
    return read(build_parser(*(verb for verb, _ in VERBS)) if name == "berth" else berthctl_parser())
