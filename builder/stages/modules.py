"""Module dependencies: `depmod` of the tools tree over the modules that are left, as the kernel's postinst runs it.

depmod reads names, symbols and aliases from the modules' ELF sections; its output depends on nothing else. What it
gave is kept, so that a build with the same modules does not run it again.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from builder.errors import BuildError
from builder.rootfs import kept, plainmodule
from builder.rootfs.entry import Entry, Kind
from builder.rootfs.exclude import Saved
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

# what /usr/lib/modules/VERSION holds beside the modules and that depmod reads
_INPUTS = ("modules.builtin", "modules.builtin.modinfo", "modules.order")
_UNREAD = ("modules.builtin.modinfo", "modules.order", "modules.symbols", "modules.symbols.bin")
_WHY = "tables for depmod, for modinfo of built-in code and for loading by a symbol's name"  # 50 kB, compressed


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Write modules.dep and its companions for the kernel that is in."""
    version = context.kernel_version
    folder = f"usr/lib/modules/{version}"
    nodes = [node for node in draft.below(folder) if node.kind is Kind.FILE and _is_input(node, folder)]
    if not version or not nodes:
        return "no kernel"
    if context.recipe.build.module_signatures == "cut":
        nodes = [plain(draft, node) for node in nodes]
    key = kept.key_of(
        kept.code(__file__), context.tools.key, version, *(f"{node.path}\0{node.sha256}" for node in nodes)
    )
    known = kept.load(context.store, "depmod", key)
    if known is None or not all(context.store.has(sha256) for _, sha256 in known.values()):
        known = _depmod(context, version, nodes)
        kept.save(context.store, "depmod", key, known)
    leave_unread(draft, folder, {name: size for name, (size, _) in known.items()})
    for name, (size, sha256) in sorted(known.items()):
        if name in _UNREAD:
            continue
        draft.put(
            Entry(path=f"{folder}/{name}", kind=Kind.FILE, mode=0o644, origin=draft.origin, size=size, sha256=sha256)
        )
    return f"{sum(1 for node in nodes if '.ko' in node.path)} modules of {version}"


def leave_unread(draft: Draft, folder: str, made: Mapping[str, int]) -> None:
    """Leave out what nothing on the machine reads: of what is there, and of depmod's `made` tables (name → bytes)."""
    sizes = [made[name] for name in _UNREAD if name in made]
    for name in _UNREAD:
        node = draft.get(f"{folder}/{name}")
        if node is not None:
            sizes.append(node.size)
            draft.remove(node.path)
    if sizes:
        pattern = f"/usr/lib/modules/*/modules.{{{','.join(name.removeprefix('modules.') for name in _UNREAD)}}}"
        draft.saved.append(Saved(pattern=pattern, reason=_WHY, files=len(sizes), size=sum(sizes)))


def plain(draft: Draft, node: Entry) -> Entry:
    """Store a module without compression and signature, as the root's own compression packs it as well."""
    if ".ko" not in node.path:
        return node  # a table of depmod's
    path = f"{node.path.partition('.ko')[0]}.ko"
    data = plainmodule.plain(node.path, draft.read(node.path))
    unsigned = replace(node, path=path, size=len(data), sha256=draft.keep(data))
    draft.remove(node.path)
    draft.put(unsigned)
    return unsigned


def _is_input(node: Entry, folder: str) -> bool:
    return node.path.removeprefix(folder + "/") in _INPUTS or ".ko" in node.path.rpartition("/")[2]


def _depmod(context: StageContext, version: str, nodes: list[Entry]) -> dict[str, tuple[int, str]]:
    scratch = context.store.scratch()
    try:
        for node in nodes:
            place = scratch / node.path
            place.parent.mkdir(parents=True, exist_ok=True)
            _provide(context, node, place)
        (scratch / "lib").symlink_to("usr/lib")
        context.tools.run("depmod", "-b", str(scratch), version)
        made = sorted((scratch / "usr/lib/modules" / version).glob("modules.*"))
        result = {
            path.name: (path.stat().st_size, context.store.put(path.read_bytes()))
            for path in made if path.name not in _INPUTS
        }  # fmt: skip
        if "modules.dep.bin" not in result:
            raise BuildError("depmod of the tools tree ended well and wrote no modules.dep.bin")
        return result
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _provide(context: StageContext, node: Entry, place: Path) -> None:
    try:
        os.link(context.store.path(node.sha256), place)  # the store lies in the same file system
    except OSError:
        place.write_bytes(context.store.read(node.sha256))
