"""What several verbs need before they can work: a recipe, its lock, the packages, the tools tree."""

from __future__ import annotations

import contextlib
import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from builder.errors import BerthError, FetchError, InputError, LockError, LockStale, OfflineError, Place
from builder.fetch.http import Client
from builder.fetch.mirrors import Mirrors, find_mirrors
from builder.fetch.packages import FilesGone, missing_packages, offline_error
from builder.fetch.snapshots import find_snapshots
from builder.lock.apt import AptSolver
from builder.lock.archive import Source
from builder.lock.ensure import ensure_packages, lock_in_force
from builder.lock.file import read_lock
from builder.lock.recipe import check_fits
from builder.lock.select import for_build
from builder.recipe import Asked, asked_for, compile_machine, find, load
from builder.tools import listing
from builder.tools.tree import discard, tools_key, tools_tree
from builder.writable import require_writable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from builder.cli.context import Context
    from builder.lock.model import Lock
    from builder.recipe.model import Recipe
    from builder.tools.call import Tools

ELSEWHERE = "go to a folder of yours: `berth` works in build/ of the folder that it is started in"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What the user said about the network. With `heal`, what a mirror no longer has is locked again."""

    mirror: tuple[str, ...] = ()
    snapshots: str | None = None
    offline: bool = False
    heal: bool = False


def add_network(parser: argparse.ArgumentParser, *, heal: bool = False) -> None:
    """Add the options that every verb with a network has."""
    parser.add_argument("--offline", action="store_true", help="use what the store has, ask nobody")
    parser.add_argument(
        "--mirror", metavar="URL", action="append", default=[],
        help="a Debian mirror's base URL; a second one is the security archive's",
    )  # fmt: skip
    parser.add_argument(
        "--snapshots", metavar="URL",
        help="an archive of snapshots, asked for the very packages of a lock that the mirror no longer has",
    )  # fmt: skip
    if heal:
        parser.add_argument(
            "--heal", action="store_true",
            help="lock again only what the mirror no longer has, into build/locks; the recipe's own lock stays",
        )  # fmt: skip


def network_of(arguments: argparse.Namespace) -> Network:
    """Read the options that `add_network` added."""
    return Network(
        mirror=tuple(arguments.mirror), snapshots=arguments.snapshots, offline=arguments.offline,
        heal=getattr(arguments, "heal", False),
    )  # fmt: skip


def open_source(context: Context, network: Network) -> Source:
    """Return whom to ask. Where no mirror is known, that is an error only once one has to be asked."""
    mirrors: Mirrors | None = None
    if not network.offline:
        with contextlib.suppress(FetchError):
            mirrors = find_mirrors(network.mirror)
    return Source(
        store=context.store, mirrors=mirrors, progress=context.progress, client=Client(), offline=network.offline,
        snapshots=None if network.offline else find_snapshots(network.snapshots),
    )  # fmt: skip


def load_recipe(text: str, sets: Sequence[str] = ()) -> Recipe:
    """Return a recipe of which both halves are known to be right. Raises InputError, before anything is fetched."""
    recipe = load(text, sets)
    compile_machine(recipe)
    return recipe


def locked(asked: Asked) -> Lock:
    """Return the lock beside a recipe; say how to make one where there is none."""
    if not asked.lock.is_file():
        raise LockError(
            f"this recipe has no lock yet: there is no {asked.lock}",
            place=Place(file=asked.given),
            hint=asked.to_lock(),
        )
    return read_lock(asked.lock, asked)


def require_fit(recipe: Recipe, lock: Lock) -> None:
    """Make sure that `lock` answers `recipe`. Raises LockError, whose cure works where `--set` is what does not fit."""
    try:
        check_fits(recipe, lock)
    except LockError as error:
        if recipe.sets and _fits_without_sets(recipe, lock):
            error.hint = _cure_of_sets(recipe)
        raise


def _cure_of_sets(recipe: Recipe) -> str:
    own, beneath = str(recipe.path.with_name(f"{recipe.path.stem}-own.yaml")), f"./{recipe.path.name}"
    if recipe.path.is_absolute() and recipe.given == recipe.path.stem:  # a shipped recipe, found from anywhere
        own, beneath = f"./{recipe.given}-own.yaml", recipe.given
    return (
        f"a lock is for a recipe's file: write what --set says into one that extends this, such as {own} "
        f"(`extends: {beneath}`), then: {shlex.join(['berth', 'lock', own])}"
    )


def _fits_without_sets(recipe: Recipe, lock: Lock) -> bool:
    try:
        check_fits(load(recipe.given), lock)
    except LockError:
        return False
    except InputError:  # `--set` gave what the file leaves out
        return True
    return True


def _tools() -> Asked:
    return Asked(given="tools", lock=find("tools").with_suffix(".lock"))


def ready(recipe: Recipe, context: Context, network: Network) -> tuple[Tools, Lock]:
    """Return the tools tree and the recipe's lock, with all that both need in the store.

    Raises OfflineError, or LockStale, that names at once what both lack.
    """
    asked = _as_asked(recipe, network)
    require_fit(recipe, locked(asked))  # before anything is fetched
    try:
        tree = ready_tools(context, network)
    except OfflineError as error:
        raise _all_that_lacks(recipe, context, network) from error
    except FilesGone as error:
        raise _all_that_is_gone(error, recipe, context, network) from error
    return tree, _own(recipe, tree, context, network)


def _as_asked(recipe: Recipe, network: Network) -> Asked:
    return asked_for(recipe, *(["--heal"] if network.heal else []))


def _heal_into(context: Context, network: Network, name: str) -> Path | None:
    return context.build_root / "locks" / f"{name}.lock" if network.heal else None


def _all_that_lacks(recipe: Recipe, context: Context, network: Network) -> OfflineError:
    asked = _as_asked(recipe, network)
    tools, own = (
        lock_in_force(locked(each), each.lock, _heal_into(context, network, name))
        for each, name in ((_tools(), "tools"), (asked, recipe.name))
    )
    lacking = [
        (each, missing_packages(each, context.store, context.progress))
        for each in (tools, for_build(own, recipe.build.kernel))
    ]
    return offline_error(*(each for each in lacking if each[1]), cure=asked.to_fetch())


def _all_that_is_gone(tools: FilesGone, recipe: Recipe, context: Context, network: Network) -> LockStale:
    try:
        _own(recipe, None, context, network)
    except FilesGone as own:
        return tools.and_also(own)
    except BerthError:
        pass  # told when the tools' lock is right
    return tools


def ready_tools(context: Context, network: Network) -> Tools:
    """Return the tools tree, its packages fetched and unpacked where needed."""
    root = context.build_root / "tools"
    asked = _tools()
    if not (root / tools_key(locked(asked))[:32]).is_dir():
        require_writable(context.build_root, hint=ELSEWHERE)

    def missing(lock: Lock) -> Lock:
        return replace(lock, packages=()) if (root / tools_key(lock)[:32]).is_dir() else lock

    lock = ensure_packages(
        asked.lock, open_source(context, network), asked=asked, select=missing,
        heal_into=_heal_into(context, network, "tools"),
    )  # fmt: skip
    return tools_tree(lock, context.store, root, context.progress)


def working_tools(context: Context, network: Network) -> Tools:
    """Return the tools tree for work that leaves nothing behind, healed without being asked where its lock is stale.

    What is built may hang on the version of a tool, so `berth build` heals only with leave. A machine that runs, a
    solver's answer that is verified, and a doctor's trial do not.
    """
    return ready_tools(context, replace(network, heal=True))


def sound_tools(context: Context, network: Network) -> Tools:
    """Return `working_tools`, every file checked. A damaged tree goes once its packages are here to make it anew."""
    tools = working_tools(context, network)
    found = listing.damage(tools.root)
    if found is None:
        return tools
    context.progress.note(f"{tools.root / found} is not as it was unpacked: the tree is unpacked anew")
    asked, healing = _tools(), replace(network, heal=True)
    ensure_packages(
        asked.lock, open_source(context, healing), asked=asked, heal_into=_heal_into(context, healing, "tools")
    )
    discard(tools.root)
    return working_tools(context, network)


def ready_lock(recipe: Recipe, tools: Tools, context: Context, network: Network) -> Lock:
    """Return the recipe's lock with every package that a build of it needs in the store."""
    require_fit(recipe, locked(_as_asked(recipe, network)))
    return _own(recipe, tools, context, network)


def _own(recipe: Recipe, tools: Tools | None, context: Context, network: Network) -> Lock:
    """Do the same for a lock that is known to fit. `tools` are for healing, and None where that is not allowed."""
    build = recipe.build
    asked = _as_asked(recipe, network)
    return ensure_packages(
        asked.lock, open_source(context, network), asked=asked,
        select=lambda lock: for_build(lock, build.kernel),
        heal_into=_heal_into(context, network, recipe.name),
        solver=None if tools is None else lambda: AptSolver(tools, context.store, build.architecture),
    )  # fmt: skip
