"""`berth cache`: the store of downloads and unpacked files."""

from __future__ import annotations

import argparse
import contextlib
import json
from dataclasses import asdict
from pathlib import Path

from builder.cli.arguments import number
from builder.cli.context import Context
from builder.cli.watch import show_bytes
from builder.errors import LockError
from builder.fetch.upkeep import Removed, cache_info, clean, prune
from builder.lock.file import read_lock

EXAMPLES = """\
  berth cache info              where it is and how large
  berth cache prune --days 30   delete what no build used for 30 days, but no package of a lock in this folder
  berth cache clean             delete all of it
"""
_DAY = 86400


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("what", choices=("info", "prune", "clean"))
    parser.add_argument("--days", type=number(0, 36500), default=30, help="for prune (default: 30)")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Do one of the three."""
    store = context.store
    if arguments.what == "info":
        info = cache_info(store)
        if context.as_json:
            print(json.dumps({"format": "berth.cache/1", **asdict(info), "root": str(info.root)}))
        else:
            age = f"the oldest unused for {info.oldest / _DAY:.0f} days"
            print(f"{info.root}: {info.blobs} files, {show_bytes(info.blob_bytes)}, {age}")
            if info.partial_bytes:
                print(f"  {info.partial} downloads begun, {show_bytes(info.partial_bytes)}")
        return 0
    if arguments.what == "prune":
        removed = prune(store, unused_for=arguments.days * _DAY, keep=locked_here(Path()))
    else:
        removed = clean(store)
    return tell(removed, as_json=context.as_json)


def locked_here(folder: Path) -> set[str]:
    """Return the hashes of all packages that locks in a folder name: beside recipes, and healed ones below `build/`."""
    names: set[str] = set()
    for pattern in ("*.lock", "recipes/*.lock", "build/locks/*.lock"):
        for path in folder.glob(pattern):
            with contextlib.suppress(LockError):  # another program's, by its name
                names.update(package.sha256 for package in read_lock(path).packages)
    return names


def tell(removed: Removed, *, as_json: bool) -> int:
    """Say what was deleted."""
    if as_json:
        print(json.dumps({"format": "berth.cache/1", "removed": asdict(removed)}))
    else:
        print(f"deleted {removed.files} files, {show_bytes(removed.size)}")
    return 0
