"""The content-addressed half of a check: each index and pack once, and whole images put together as machines do."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from builder.artifact.unbundle import Extent, check_slot
from builder.errors import InputError
from init.formats import blocks
from init.formats import offer as offers
from init.formats.blocks import PAGE, Block, Index, Pack
from init.formats.offer import Image, Offer

_IN_MEMORY = 256  # packs: 64 MiB

Read = Callable[[str, int], bytes | None]  # path, the most bytes; None where it is missing, which is noted
Note = Callable[[str, str], None]  # path, what is wrong


@dataclass(kw_only=True)
class Images:
    """Reads through `read`, says what is wrong to `fault`, and remembers what it has seen."""

    read: Read
    fault: Note
    _done: set[tuple[str, bool]] = field(default_factory=set)  # indexes, and whether whole
    _pages: dict[Pack, tuple[str, ...] | None] = field(default_factory=dict)  # of a pack; None for a bad one
    _recent: OrderedDict[Pack, bytes] = field(default_factory=OrderedDict)

    def check(self, one: Offer, *, whole: bool) -> None:
        """Check what an offer leads to; `whole`: put its images together, too."""
        indexes = {name: self._index(image) for name, image in (("boot", one.boot), ("root", one.root))}
        sound = all(
            index is not None and self._blocks(index, image)
            for index, image in ((indexes["boot"], one.boot), (indexes["root"], one.root))
        )
        slot = (one.slot_hash + one.root.sha256, True)
        if not whole or not sound or slot in self._done:
            return
        self._done.add(slot)
        with tempfile.TemporaryFile() as file:
            for index in (indexes["boot"], indexes["root"]):
                assert index is not None
                if not self._put_together(index, file, offers.index_path(hashlib.sha256(index.encode()).hexdigest())):
                    return
            boot, root = Extent(offset=0, size=one.boot.size), Extent(offset=one.boot.size, size=one.root.size)
            try:
                check_slot(file, boot, root, root_hash=one.root_hash, hash_offset=one.hash_offset)
            except (InputError, ValueError) as error:
                name = offers.channel_target(one.machine_class, one.channel)
                self.fault(name, f"the release is not whole in itself: {error}")

    def _index(self, image: Image) -> Index | None:
        path = offers.index_path(image.index_sha256)
        data = self.read(path, min(image.index_size, blocks.LARGEST_INDEX))
        if data is None:
            return None
        if len(data) != image.index_size or hashlib.sha256(data).hexdigest() != image.index_sha256:
            self.fault(path, "is altered: it is not what was signed")
            return None
        try:
            index = Index.decode(data)
        except ValueError as error:
            self.fault(path, str(error))
            return None
        if (index.size, index.sha256) != (image.size, image.sha256):
            self.fault(path, "is another image's")
            return None
        return index

    def _blocks(self, index: Index, image: Image) -> bool:
        """Compare each block with its place in its pack."""
        if (image.index_sha256, False) in self._done:
            return True
        for pack in dict.fromkeys(block.pack for block in index.blocks if block.pack):
            if pack not in self._pages:
                self._pages[pack] = self._hashed(pack)
        wrong = [block for block in index.blocks if block.pack and not self._holds(block.pack, block)]
        for pack in dict.fromkeys(block.pack for block in wrong if block.pack):
            if self._pages[pack] is not None:
                self.fault(blocks.pack_path(pack.sha256), "holds other blocks than an index says")
        if not wrong:
            self._done.add((image.index_sha256, False))
        return not wrong

    def _holds(self, pack: Pack, block: Block) -> bool:
        pages = self._pages[pack]
        return pages is not None and pages[block.offset // PAGE] == block.sha256

    def _hashed(self, pack: Pack) -> tuple[str, ...] | None:
        """Return the hashes of a pack's pages; None where it is missing or altered, which is noted."""
        data = self._pack(pack)
        if data is None:
            return None
        return tuple(hashlib.sha256(data[at : at + PAGE]).hexdigest() for at in range(0, len(data), PAGE))

    def _pack(self, pack: Pack) -> bytes | None:
        if pack in self._recent:
            self._recent.move_to_end(pack)
            return self._recent[pack]
        path = blocks.pack_path(pack.sha256)
        data = self.read(path, pack.size)
        if data is None:
            return None
        if len(data) != pack.size or hashlib.sha256(data).hexdigest() != pack.sha256:
            self.fault(path, "is altered: its hash is not its name")
            return None
        self._recent[pack] = data
        if len(self._recent) > _IN_MEMORY:
            self._recent.popitem(last=False)
        return data

    def _put_together(self, index: Index, file: IO[bytes], name: str) -> bool:
        """Write an image; tell whether it is what its index says."""
        digest = hashlib.sha256()
        for block in index.blocks:
            data: bytes | None = bytes(block.size)
            if block.pack:
                held = self._pack(block.pack)
                data = held[block.offset : block.offset + block.size] if held is not None else None
            if data is None:
                return False
            digest.update(data)
            file.write(data)
        if digest.hexdigest() != index.sha256:
            self.fault(name, "leads to another image than it says")
            return False
        return True
