"""A build from beginning to end: the order of the steps, and what each is told. Offline, without privilege.

    recipe, lock, store, tools ─▶ Tree ─▶ SlotImage ─▶ artifacts

Every step sees only its arguments. When nothing that a build reads has changed since the last one and its artifacts are
still in place, they are the answer.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.artifact.bom import write_bom
from builder.artifact.bundle import write_bundle
from builder.artifact.contents import contents_of
from builder.artifact.installable import loader_files
from builder.artifact.iso import write_iso
from builder.artifact.manifest import make_manifest, write_manifest
from builder.artifact.output import Artifact
from builder.artifact.qcow2 import write_qcow2
from builder.artifact.raw import write_raw
from builder.errors import READABLE, BuildError, RecipeError
from builder.fetch.store import BlobDamaged
from builder.grub.core import disk_loader, iso_loader
from builder.image import SlotImage, build_slot
from builder.images import bake
from builder.outfolder import Built, exclusive, read_record, staging, write_record
from builder.recipe import compile_machine
from builder.recipe.beside import read_file
from builder.recipe.model import ExtraFile, Recipe
from builder.rootfs import kept
from builder.rootfs.entry import Kind
from builder.rootfs.unpack import Unpacked, build_tree
from builder.stages import run_stages
from builder.stages.context import StageContext
from builder.stages.diversions import diversions_of
from builder.stages.scripts import answers_of_image, idle_excuses
from builder.steps import Steps, code_digest, digest
from init.formats.machine import encode
from init.formats.release import Release

if TYPE_CHECKING:
    from collections.abc import Iterable

    from builder.fetch.store import Store
    from builder.images.bake import Baked
    from builder.lock.model import Lock
    from builder.progress import Progress
    from builder.rootfs.entry import Entry, Tree
    from builder.rootfs.exclude import Saved
    from builder.tools.call import Tools

# What decides over the bits of an image, as paths below the repository.
TREE_CODE = (
    "init",
    "builder/recipe",
    "builder/rootfs",
    "builder/stages",
    "builder/images",
    "builder/steps.py",
    "builder/pipeline.py",
)
SLOT_CODE = ("builder/image", "builder/recipe/patterns.py")
ARTIFACT_CODE = ("builder/artifact", "builder/grub", "init/formats")

BLOCK = 4096  # bytes by which a file may be rounded up
BESIDE_ROOT = 64 << 20  # bytes: the kernel and the initramfs, each twice
SLOT_FACTS = "slot.json"
SLOT_FILES = ("boot.img", "root.img", "vmlinuz", "initramfs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """All that a build is told. `config` is a machine config to bake into the ISO, or None."""

    recipe: Recipe
    lock: Lock
    lock_sha256: str
    store: Store
    tools: Tools
    steps: Steps
    out: Path
    config: bytes | None
    progress: Progress


def inputs_digest(order: Order) -> str:
    """Return the hash of everything that a build reads."""
    build = order.recipe.build
    files = [*build.files, *(file for image in build.images for file in image.files)]
    contents = [_content(file) for file in files if file.source is not None]
    layouts = [image.digest or "" for image in build.images]
    return digest(
        order.recipe.name, build, dict(order.recipe.machine), order.lock_sha256, order.tools.key, contents, layouts,
        code_digest(*TREE_CODE, *SLOT_CODE, *ARTIFACT_CODE),
    )  # fmt: skip


def _content(file: ExtraFile) -> str:
    """Return the SHA-256 of a file that the recipe adds; raise RecipeError where it is gone since that was read."""
    assert file.source is not None
    try:
        return hashlib.sha256(read_file(file.source)).hexdigest()
    except OSError as error:
        raise RecipeError(
            f"{file.source} cannot be taken: {error.strerror}", hint=READABLE, place=file.place
        ) from error


def release_of(recipe: Recipe, lock: Lock, inputs: str, kernel: str) -> Release:
    """Name the release: the recipe's own version, else the lock's time and eight digits of the inputs."""
    build = recipe.build
    when = datetime.datetime.fromtimestamp(lock.epoch, datetime.UTC)
    return Release(
        name=recipe.name,
        version=build.version or f"{when:%Y%m%d.%H%M}-{inputs[:8]}",
        machine_class=build.machine_class or f"{recipe.name}-{build.architecture}",
        engine=build.engine,
        kernel=kernel,
        epoch=lock.epoch,
    )


def build(order: Order) -> Built:
    """Build every artifact of a recipe into `order.out`, or find that nothing has changed.

    A build that fails leaves the artifacts of the one before as they were. Raises BerthError.
    """
    inputs = inputs_digest(order)
    with exclusive(order.out, order.recipe.name):
        # A baked config changes the ISO alone, so it names no release.
        key = digest(inputs, order.config)
        last = read_record(order.out, order.recipe.name, key)
        if last is not None:
            return last
        order.store.sweep()
        try:
            built = _build(order, inputs)
        except BlobDamaged as damage:
            # It is taken away already, so that its maker makes it anew.
            order.progress.clear()
            order.progress.note(damage.message)
            built = _build(order, inputs)
        write_record(order.out, key, built)
        return built


def _build(order: Order, inputs: str) -> Built:
    unpacked = build_tree(order.lock, order.recipe, order.store, order.progress, diversions_of)
    baked = bake(order.recipe, order.lock, order.store, order.progress)
    release = release_of(order.recipe, order.lock, inputs, unpacked.kernel_version)
    tree, staged = root_tree(order, unpacked, release, baked)
    saved = (*unpacked.saved, *unpacked.cut, *baked.saved, *staged)
    order.progress.note(savings(saved))
    slot = slot_image(order, tree, release)
    artifacts = write_artifacts(order, saved, tree, slot, release)
    return Built(
        recipe=order.recipe.name, release=release, lock_sha256=order.lock_sha256, artifacts=artifacts, reused=False
    )


def savings(saved: Iterable[Saved]) -> str:
    """Say what rules left out, in all and by the three that saved most."""
    rules = sorted(saved, key=lambda rule: -rule.size)
    if not rules:
        return "left out: nothing, for the recipe has no rules"
    size, files = sum(rule.size for rule in rules), sum(rule.files for rule in rules)
    most = ", ".join(f"{rule.pattern} {rule.size / 1e6:.1f} MB" for rule in rules[:3])
    return (
        f"left out by {len(rules)} rules: {size / 1e6:.1f} MB in {files} files, most by {most} "
        "(`berth inspect --all` tells each, with its reason)"
    )


def root_tree(order: Order, unpacked: Unpacked, release: Release, baked: Baked) -> tuple[Tree, tuple[Saved, ...]]:
    """Return the machine's whole root (packages, baked images, what stages make of them), and what stages left out."""
    machine = compile_machine(order.recipe)
    answers = [one for image, debs in baked.packages for one in answers_of_image(image, debs, order.recipe)]
    context = StageContext(
        recipe=order.recipe,
        lock=order.lock,
        store=order.store,
        tools=order.tools,
        release=release,
        kernel_version=unpacked.kernel_version,
        machine_json=json.dumps(encode(machine.machine), indent=1, sort_keys=True) + "\n",
        machine_document=machine.document.decode(),
        images=baked.entries,
        loader=loader_files(
            disk_loader(order.tools), tools=order.tools, root_mib=order.recipe.build.root_mib, epoch=release.epoch
        ),
        progress=order.progress,
    )
    tree, report = run_stages(unpacked, context)
    for excuse in idle_excuses(order.recipe, (*report.scripts, *answers)):
        order.progress.note(f"{excuse.place}: {excuse.package} excuses no maintainer script: it can go")
    return tree, report.saved


def slot_image(order: Order, tree: Tree, release: Release) -> SlotImage:
    """Return the slot's images, from the cache of steps where the same tree was packed before."""
    build = order.recipe.build
    key = digest(
        [entry_key(entry) for entry in tree.entries],
        build.compression,
        build.cmdline,
        build.root_mib,
        release,
        order.tools.key,
        code_digest(*SLOT_CODE, "builder/rootfs/kept.py", "builder/rootfs/tarstream.py"),
        SLOT_FILES,
    )

    def make(folder: Path) -> None:
        require_room(folder, tree)
        slot = build_slot(
            tree, store=order.store, tools=order.tools, recipe=order.recipe, release=release, out=folder,
            progress=order.progress,
        )  # fmt: skip
        facts = {
            "root_hash": slot.root_hash,
            "hash_offset": slot.hash_offset,
            "cmdline": slot.cmdline,
            "sha256": {name: sha256_of(folder / name) for name in SLOT_FILES},
        }
        (folder / SLOT_FACTS).write_bytes(kept.seal(facts))

    folder = order.steps.folder("slot", key, make)
    slot = read_slot(folder)
    if slot is None:
        order.progress.note(f"{folder} was damaged and is made anew")
        shutil.rmtree(folder)
        slot = read_slot(order.steps.folder("slot", key, make))
    if slot is None:
        raise BuildError(f"{folder} was damaged as soon as it was made", hint="check the disk and the memory")
    return slot


def require_room(folder: Path, tree: Tree) -> None:
    """Raise BuildError where the images might not fit on the disk of `folder`, were nothing compressed.

    That is told before minutes of work; what fills the disk meanwhile is noticed by `builder.tools.fulldisk`.
    """
    files = sum(entry.size + BLOCK for entry in tree.entries if entry.kind is Kind.FILE)
    needed, free = files + BESIDE_ROOT, shutil.disk_usage(folder).free
    if free < needed:
        raise BuildError(
            f"{folder.parent} needs room for {needed / 1e6:.0f} MB, and its disk has {free / 1e6:.0f} MB left",
            hint="free some space, or work in a folder on another disk",
        )


def read_slot(folder: Path) -> SlotImage | None:
    """Return what a step kept, None where a file of it is no longer what it was."""
    try:
        facts = kept.unseal((folder / SLOT_FACTS).read_bytes())
        if facts is None or facts.pop("sha256") != {name: sha256_of(folder / name) for name in SLOT_FILES}:
            return None
        return SlotImage(
            boot=folder / "boot.img",
            root=folder / "root.img",
            vmlinuz=folder / "vmlinuz",
            initramfs=folder / "initramfs",
            **facts,
        )
    except (OSError, KeyError, TypeError):  # gone, or another builder's
        return None


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def entry_key(entry: Entry) -> list[object]:
    """Return what of an entry gets into an image."""
    return [
        entry.path, entry.kind.value, entry.mode, entry.uid, entry.gid, entry.sha256, entry.target, entry.device,
        [(name, value.hex()) for name, value in entry.xattrs],
    ]  # fmt: skip


def write_artifacts(
    order: Order, saved: tuple[Saved, ...], tree: Tree, slot: SlotImage, release: Release
) -> tuple[Artifact, ...]:
    """Write every artifact and return them, the manifest last. All of them are made before the first gets its name."""
    task = order.progress.task("artifacts", unit="files")
    with staging(order.out, order.recipe.name) as folder:
        made = make_artifacts(order, saved, tree, slot, release=release, out=folder)
        for artifact in made:
            artifact.path.replace(order.out / artifact.path.name)
    task.done(f"{len(made)} files, ISO {made[0].size / 1e6:.1f} MB")
    return tuple(replace(artifact, path=order.out / artifact.path.name) for artifact in made)


def make_artifacts(
    order: Order, saved: tuple[Saved, ...], tree: Tree, slot: SlotImage, *, release: Release, out: Path
) -> tuple[Artifact, ...]:
    """Write every artifact into the folder `out`: the ISO first, the manifest last."""
    name, build = order.recipe.name, order.recipe.build
    contents = contents_of(order.recipe, order.lock, order.tools.packages)
    manifest = make_manifest(
        recipe=order.recipe, packages=contents.packages, release=release, tree=tree, slot=slot,
        lock_sha256=order.lock_sha256, savings=saved,
        machine=compile_machine(order.recipe).document.decode(),
    )  # fmt: skip
    text = manifest.to_json()
    kind = ", VM image" if release.vm_image else ""
    iso = write_iso(
        slot=slot, release=release, manifest=text, tools=order.tools, out=out / f"{name}.iso",
        loader=iso_loader(order.tools, root_hash=slot.root_hash, title=f"Berth {name} {release.version}{kind}"),
        user_data=order.config,
    )  # fmt: skip
    check_budget(iso, build.budget)
    raw = write_raw(
        slot=slot, release=release, manifest=text, loader=disk_loader(order.tools), tools=order.tools,
        out=out / f"{name}.raw", root_mib=build.root_mib,
    )  # fmt: skip
    return (
        iso,
        raw,
        write_qcow2(raw=raw.path, out=out / f"{name}.qcow2"),
        write_bundle(slot=slot, release=release, manifest=text, out=out / f"{name}.bundle"),
        write_bom(contents, release=release, out=out / f"{name}.spdx.json"),
        write_manifest(manifest, out=out / f"{name}.manifest.json"),
    )


def check_budget(iso: Artifact, budget: int | None) -> None:
    """Raise BuildError where the ISO is larger than the recipe allows (both in bytes)."""
    if budget is not None and iso.size > budget:
        raise BuildError(
            f"the ISO has {iso.size / (1 << 20):.1f} MiB, and the recipe's budget is {budget / (1 << 20):.1f} MiB",
            hint="`berth inspect` shows what is large; leave something out, or raise build.budget",
        )
