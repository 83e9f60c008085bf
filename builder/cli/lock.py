"""`berth lock`: choose the packages of a recipe, and compare two locks."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from builder.cli.context import Context
from builder.cli.inputs import Network, add_network, load_recipe, network_of, open_source, working_tools
from builder.cli.watch import show_bytes
from builder.errors import InputError, LockError, RecipeError, UsageError
from builder.lock.apt import AptSolver
from builder.lock.archive import Archive, Source, SuiteMissing, open_archive
from builder.lock.difference import LockDifference, compare_locks
from builder.lock.file import read_lock, write_lock
from builder.lock.model import Lock, LockedRelease
from builder.lock.recipe import check_fits, lock_from
from builder.recipe.asked import asked_for
from builder.recipe.model import Recipe
from builder.writable import require_writable

EXAMPLES = """\
  berth lock podman               make the lock, or add to it what the recipe newly asks for; versions stay
  berth lock podman --update      take the newest version of everything
  berth lock diff old.lock recipes/podman.lock
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("words", metavar="RECIPE | diff OLD NEW", nargs="+")
    parser.add_argument("--update", action="store_true", help="move every package to its newest version")
    add_network(parser)


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Lock a recipe, or compare two locks."""
    words = arguments.words
    if words[0] == "diff":
        if len(words) != 3:
            raise UsageError("`berth lock diff` takes two lock files", hint="berth lock diff OLD NEW")
        tell(compare_locks(given_lock(words[1]), given_lock(words[2])), as_json=context.as_json)
        return 0
    if len(words) != 1:
        raise UsageError("`berth lock` takes one recipe", hint="berth lock podman --update")
    recipe = load_recipe(words[0])
    path = recipe.path.with_suffix(".lock")
    old = read_lock(path, asked_for(recipe)) if path.is_file() else None
    if old is not None and not arguments.update and fits(recipe, old):
        print(f"{path} answers all that the recipe asks; --update takes newer versions", file=sys.stderr)
        if context.as_json:
            print(json.dumps(fact_of(old, path, None, written=False)))
        return 0
    require_writable(path.parent, hint="copy the recipe into a folder of yours and lock it there")
    new = lock_anew(recipe, old, context, network_of(arguments), update=arguments.update)
    write_lock(new, path)
    difference = compare_locks(old, new) if old is not None else None
    if context.as_json:
        print(json.dumps(fact_of(new, path, difference, written=True)))
    elif difference is None:
        size = sum(package.size for package in new.packages)
        print(f"{path}: {len(new.packages)} packages, {show_bytes(size)}", file=sys.stderr)
    else:
        tell(difference, as_json=False)
    return 0


def fact_of(lock: Lock, path: Path, difference: LockDifference | None, *, written: bool) -> dict[str, object]:
    """Return, for programs, what came of locking; `difference` is to the lock that was there before."""
    return {
        "format": "berth.locked/1",
        "recipe": lock.recipe,
        "lock": str(path),
        "written": written,
        "packages": len(lock.packages),
        "bytes": sum(package.size for package in lock.packages),
        "difference": asdict(difference) if difference is not None else None,
    }


def given_lock(text: str) -> Lock:
    """Read a lock that the user names; raise InputError where it is none."""
    try:
        return read_lock(Path(text))
    except LockError as error:
        raise InputError(error.message, place=error.place, hint="name two files that `berth lock` wrote") from error


def fits(recipe: Recipe, lock: Lock) -> bool:
    """Say whether a lock answers what the recipe asks."""
    try:
        check_fits(recipe, lock)
    except LockError:
        return False
    return True


def lock_anew(recipe: Recipe, old: Lock | None, context: Context, network: Network, *, update: bool) -> Lock:
    """Solve; without `update` what was locked before keeps its version."""
    source = open_source(context, network)
    tools = working_tools(context, network)
    build = recipe.build
    archive = archive_of(recipe, source, old.releases if old else ())
    solver = AptSolver(tools, context.store, build.architecture)
    return lock_from(recipe, archive, solver, context.progress, previous=None if update else old)


def archive_of(recipe: Recipe, source: Source, previous: Sequence[LockedRelease]) -> Archive:
    """Read the archive of the recipe's suite; raise RecipeError with its place where the mirror has none."""
    build = recipe.build
    try:
        return open_archive(source, build.suite, build.architecture, previous=previous)
    except SuiteMissing as error:
        hint = f"is {build.suite} the suite that you mean? If so, {error.hint}"
        raise RecipeError(error.message, hint=hint, place=recipe.suite_place) from error


def tell(difference: LockDifference, *, as_json: bool) -> None:
    """Print what moved."""
    if as_json:
        print(json.dumps({"format": "berth.lock-diff/1", **asdict(difference)}))
        return
    for change in difference.changes:
        step = f"{change.old or '–'} → {change.new or '–'}"
        sign = "+" if change.growth >= 0 else "-"
        note = "  security" if change.security else ""
        print(f"{change.kind:10} {change.name:32} {step}  {sign}{show_bytes(abs(change.growth))}{note}")
    count = len(difference.changes)
    packages = "1 package" if count == 1 else f"{count} packages"
    print(f"{packages} moved, {show_bytes(difference.download)} to download" if count else "nothing moved")
