"""What every verb is given: where the store is, and who watches."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from builder.errors import InputError
from builder.fetch.store import Store
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
        return Context(
            store=Store(cache_root(os.environ)), progress=progress,
            build_root=Path("build").absolute(), as_json=as_json,
        )  # fmt: skip


def cache_root(environment: os._Environ[str] | dict[str, str]) -> Path:
    """Return the folder of downloads: `BERTH_CACHE`, else the user's cache folder (XDG Base Directory)."""
    if given := environment.get("BERTH_CACHE"):
        return Path(given).absolute()
    base = environment.get("XDG_CACHE_HOME") or ""
    home = environment.get("HOME") or ""
    if not base and not home:
        raise InputError("no place for downloads is known", hint="set BERTH_CACHE to a folder")
    return (Path(base) if base else Path(home) / ".cache") / "berth"
