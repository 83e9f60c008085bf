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
from init.formats.blocks import PAGE, Index, Pack
from init.formats.offer import Image, Offer

_IN_MEMORY = 256  # packs: 64 MiB

MISSING = "is missing"

Read = Callable[[str, int], bytes | None]  # path, the most bytes; None where it does not come


@dataclass(kw_only=True)
class Images:
    """Reads through `read`, and remembers what it has seen. `wrong`: what is wrong with a file, and who needs it."""

    read: Read
    wrong: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    _name: str = ""  # of the release that is being checked
    _sound: set[str] = field(default_factory=set)  # hashes of indexes all of whose blocks are there
    _whole: set[str] = field(default_factory=set)  # slots that were put together
    _pages: dict[Pack, tuple[str, ...] | str] = field(default_factory=dict)  # of a pack; what is wrong with a bad one
    _recent: OrderedDict[Pack, bytes] = field(default_factory=OrderedDict)

    def check(self, one: Offer, *, whole: bool) -> None:
        """Check what an offer leads to; `whole`: put its images together, too."""
        self._name = f"{one.machine_class}/{one.sequence} on {one.channel}"
        indexes = [
            index for image in (one.boot, one.root) if (index := self._index(image)) and self._blocks(index, image)
        ]
        slot = one.slot_hash + one.root.sha256
        if not whole or len(indexes) < 2 or slot in self._whole:
            return
        self._whole.add(slot)
        with tempfile.TemporaryFile() as file:
            for index, image in zip(indexes, (one.boot, one.root), strict=True):
                if not self._put_together(index, file, offers.index_path(image.index_sha256)):
                    return
            boot, root = Extent(offset=0, size=one.boot.size), Extent(offset=one.boot.size, size=one.root.size)
            try:
                check_slot(file, boot, root, root_hash=one.root_hash, hash_offset=one.hash_offset)
            except (InputError, ValueError) as error:
                name = offers.channel_target(one.machine_class, one.channel)
                self._fault(name, f"the release is not whole in itself: {error}")

    def _fault(self, path: str, message: str) -> None:
        needed_by = self.wrong.setdefault(path, (message, []))[1]
        if self._name not in needed_by:
            needed_by.append(self._name)

    def _index(self, image: Image) -> Index | None:
        path = offers.index_path(image.index_sha256)
        data = self.read(path, min(image.index_size, blocks.LARGEST_INDEX))
        if data is None:
            self._fault(path, MISSING)
            return None
        if len(data) != image.index_size or hashlib.sha256(data).hexdigest() != image.index_sha256:
            self._fault(path, "is altered: it is not what was signed")
            return None
        try:
            index = Index.decode(data)
        except ValueError as error:
            self._fault(path, str(error))
            return None
        if (index.size, index.sha256) != (image.size, image.sha256):
            self._fault(path, "is another image's")
            return None
        return index

    def _blocks(self, index: Index, image: Image) -> bool:
        """Compare each block with its place in its pack."""
        if image.index_sha256 in self._sound:
            return True
        sound = True
        for block in index.blocks:
            if block.pack is None:
                continue
            if block.pack not in self._pages:
                data = self._pack(block.pack)
                self._pages[block.pack] = data if isinstance(data, str) else _hashes(data)
            pages = self._pages[block.pack]
            if isinstance(pages, str):
                self._fault(blocks.pack_path(block.pack.sha256), pages)
                sound = False
            elif pages[block.offset // PAGE] != block.sha256:
                self._fault(blocks.pack_path(block.pack.sha256), "holds another block than an index says")
                sound = False
        if sound:
            self._sound.add(image.index_sha256)
        return sound

    def _pack(self, pack: Pack) -> bytes | str:
        """Return a pack, or what is wrong with it."""
        if pack in self._recent:
            self._recent.move_to_end(pack)
            return self._recent[pack]
        data = self.read(blocks.pack_path(pack.sha256), pack.size)
        if data is None:
            return MISSING
        if len(data) != pack.size or hashlib.sha256(data).hexdigest() != pack.sha256:
            return "is altered: its hash is not its name"
        self._recent[pack] = data
        if len(self._recent) > _IN_MEMORY:
            self._recent.popitem(last=False)
        return data

    def _put_together(self, index: Index, file: IO[bytes], name: str) -> bool:
        """Write an image; tell whether it is what its index says."""
        digest = hashlib.sha256()
        for block in index.blocks:
            data = bytes(block.size)
            if block.pack:
                held = self._pack(block.pack)
                if isinstance(held, str):  # it changed since it was looked at
                    return False
                data = held[block.offset : block.offset + block.size]
            digest.update(data)
            file.write(data)
        if digest.hexdigest() != index.sha256:
            self._fault(name, "leads to another image than it says")
            return False
        return True


def _hashes(data: bytes) -> tuple[str, ...]:
    return tuple(hashlib.sha256(data[at : at + PAGE]).hexdigest() for at in range(0, len(data), PAGE))
