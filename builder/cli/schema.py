"""`berth schema`: the JSON schema of what people write, for editors that complete and check while one types."""

from __future__ import annotations

import argparse
import json

from builder.cli.context import Context
from builder.recipe.schema import RECIPE
from init.dialects.berth import BERTH
from init.dialects.cloudconfig import CLOUD_CONFIG
from init.dialects.record import Record

EXAMPLES = """\
  berth schema recipe > recipe.schema.json
  berth schema berth            a machine config that begins with `#berth`
  berth schema cloud-config     one that begins with `#cloud-config`
"""
# Berth's own documents may hold cloud-init's keys beside its own (contracts, 3).
DOCUMENT = Record(keys={**CLOUD_CONFIG.keys, **BERTH.keys}, extensions=True)
SHAPES = {"recipe": RECIPE, "berth": DOCUMENT, "cloud-config": CLOUD_CONFIG}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("name", metavar="NAME", choices=sorted(SHAPES), help=f"one of {', '.join(sorted(SHAPES))}")


def run(arguments: argparse.Namespace, context: Context) -> int:  # noqa: ARG001 - a schema is JSON in any case
    """Print the schema."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"Berth {arguments.name}"}
    print(json.dumps({**schema, **SHAPES[arguments.name].schema()}, indent=1))
    return 0
