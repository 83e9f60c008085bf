"""What every verb is given: where the store is, and who watches."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from builder.fetch.store import Store, default_root
from builder.progress import Progress, SilentProgress


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """One invocation's surroundings."""

    store: Store
    progress: Progress
    build_root: Path  # `build/` of the working folder: what only this folder's builds need
    as_json: bool

    @staticmethod
    def create(*, quiet: bool, as_json: bool) -> Context:
        """Look at the environment and the terminal."""
        progress: Progress = SilentProgress()
        if not quiet:
            from builder.cli.watch import choose_progress  # noqa: PLC0415 - rich costs 48 ms

            progress = choose_progress(sys.stderr)
        store = Store(default_root())
        store.hold()
        return Context(
            store=store, progress=progress,
            build_root=Path("build").absolute(), as_json=as_json,
        )  # fmt: skip
