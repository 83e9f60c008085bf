"""Answers for habits: what a hand types on any Debian and is not here says in a line what to do instead, and fails."""

from __future__ import annotations

from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

_PACKAGES = "the root is never written: add the package to build.packages in the recipe, and build again"
_SERVICES = "there is no systemd: berthctl shows and restarts services, containers and logs (berthctl --help)"
STUBS = {
    "usr/bin/apt": _PACKAGES,
    "usr/bin/apt-get": _PACKAGES,
    "usr/bin/systemctl": _SERVICES,
    "usr/sbin/service": _SERVICES,
}


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Write a script for each name that nothing else has."""
    made = 0
    if "usr/bin/sh" not in draft:
        return "no shell"
    for path, advice in STUBS.items():
        name = path.rpartition("/")[2]
        if not any(f"usr/{folder}/{name}" in draft for folder in ("bin", "sbin")):
            draft.file(path, f"#!/bin/sh\necho '{name}: {advice}' >&2; exit 1\n", mode=0o755)
            made += 1
    return f"{made} stubs"
