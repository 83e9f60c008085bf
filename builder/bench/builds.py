"""How long a build takes, and how much memory: with nothing but packages in the cache, after a change, unchanged.

A package that has changed is played by a release with another version: it makes anew all that a changed package does
(initramfs, root image, artifacts) but the reading of that one package, which takes tenths of a second.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.bench.measured import Measured, measure
from builder.steps import SOURCE_ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from builder.fetch.store import Store
    from builder.lock.model import Lock

CHANGED = "build.version=0.bench"


@dataclass(frozen=True, kw_only=True, slots=True)
class Builds:
    """One recipe's builds. Nothing is downloaded in any of them."""

    cold: Measured  # the tools tree, too, is unpacked
    changed: Measured
    unchanged: Measured


def build_times(recipe: str, kernel: str, *, locks: Iterable[Lock], store: Store, work: Path) -> Builds:
    """Build three times in the empty folder `work`; raise BuildError where a build fails."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        copy_packages(locks, store, work / "cache")
        environment = {**os.environ, "BERTH_CACHE": str(work / "cache"), "PYTHONPATH": str(SOURCE_ROOT)}
        argv = [*BERTH, "build", recipe, "--offline", "--quiet", "--set", f"build.kernel={kernel}"]

        def once(*more: str) -> Measured:
            return measure([*argv, *more], cwd=work, environment=environment)

        cold = once()
        unchanged = once()
        return Builds(cold=cold, unchanged=unchanged, changed=once("--set", CHANGED))
    finally:
        shutil.rmtree(work, ignore_errors=True)


BERTH = (sys.executable, "-c", "import sys; from builder.cli.main import main; sys.exit(main(sys.argv[1:]))")


def copy_packages(locks: Iterable[Lock], store: Store, cache: Path) -> None:
    """Put the .debs of these locks, and nothing else, into a new cache."""
    for sha256 in sorted({package.sha256 for lock in locks for package in lock.packages}):
        source = store.path(sha256)
        target = cache / "blobs" / sha256[:2] / sha256
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o444)
