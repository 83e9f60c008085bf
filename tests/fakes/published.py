"""Releases small enough to be taken thousands of times, and a repository of them in memory."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field

from builder.image.ustar import archive
from builder.repository.packs import Packed, pack, stored_by
from init.formats import bootimage, envblock
from init.formats.blocks import Block, Index, Pack
from init.formats.offer import Image, Offer
from init.updater.errors import FailedError

PAGE = 4096
SALT = bytes(range(32))


@dataclass(frozen=True, kw_only=True)
class Published:
    """A release: its two images, how they are stored, and what is said of it."""

    offer: Offer
    boot: bytes
    root: bytes
    packed: tuple[Packed, Packed]


def sealed(data: bytes) -> tuple[bytes, str, int]:
    """Return a root image of `data` with a verity superblock and a tree's top, its root hash and offset."""
    pages = len(data) // PAGE
    assert pages <= 128, "the tree is one block"
    top = b"".join(hashlib.sha256(SALT + data[at : at + PAGE]).digest() for at in range(0, len(data), PAGE))
    top = top.ljust(PAGE, b"\0")
    superblock = struct.pack(
        "<8sII16s32sIIQH6x256s168x", b"verity\0\0", 1, 1, bytes(16), b"sha256", PAGE, PAGE, pages, len(SALT), SALT
    )
    return data + superblock.ljust(PAGE, b"\0") + top, hashlib.sha256(SALT + top).hexdigest(), len(data)


def release(
    sequence: int,
    data: bytes,
    *,
    after: Published | None = None,
    kernel: bytes = b"kernel",
    machine_class: str = "minimal-amd64",
    **said: int | str,
) -> Published:
    """Return the release that holds `data`, whole pages, in its root, published after another."""
    root, root_hash, offset = sealed(data)
    env = envblock.encode({"cmdline": f"quiet berth.root={root_hash},{offset}"}, bootimage.CMDLINE_BYTES)
    members = {bootimage.KERNEL: kernel, bootimage.INITRAMFS: b"initramfs" * 100, bootimage.CMDLINE: env}
    boot = archive({**members, bootimage.SUMS: bootimage.sums(members)}, mtime=0)
    stored = stored_by(each.index for each in after.packed) if after else {}
    packed = (pack([boot], stored), pack([root], stored))
    facts: dict[str, object] = {
        "machine_class": machine_class, "channel": "stable", "sequence": sequence, "version": f"v{sequence}",
        "loader": 1, "epoch": 1_795_000_000, "published": 1_795_000_000,
        "boot": _image(packed[0]), "root": _image(packed[1]), "root_hash": root_hash, "hash_offset": offset, **said,
    }  # fmt: skip
    return Published(offer=Offer(**facts), boot=boot, root=root, packed=packed)  # type: ignore[arg-type]


def _image(packed: Packed) -> Image:
    index, encoded = packed.index, packed.index.encode()
    return Image(
        size=index.size, sha256=index.sha256, index_size=len(encoded), index_sha256=hashlib.sha256(encoded).hexdigest()
    )


def pages(count: int, seed: int) -> bytes:
    """Return pages of noise."""
    return random.Random(seed).randbytes(count * PAGE)


@dataclass(kw_only=True)
class MemoryRepository:
    """The packs and indexes of some releases. `broken`: hashes of blocks that can't be had."""

    packs: dict[str, bytes] = field(default_factory=dict)
    indexes: dict[str, Index] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    fetched: int = 0
    last: Pack | None = None

    def add(self, releases: Iterable[Published]) -> None:
        for one in releases:
            for made in one.packed:
                self.indexes[hashlib.sha256(made.index.encode()).hexdigest()] = made.index
                self.packs.update({each.sha256: data for each, data in made.packs})

    def index(self, sha256: str, size: int) -> Index:
        self.fetched += size
        return self.indexes[sha256]

    def block(self, block: Block) -> bytes:
        assert block.pack
        if block.sha256 in self.broken:
            raise FailedError(f"block {block.sha256[:8]}: the network is down")
        if block.pack != self.last:
            self.last = block.pack
            self.fetched += block.pack.size
        return self.packs[block.pack.sha256][block.offset : block.offset + block.size]
