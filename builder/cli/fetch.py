"""`berth fetch`: everything that a build will read, so that it can be done offline."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from builder.cli.context import Context
from builder.cli.inputs import add_network, load_recipe, network_of, ready
from builder.errors import BerthError
from builder.lock.select import for_build
from builder.writable import require_writable

if TYPE_CHECKING:
    from builder.fetch.store import Store
    from builder.lock.model import Lock

EXAMPLES = """\
  berth fetch podman                  into the store; `berth build --offline podman` then needs no network
  berth fetch podman --to /media/usb  the packages as files as well, named as in the archive
"""
ANOTHER = "choose another folder with --to"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe's name, or a path with `/` or `.yaml`")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help="change one key of the recipe")
    parser.add_argument("--to", metavar="DIR", type=Path, help="also copy the packages into this folder")
    add_network(parser, heal=True)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Fetch, and say what is there now."""
    recipe = load_recipe(arguments.recipe, arguments.set)
    if arguments.to is not None:
        require_writable(arguments.to, hint=ANOTHER)
    network = network_of(arguments)
    _, lock = ready(recipe, context, network)
    lock = for_build(lock, recipe.build.kernel)
    if arguments.to is not None:
        copy(lock, context.store, arguments.to)
    size = sum(package.size for package in lock.packages)
    if context.as_json:
        fact = {"format": "berth.fetch/1", "recipe": recipe.name, "packages": len(lock.packages), "bytes": size}
        print(json.dumps(fact))
    else:
        print(f"{len(lock.packages)} packages, {size / 1e6:.1f} MB, are in the store", file=sys.stderr)
    return 0


def copy(lock: Lock, store: Store, folder: Path) -> None:
    """Copy a lock's packages into a folder, each under its name in the archive. Raise BerthError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for package in lock.packages:
            final = folder / Path(package.filename).name
            partial = final.with_name(f".{final.name}.part")
            with store.open(package.sha256) as source, partial.open("wb") as out:
                shutil.copyfileobj(source, out, 1 << 20)
            partial.replace(final)
    except OSError as error:
        raise BerthError(f"the packages cannot be copied to {folder}: {error.strerror}", hint=ANOTHER) from error
