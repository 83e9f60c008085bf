"""What is found on a slot that came back: every damage is named, and a whole slot has none."""

from __future__ import annotations

import hashlib
import random
import struct

import pytest
from fakes.blockdevice import LossyDisk
from fakes.published import pages, release

from init.formats import verity
from init.updater import evidence
from init.updater import slot as slots
from init.updater.slot import Slot

SALT = b"\7" * 32


def device(data: bytes) -> LossyDisk:
    disk = LossyDisk(1 << 20)
    disk.write(0, data.ljust(-(-len(data) // 512) * 512, b"\0"))
    return disk


def a_slot() -> Slot:
    made = release(1, pages(8, seed=3))
    return Slot(name="b", boot=device(made.boot), root=device(made.root))


def spoil(disk: object, offset: int) -> None:
    assert isinstance(disk, LossyDisk)
    at = offset - offset % 512
    sector = bytearray(disk.read(at, 512))
    sector[offset % 512] ^= 1
    disk.write(at, sector)


def test_a_whole_slot_has_no_fault() -> None:
    assert evidence.look(a_slot()) == {"boot": "", "root": ""}


@pytest.mark.parametrize("name", ["vmlinuz", "initramfs"])
def test_a_flipped_bit_in_the_boot_image_is_named(name: str) -> None:
    slot = a_slot()
    spoil(slot.boot, slots.members(slot.boot)[0][name].offset)
    assert evidence.look(slot) == {"boot": f"{name} in the boot image is damaged", "root": ""}


@pytest.mark.parametrize("block", [0, 5, 7])
def test_a_flipped_bit_in_the_root_is_named(block: int) -> None:
    slot = a_slot()
    spoil(slot.root, block * 4096 + 77)
    assert evidence.look(slot)["root"] == f"block {block} of the root is not what its verity tree says"


def test_an_empty_slot_and_a_lost_tree() -> None:
    empty = Slot(name="b", boot=device(b""), root=device(b""))
    assert evidence.look(empty) == {"boot": "the boot partition holds no boot image", "root": "no boot image"}
    slot = a_slot()
    spoil(slot.root, 8 * 4096 + 3)  # the superblock's signature
    assert "no verity tree" in evidence.look(slot)["root"]


def tree_of(data: bytes) -> tuple[bytes, str]:
    """Return an image with its whole tree, of as many levels as it needs, top first as veritysetup writes it."""
    levels, below = [], data
    while len(below) > 4096 or not levels:
        hashed = b"".join(hashlib.sha256(SALT + below[at : at + 4096]).digest() for at in range(0, len(below), 4096))
        below = hashed.ljust(-(-len(hashed) // 4096) * 4096, b"\0")
        levels.append(below)
    head = struct.pack(
        "<8sII16s32sIIQH6x256s168x", b"verity\0\0", 1, 1, bytes(16), b"sha256", 4096, 4096, len(data) // 4096, 32, SALT
    )
    return data + head.ljust(4096, b"\0") + b"".join(reversed(levels)), hashlib.sha256(SALT + levels[-1]).hexdigest()


def test_a_tree_of_two_levels_is_gone_through_whole() -> None:
    data = random.Random(1).randbytes(300 * 4096)
    whole, root_hash = tree_of(data)
    found = verity.parse_superblock(whole[len(data) :])
    assert found is not None

    def fault(at: int | None) -> str:
        spoiled = bytearray(whole)
        if at is not None:
            spoiled[at] ^= 1
        return evidence.tree_fault(device_of(bytes(spoiled)), found, root_hash, len(data))

    def device_of(data: bytes) -> LossyDisk:
        disk = LossyDisk(4 << 20)
        disk.write(0, data)
        return disk

    assert fault(None) == ""
    assert fault(299 * 4096) == "block 299 of the root is not what its verity tree says"
    assert "tree is damaged" in fault(len(data) + 4096)
    assert "tree is damaged" in fault(len(data) + 3 * 4096 + 5)
