"""`berth diff`: what differs between two artifacts."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from builder.artifact.difference import Difference, PackageChange, compare
from builder.artifact.inspect import read_manifest
from builder.cli.context import Context
from builder.cli.watch import show_bytes

EXAMPLES = """\
  berth diff old/podman.iso build/out/podman/podman.iso    packages and bytes
  berth diff old/podman.iso new/podman.bundle --files      every file that changed as well
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("old", metavar="OLD", type=Path)
    parser.add_argument("new", metavar="NEW", type=Path)
    parser.add_argument("--files", action="store_true", help="list every file that changed")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Compare and print."""
    difference = compare(read_manifest(arguments.old), read_manifest(arguments.new))
    if context.as_json:
        print(json.dumps(difference.to_json()))
        return 0
    if difference.same:
        same = "are equal to the bit" if digest(arguments.old) == digest(arguments.new) else "name the same slot"
        print(f"{arguments.old} and {arguments.new} {same} ({difference.new})")
        return 0
    show(difference, files=arguments.files)
    return 0


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def growth(old: int, new: int) -> str:
    """Say by how much a number of bytes grew or shrank."""
    return f"{'+' if new >= old else '-'}{show_bytes(abs(new - old))}"


def step(change: PackageChange) -> str:
    """Say from which version to which."""
    if change.by_build:
        was, now = ("(made by the build)" if size else "absent" for size in (change.old_size, change.new_size))
    else:
        was, now = change.old_version or "absent", change.new_version or "absent"
    return was if was == now else f"{was} → {now}"


def show(difference: Difference, *, files: bool) -> None:
    """Print the difference for people."""
    print(f"{difference.old} → {difference.new}")
    for part in difference.sizes:
        print(f"  {part.name:24} {show_bytes(part.new):>9}  {growth(part.old, part.new)}")
    for package in difference.packages:
        print(f"  {package.name:36} {growth(package.old_size, package.new_size):>9}  {step(package)}")
    print(f"{len(difference.files)} files differ" + ("" if files else " (--files lists them)"))
    for change in difference.files if files else ():
        print(f"  {', '.join(change.what):24} {growth(change.old_size, change.new_size):>9}  /{change.path}")
