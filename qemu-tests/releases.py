"""Releases for tests: the small machine's slot with another version or with files replaced, and a repository of them.

Everything but the replaced files comes out of the cache of the build that made the machine's disk, so a release costs
what packing its root costs. The repository is signed here, by python-tuf: what machines read is the format, not who
wrote it.
"""

from __future__ import annotations

import datetime
import hashlib
import http.server
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from builder.cli.context import Context
from builder.cli.inputs import Network, load_recipe, ready_lock
from builder.image import SlotImage
from builder.pipeline import Order, release_of, root_tree, slot_image
from builder.repository.packs import pack, stored_by
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.unpack import build_tree
from builder.stages.bytecode import compile_sources, must_compile
from builder.stages.context import StageContext
from builder.steps import Steps
from builder.tools.call import Tools
from init.formats import blocks, offer
from init.formats.blocks import Index
from init.formats.offer import Image, Offer
from init.formats.release import APP_PATH, Release

CHANNEL = "stable"
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
        self._unpacked = build_tree(lock, recipe, context.store, context.progress)

    def make(self, version: str, *, files: Mapping[str, bytes] | None = None, without: str = "") -> Made:
        """Return a release: `files` by their paths in the root take others' places, what ends with `without` goes.

        A file of our own programs (`…/init/pid1/main.py`) is given as source and put in as byte code.
        """
        order = self._order
        release = replace(release_of(order.recipe, order.lock, "", self._unpacked.kernel_version), version=version)
        tree = root_tree(order, self._unpacked, release).by_path()
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


class Shop:
    """A repository on this computer: published into, and served to guests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._keys = {role: Ed25519PrivateKey.generate() for role in ("root", "targets", "snapshot", "timestamp")}
        self._indexes: list[Index] = []
        self._targets: dict[str, TargetFile] = {}
        self._version = 0
        self.sequence = 0
        root = Root(expires=_later(days=300))
        for role in self._keys:
            root.add_key(self._signer(role).public_key, role)
        self.root = self._signed(root)
        self._write("metadata/1.root.json", self.root)
        handler = partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        """The port on this computer's own address."""
        return int(self._server.server_address[1])

    def publish(self, made: Made, **said: Any) -> Offer:
        """Publish a release as the channel's newest; `said` overrules what its offer says."""
        images = {}
        for what, path in (("boot", made.slot.boot), ("root", made.slot.root)):
            packed = pack([path.read_bytes()], stored_by(self._indexes))
            for one, data in packed.packs:
                self._write(blocks.pack_path(one.sha256), data)
            encoded = packed.index.encode()
            name = hashlib.sha256(encoded).hexdigest()
            self._write(offer.index_path(name), encoded)
            self._indexes.append(packed.index)
            images[what] = Image(
                size=packed.index.size, sha256=packed.index.sha256, index_size=len(encoded), index_sha256=name
            )
        self.sequence += 1
        facts = {
            "machine_class": made.release.machine_class, "channel": CHANNEL, "sequence": self.sequence,
            "version": made.release.version, "loader": made.release.loader, "epoch": made.release.epoch,
            "published": made.release.epoch, "root_hash": made.slot.root_hash, "hash_offset": made.slot.hash_offset,
            **images, **said,
        }  # fmt: skip
        one = Offer(**facts)
        data = one.to_json()
        path = offer.channel_target(made.release.machine_class, CHANNEL)
        head, _, name = path.rpartition("/")
        self._write(f"{offer.TARGETS_PATH}{head}/{hashlib.sha256(data).hexdigest()}.{name}", data)
        self._targets[path] = TargetFile.from_data(path, data, ["sha256"])
        self.sign()
        return one

    def sign(self, *, expires: datetime.datetime | None = None) -> None:
        """Sign the newest state; `expires` is the timestamp's."""
        self._version += 1
        number = self._version
        targets = self._signed(Targets(number, expires=_later(days=200), targets=dict(self._targets)))
        self._write(f"metadata/{number}.targets.json", targets)
        listed = {"targets.json": MetaFile(number)}
        self._write(
            f"metadata/{number}.snapshot.json", self._signed(Snapshot(number, expires=_later(days=100), meta=listed))
        )
        timestamp = Timestamp(number, expires=expires or _later(days=50), snapshot_meta=MetaFile(number))
        self._write("metadata/timestamp.json", self._signed(timestamp))

    def _signer(self, role: str) -> CryptoSigner:
        return CryptoSigner(self._keys[role])

    def _signed(self, signed: Any) -> bytes:
        metadata: Metadata[Any] = Metadata(signed)
        metadata.sign(self._signer(signed.type))
        return bytes(metadata.to_bytes())

    def _write(self, path: str, data: bytes) -> None:
        final = self.folder / path
        final.parent.mkdir(parents=True, exist_ok=True)
        final.write_bytes(data)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _later(*, days: int) -> datetime.datetime:
    """Guests' clocks are the host's."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0) + datetime.timedelta(days=days)
