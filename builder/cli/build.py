"""`berth build`: from a recipe to its artifacts."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

from builder.cli.arguments import folder
from builder.cli.configfile import checked, read_config
from builder.cli.context import Context
from builder.cli.inputs import ELSEWHERE, add_network, load_recipe, network_of, ready
from builder.cli.watch import show_bytes
from builder.errors import Place, RecipeError
from builder.lock.file import render_lock
from builder.outfolder import Built
from builder.pipeline import Order, build
from builder.recipe import compile_machine
from builder.steps import Steps
from builder.writable import require_writable

EXAMPLES = """\
  berth build podman                               everything into build/out/podman/
  berth build minimal --set build.kernel=cloud     the small kernel for virtual machines
  berth build ./mine.yaml --out /tmp/mine --config box1.yaml
  berth build podman --offline                     with what the store has
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name, or a path with `/` or `.yaml`")
    parser.add_argument("--out", metavar="DIR", type=folder, help="where artifacts go (default: build/out/NAME)")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change one key of the recipe")
    parser.add_argument("--config", metavar="FILE", type=Path, help="a machine config to put on the ISO")
    add_network(parser, heal=True)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Build, and print what came of it."""
    started = time.monotonic()
    recipe = load_recipe(arguments.recipe, arguments.set)
    if recipe.build.kernel == "none":
        raise RecipeError(
            f"{recipe.name} is no machine: it has no kernel",
            hint="build a recipe with `kernel: full` or `kernel: cloud`, such as podman",
            place=Place(file=str(recipe.path)),
        )
    config = None
    if arguments.config is not None:
        config = read_config(arguments.config)
        checked(config, arguments.config, default=compile_machine(recipe).document)
    out = (arguments.out or context.build_root / "out" / recipe.name).absolute()
    require_writable(out, hint="choose another folder with --out")
    require_writable(context.build_root, hint=ELSEWHERE)
    network = network_of(arguments)
    tools, lock = ready(recipe, context, network)
    built = build(
        Order(
            recipe=recipe,
            lock=lock,
            lock_sha256=hashlib.sha256(render_lock(lock).encode()).hexdigest(),
            store=context.store,
            tools=tools,
            steps=Steps(context.build_root / "steps"),
            out=out,
            config=config,
            progress=context.progress,
        )
    )
    show(built, as_json=context.as_json, seconds=time.monotonic() - started)
    return 0


def show(built: Built, *, as_json: bool, seconds: float) -> None:
    """Print the result: one object for programs, a line per artifact for people."""
    if as_json:
        fact = {
            "format": "berth.build/1",
            "recipe": built.recipe,
            "version": built.release.version,
            "class": built.release.machine_class,
            "lock_sha256": built.lock_sha256,
            "artifacts": [artifact.to_json() for artifact in built.artifacts],
        }
        print(json.dumps(fact))
        return
    how = "nothing changed" if built.reused else "built"
    print(f"  {built.recipe} {built.release.version}: {how} ({seconds:.1f} s)", file=sys.stderr)
    for artifact in built.artifacts:
        print(f"{artifact.kind:9} {show_bytes(artifact.size):>9}  {artifact.path}")
