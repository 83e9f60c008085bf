"""Releases for tests: the small machine's slot with another version, or with files replaced.

Everything but the replaced files comes out of the cache of the build that made the machine's disk, so a release costs
what packing its root costs.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from fakes.bundles import images_bundle
from fakes.shop import Shop

from builder.cli.context import Context
from builder.cli.inputs import Network, load_recipe, ready_lock
from builder.image import SlotImage
from builder.images import bake
from builder.pipeline import Order, release_of, root_tree, slot_image
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.unpack import build_tree
from builder.stages.bytecode import compile_sources, must_compile
from builder.stages.context import StageContext
from builder.stages.diversions import diversions_of
from builder.steps import Steps
from builder.tools.call import Tools
from init.formats.offer import Offer
from init.formats.release import APP_PATH, Release

HOST = "10.0.2.2"  # the host, as QEMU's guests see it


@dataclass(frozen=True, kw_only=True)
class Made:
    """A release that was made: its slot's images, and its name."""

    slot: SlotImage
    release: Release


class Workshop:
    """Makes releases of `minimal` with the kernel for virtual machines."""

    def __init__(self, tools: Tools, root: Path) -> None:
        before = Path.cwd()
        os.chdir(root)  # a build keeps its cache below the working folder
        try:
            context = Context.create(quiet=True, as_json=False)
            recipe = load_recipe("minimal", ["build.kernel=cloud"])
            lock = ready_lock(recipe, tools, context, Network(heal=True))
        finally:
            os.chdir(before)
        self._order = Order(
            recipe=recipe, lock=lock, lock_sha256="", store=context.store, tools=tools,
            steps=Steps(context.build_root / "steps"), out=context.build_root, config=None, progress=context.progress,
        )  # fmt: skip
        self._unpacked = build_tree(lock, recipe, context.store, context.progress, diversions_of)

    def make(
        self,
        version: str,
        *,
        files: Mapping[str, bytes] | None = None,
        without: str = "",
        cmdline: tuple[str, ...] = (),
    ) -> Made:
        """Return a release: `files` by their paths in the root take others' places, what ends with `without` goes.

        `cmdline` is added to the kernel's words. A file of our own programs (`…/init/pid1/main.py`) is given as source
        and put in as byte code.
        """
        build = self._order.recipe.build
        recipe = replace(self._order.recipe, build=replace(build, cmdline=(*build.cmdline, *cmdline)))
        order = replace(self._order, recipe=recipe)
        release = replace(release_of(order.recipe, order.lock, "", self._unpacked.kernel_version), version=version)
        baked = bake(order.recipe, order.lock, order.store, order.progress)
        tree = root_tree(order, self._unpacked, release, baked)[0].by_path()
        if without:
            gone = [path for path in tree if path.endswith(without)]
            assert gone, f"nothing ends with {without}"
            for path in gone:
                del tree[path]
        for path, data in (files or {}).items():
            put = self._compiled(path, data, release) if path.endswith(".py") else self._stored(path, data)
            tree[put.path] = put
        whole = Tree(tuple(tree[path] for path in sorted(tree)))
        return Made(slot=slot_image(order, whole, release), release=release)

    def source(self, module: str) -> str:
        """Return the path of a module of our own (`pid1/main.py`) in the root."""
        return f"{APP_PATH.strip('/')}/init/{module}"

    def _stored(self, path: str, data: bytes) -> Entry:
        return Entry(path=path, kind=Kind.FILE, size=len(data), sha256=self._order.store.put(data))

    def _compiled(self, path: str, data: bytes, release: Release) -> Entry:
        order = self._order
        context = StageContext(
            recipe=order.recipe, lock=order.lock, store=order.store, tools=order.tools, release=release,
            kernel_version=release.kernel,
        )  # fmt: skip
        [(size, sha256)] = must_compile(compile_sources([(path, order.store.put(data))], context)).values()
        return Entry(path=f"{path}c", kind=Kind.FILE, size=size, sha256=sha256)


def publish(shop: Shop, made: Made) -> Offer:
    """Publish a release that was made."""
    release, slot = made.release, made.slot
    with tempfile.TemporaryDirectory() as folder:
        bundle = images_bundle(
            Path(folder), slot.boot.read_bytes(), slot.root.read_bytes(), machine_class=release.machine_class,
            version=release.version, epoch=release.epoch, root_hash=slot.root_hash, hash_offset=slot.hash_offset,
        )  # fmt: skip
        return shop.publish(bundle)
