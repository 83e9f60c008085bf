"""`berth schema`: the JSON schema of what people write, for editors that complete and check while one types."""

from __future__ import annotations

import argparse
import json
from typing import Any

from builder.cli.arguments import Named
from builder.cli.context import Context
from builder.recipe.schema import RECIPE
from init.dialects.header import DIALECTS
from init.dialects.schema import DRAFT, NAMES, schema

EXAMPLES = """\
  berth schema recipe > recipe.schema.json
  berth schema berth            a machine config that begins with `#berth`
  berth schema cloud-init       one that begins with `#cloud-config`
"""
KNOWN = ("recipe", *NAMES)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    later = tuple(name for name in DIALECTS if name not in KNOWN)
    parser.add_argument("name", metavar="NAME", type=Named(names=KNOWN, later=later), help=f"one of {', '.join(KNOWN)}")


def run(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 - a schema is JSON in any case
    """Print the schema."""
    print(json.dumps(schema_of(arguments.name), indent=1))
    return 0


def schema_of(name: str) -> dict[str, Any]:
    """Return the schema of a recipe or of a dialect."""
    if name == "recipe":
        return {"$schema": DRAFT, "title": "Berth: recipe", **RECIPE.schema()}
    return schema(name)
