"""Runs the stages in their order and says what each did."""

from __future__ import annotations

from collections.abc import Callable

from builder.rootfs.entry import Entry, Tree
from builder.rootfs.exclude import Saved
from builder.rootfs.unpack import Unpacked
from builder.stages import (
    accounts,
    alternatives,
    berth,
    busybox,
    bytecode,
    cabundle,
    capabilities,
    copyrights,
    defaults,
    dpkgdb,
    extrafiles,
    layout,
    ldcache,
    modules,
    scripts,
    stubs,
)
from builder.stages.context import StageContext, StageReport, StageResult
from builder.stages.draft import Draft

Stage = Callable[[Draft, StageContext, Unpacked], str]

# accounts come after defaults, whose files they own; layout is last, for it moves what the others wrote
STAGES: tuple[tuple[str, Stage], ...] = (
    ("defaults", defaults.run),
    ("accounts", accounts.run),
    ("alternatives", alternatives.run),
    ("capabilities", capabilities.run),
    ("cabundle", cabundle.run),
    ("modules", modules.run),
    ("extrafiles", extrafiles.run),
    ("dpkgdb", dpkgdb.run),
    ("bytecode", bytecode.run),
    ("berth", berth.run),
    ("busybox", busybox.run),
    ("stubs", stubs.run),
    ("copyrights", copyrights.run),
    ("ldcache", ldcache.run),
    ("layout", layout.run),
)


def run_stages(unpacked: Unpacked, context: StageContext) -> tuple[Tree, StageReport]:
    """Run all stages over what was unpacked; raise BuildError where one of them cannot do its work."""
    answers = scripts.answers(unpacked, context)
    tree = unpacked.tree
    results: list[StageResult] = []
    saved: list[Saved] = []
    task = context.progress.task("stages", total=len(STAGES), unit="stages")
    for name, stage in STAGES:
        draft = Draft(tree, context.store, name)
        note = stage(draft, context, unpacked)
        saved += draft.saved
        after = draft.tree()
        results.append(_result(name, tree, after, note))
        tree = after
        task.advance(1)
    task.done()
    return tree, StageReport(stages=tuple(results), scripts=answers, saved=tuple(saved))


def _result(name: str, before: Tree, after: Tree, note: str) -> StageResult:
    old: dict[str, Entry] = before.by_path()
    new: dict[str, Entry] = after.by_path()
    return StageResult(
        stage=name,
        added=len(new.keys() - old.keys()),
        changed=sum(1 for path in new.keys() & old.keys() if new[path] != old[path]),
        removed=len(old.keys() - new.keys()),
        note=note,
    )
