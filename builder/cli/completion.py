"""`berth completion`: the script that lets a shell complete `berth`.

`berthctl` has none: the machine's shell is busybox's, which completes nothing but file names.
"""

from __future__ import annotations

import argparse

from builder.cli.commandtree import read
from builder.cli.context import Context
from builder.cli.main import VERBS, build_parser
from builder.cli.shells import SHELLS

EXAMPLES = """\
  berth completion bash > ~/.local/share/bash-completion/completions/berth
  berth completion zsh  > ~/.zfunc/_berth          a folder of your fpath
  berth completion fish > ~/.config/fish/completions/berth.fish
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("shell", choices=tuple(SHELLS), help="the shell that is to complete")


def run(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 - a script is a script
    """Print the script."""
    print(SHELLS[arguments.shell](read(build_parser(*(name for name, _ in VERBS)))), end="")
    return 0
