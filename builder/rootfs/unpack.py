"""From a lock to a tree: read all packages, lay them over one another, leave out what the recipe does not want."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.errors import BuildError
from builder.lock.model import Lock, LockedPackage
from builder.lock.select import root_packages
from builder.progress import Progress
from builder.recipe.asked import asked_for
from builder.recipe.model import Recipe
from builder.rootfs.deb import Deb, read_deb
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.exclude import Saved, exclude
from builder.rootfs.modinfo import read_needs
from builder.rootfs.modulecut import cut_modules, modules_of
from builder.rootfs.tree import Diversion, merge

if TYPE_CHECKING:
    from builder.fetch.store import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """What unpacking gave. `whole` has everything that the packages ship, `tree` what the recipe's rules leave.

    `saved` says what each rule for paths left out, `cut` each rule for modules, both in the recipe's order.
    `kernel_version` is `uname -r` of the one kernel, "" where there is none. `diversions` are those in force.
    """

    debs: tuple[Deb, ...]
    whole: Tree
    tree: Tree
    saved: tuple[Saved, ...]
    cut: tuple[Saved, ...]
    kernel_version: str
    diversions: tuple[Diversion, ...] = ()

    def find(self, path: str) -> Entry | None:
        """Return what the packages ship at a path, left out or not; hard links lead to their file."""
        position = bisect_left(self.whole.entries, path, key=lambda node: node.path)
        if position == len(self.whole.entries) or self.whole.entries[position].path != path:
            return None
        node = self.whole.entries[position]
        return self.find(node.target) if node.kind is Kind.HARDLINK else node


def no_diversions(debs: Sequence[Deb]) -> tuple[Diversion, ...]:  # noqa: ARG001 - one form for all
    """Return no diversion, for trees whose packages have none."""
    return ()


def build_tree(
    lock: Lock,
    recipe: Recipe,
    store: Store,
    progress: Progress,
    diversions_of: Callable[[Sequence[Deb]], tuple[Diversion, ...]] = no_diversions,
) -> Unpacked:
    """Unpack the packages of the root tree from the store, where `builder.fetch` has put them.

    `diversions_of` reads the packages' scripts, which is for `builder.stages`.
    Only one kernel gets in, and nothing that only a baked image needs (`builder.lock.select`). Raises BuildError for a
    package that may not be unpacked, for two that claim one path, and for two kernels.
    """
    cure = asked_for(recipe).to_lock("--update")
    debs = read_all(root_packages(lock, recipe.build.kernel), store, progress, cure=cure)
    diversions = diversions_of(debs)
    whole = merge(debs, diversions)
    version = kernel_version(whole)
    tree, saved = exclude(whole, recipe.build.exclude)
    modules = modules_of(tree)
    cut: tuple[Saved, ...] = ()
    rules = [rule for rule in recipe.build.modules if rule.kernel in ("", recipe.build.kernel)]
    if rules and modules:
        tree, cut = cut_modules(tree, rules, lambda some: read_needs(some, store))
    return Unpacked(
        debs=debs, whole=whole, tree=tree, saved=saved, cut=cut, kernel_version=version, diversions=diversions
    )


def read_all(packages: Sequence[LockedPackage], store: Store, progress: Progress, *, cure: str) -> tuple[Deb, ...]:
    """Read packages side by side: what takes the time (decompressing, hashing, writing) runs outside Python's lock.

    `cure` is the command for a lock that says another version than the file of its hash.
    """
    task = progress.task("unpack", total=len(packages), unit="packages")

    def read(package: LockedPackage) -> Deb:
        deb = read_deb(store.path(package.sha256), name=package.name, store=store, sha256=package.sha256)
        if deb.version != package.version:
            raise BuildError(
                f"the package file of {package.name} has version {deb.version}, and the lock says {package.version}",
                hint=cure,
            )
        task.advance(1)
        return deb

    largest_first = sorted(packages, key=lambda package: -package.size)
    with ThreadPoolExecutor() as pool:
        found = {deb.name: deb for deb in pool.map(read, largest_first)}
    task.done()
    return tuple(found[name] for name in sorted(found))


def kernel_version(tree: Tree) -> str:
    """Return `uname -r` of the kernel in a tree, "" where there is none; raise BuildError where there are several."""
    versions = {
        node.path.split("/")[3] for node in tree.entries
        if node.path.startswith("usr/lib/modules/") and node.path.count("/") == 3
    }  # fmt: skip
    if len(versions) > 1:
        raise BuildError(
            f"the tree would hold more than one kernel: {', '.join(sorted(versions))}",
            hint="name one kernel only: `build.kernel` chooses it, `build.packages` need not",
        )
    return next(iter(versions), "")
