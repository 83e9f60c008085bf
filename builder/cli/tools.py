"""`berth tools`: the programs that a build uses."""

from __future__ import annotations

import argparse
import json
import sys

from builder.cli.context import Context
from builder.cli.inputs import add_network, network_of, working_tools
from builder.tools.tree import discard_damaged

EXAMPLES = """\
  berth tools              list the packages of the tools tree, with versions
  berth tools --json       the same for programs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_network(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print what is in the tools tree, unpacking it first where needed."""
    discard_damaged(context.build_root / "tools", context.progress)
    tools = working_tools(context, network_of(arguments))
    if context.as_json:
        packages = [{"name": name, "version": version} for name, version in tools.versions()]
        print(json.dumps({"format": "berth.tools/1", "root": str(tools.root), "packages": packages}))
        return 0
    width = max(len(name) for name, _ in tools.versions())
    for name, version in tools.versions():
        print(f"{name:{width}}  {version}")
    print(f"unpacked in {tools.root}", file=sys.stderr)
    return 0
