"""`berth tools`: the programs that a build uses."""

from __future__ import annotations

import argparse
import json
import sys

from builder.cli.context import Context
from builder.cli.inputs import add_network, network_of, sound_tools
from builder.tools.programs import PROGRAMS

EXAMPLES = """\
  berth tools              list the programs that are started, and the other packages, with versions
  berth tools --json       the same for programs
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    add_network(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Print what is in the tools tree, unpacking it first where needed."""
    tools = sound_tools(context, network_of(arguments))
    versions = dict(tools.versions())
    programs = [(name, package, versions[package]) for name, package in PROGRAMS.items() if package in versions]
    if context.as_json:
        fact = {
            "format": "berth.tools/1",
            "root": str(tools.root),
            "programs": [dict(zip(("name", "package", "version"), row, strict=True)) for row in programs],
            "packages": [{"name": name, "version": version} for name, version in versions.items()],
        }
        print(json.dumps(fact))
        return 0
    shown = {package for _, package, _ in programs}
    others = [(name, version) for name, version in versions.items() if name not in shown]
    width = max(len(name) for name in (*PROGRAMS, *versions))
    print("programs that Berth starts:")
    for name, package, version in programs:
        print(f"  {name:{width}}  {version:30}  {package}")
    print("\nother packages, for these programs and for tests:")
    for name, version in others:
        print(f"  {name:{width}}  {version}")
    print(f"unpacked in {tools.root}", file=sys.stderr)
    return 0
