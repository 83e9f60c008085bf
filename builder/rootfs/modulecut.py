"""Leaves kernel modules out by the recipe's rules, and never one that a module which stays needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from builder.recipe.model import ModuleCut
from builder.recipe.patterns import compile_glob
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.exclude import Saved
from builder.rootfs.modinfo import ModuleNeeds, is_module, module_name

Reader = Callable[[Sequence[Entry]], Mapping[str, ModuleNeeds]]


def modules_of(tree: Tree) -> tuple[Entry, ...]:
    """Return the kernel modules of a tree."""
    return tuple(node for node in tree.entries if node.kind is Kind.FILE and is_module(node.path))


def cut_modules(tree: Tree, rules: Sequence[ModuleCut], read: Reader) -> tuple[Tree, tuple[Saved, ...]]:
    """Return the tree without the modules that the rules match, and what each rule saved, in the rules' order.

    Patterns are relative to `/usr/lib/modules/VERSION/kernel/`. What a module that stays depends on (`depends` and
    `softdep`, followed to the end) stays with it. `read` is asked only for modules that stay: each has to be
    decompressed for it.
    """
    compiled = [(compile_glob(rule.pattern), [compile_glob(glob) for glob in rule.keep]) for rule in rules]
    doomed: dict[str, int] = {}
    modules = modules_of(tree)
    for node in modules:
        inside = node.path.split("/", 4)[4].removeprefix("kernel/")
        for number, (match, keep) in enumerate(compiled):
            if match.fullmatch(inside) and not any(glob.fullmatch(inside) for glob in keep):
                doomed[node.path] = number
                break
    for path in needed([node.path for node in modules if node.path not in doomed], modules, read):
        doomed.pop(path, None)
    files = [0] * len(rules)
    sizes = [0] * len(rules)
    for node in modules:
        number_of = doomed.get(node.path)
        if number_of is not None:
            files[number_of] += 1
            sizes[number_of] += node.size
    saved = tuple(
        Saved(pattern=rule.pattern, reason=rule.reason, files=files[number], size=sizes[number])
        for number, rule in enumerate(rules)
    )
    return Tree(_without_empty_folders(tree, doomed)), saved


def needed(paths: Sequence[str], modules: Sequence[Entry], read: Reader) -> set[str]:
    """Return the paths of the given modules and of everything that they need, all of them among `modules`."""
    by_path = {node.path: node for node in modules}
    by_name: dict[str, list[str]] = {}
    for path in by_path:
        by_name.setdefault(module_name(path), []).append(path)
    reached: set[str] = set()
    frontier = set(paths)
    while frontier:
        reached |= frontier
        needs = read([by_path[path] for path in sorted(frontier)])
        names = {name for path in frontier for name in (*needs[path].depends, *needs[path].softdep)}
        frontier = {path for name in names for path in by_name.get(name, ())} - reached
    return reached


def _without_empty_folders(tree: Tree, doomed: Mapping[str, int]) -> tuple[Entry, ...]:
    result: list[Entry] = []
    occupied: set[str] = set()
    emptied = {path.rsplit("/", depth)[0] for path in doomed for depth in range(1, path.count("/") - 4)}
    for node in reversed(tree.entries):
        if node.path in doomed or (node.path in emptied and node.path not in occupied):
            continue
        result.append(node)
        occupied.add(node.path.rpartition("/")[0])
    return tuple(reversed(result))
