"""`berth inspect`: what an artifact holds."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Container, Iterable
from pathlib import Path

from builder.artifact.inspect import Inspection, inspect
from builder.artifact.manifest import Manifest, entry_fields
from builder.cli.context import Context
from builder.cli.watch import show_bytes
from builder.errors import InputError
from builder.rootfs.entry import Entry

EXAMPLES = """\
  berth inspect build/out/podman/podman.iso           version, packages by size, what the recipe's rules saved
  berth inspect podman.raw --files usr/lib/berth      the files below a folder
"""
_SHOWN = 15


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("image", metavar="IMAGE", type=Path, help="an ISO, raw, qcow2, bundle or manifest")
    parser.add_argument("--files", metavar="PATH", help="list files below PATH ('' for all); --json: as `entries`")
    parser.add_argument("--all", action="store_true", help="all packages, not only the largest")


def run(arguments: argparse.Namespace, context: Context) -> int:
    """Read the artifact and print what was found."""
    found = inspect(arguments.image)
    entries = None if arguments.files is None else below(found, arguments.files.strip("/"))
    if context.as_json:
        listed = {} if entries is None else {"entries": [entry_fields(entry) for entry in entries]}
        print(json.dumps(found.to_json() | listed))
        return 0
    if entries is not None:
        show_files(entries)
        return 0
    print(f"{found.path}: {found.kind}, {show_bytes(found.size)}")
    for name, size in (*found.files, *found.partitions):
        print(f"  {name:24} {show_bytes(size):>9}")
    if found.table == "backup":
        print("  the first partition table is damaged: this was read by the one at the end")
    for name, slot in found.slots:
        state = "" if slot.tries is None else f", {slot.tries} tries, {'good' if slot.good else 'not confirmed yet'}"
        print(f"  slot {name}: root {str(slot.root_hash)[:16]}…{state}")
    if found.manifest is not None:
        show_manifest(found.manifest, everything=arguments.all)
    return 0


def show_manifest(manifest: Manifest, *, everything: bool) -> None:
    """Print what is in the slot: release, parts, packages by size, and what rules left out."""
    release = manifest.release
    print(f"\n{manifest.recipe} {release.version}, class {release.machine_class}, kernel {release.kernel}")
    for part in manifest.parts:
        print(f"  {part.name:24} {show_bytes(part.size):>9}")
    versions = {package.name: package.version for package in manifest.packages}
    sizes = Counter[str]()
    for entry in manifest.entries:
        sizes[entry.origin] += entry.size
    ranked = sizes.most_common(None if everything else _SHOWN)
    print(f"\nby origin, uncompressed ({len(versions)} packages, {show_bytes(sum(sizes.values()))}):")
    for name, size in ranked:
        print(f"  {name:36} {show_bytes(size):>9}  {versions.get(name, '(made by the build)')}")
    if len(sizes) > len(ranked):
        print(f"  and {len(sizes) - len(ranked)} more (--all)")
    print("\nleft out by rules:")
    for saved in sorted(manifest.savings, key=lambda saved: -saved.size)[: None if everything else _SHOWN]:
        print(f"  {saved.pattern:40} {show_bytes(saved.size):>9}  {saved.reason}")


def below(found: Inspection, folder: str) -> list[Entry]:
    """Return what the image holds at `folder` and below ('': all of it). Raise InputError where there is nothing."""
    if found.manifest is None:
        raise InputError(
            f"{found.path} carries no manifest of what is in its slots",
            hint="give the .manifest.json that was built with it",
        )
    entries = found.manifest.entries
    shown = [entry for entry in entries if not folder or entry.path == folder or entry.path.startswith(folder + "/")]
    if not shown:
        nearest = nearest_folder(folder, {entry.path for entry in entries})
        raise InputError(f"{found.path} holds no /{folder}", hint=f"berth inspect {found.path} --files '{nearest}'")
    return shown


def show_files(entries: Iterable[Entry]) -> None:
    """Print one line a file: mode, owner, size, where from, path."""
    for entry in entries:
        arrow = f" -> {entry.target}" if entry.target else ""
        facts = f"{entry.kind.value:5} {entry.mode:04o} {entry.uid}:{entry.gid:<5} {entry.size:>10}"
        print(f"{facts} {entry.origin:24} /{entry.path}{arrow}")


def nearest_folder(path: str, known: Container[str]) -> str:
    """Return the last folder on the way to a path that is there; the empty text is the root."""
    while path and path not in known:
        path = path.rpartition("/")[0]
    return path
