"""What a slot that came back looks like on its disk: is its boot image whole, does its root match its verity tree?

A kernel that panics leaves nothing behind, so what ended a boot can only be learnt from what is still there. Reading a
slot whole takes seconds, which is why a child of PID 1 does it, and only after a return that nobody explained.

    python3 -I -B /usr/lib/berth/app slot-evidence --disk /dev/vda --slot b
    {"boot": "", "root": "block 0 of the root is not what its verity tree says"}     ("": nothing wrong was found)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from init.blockdevice.device import BlockDevice
from init.blockdevice.direct import DirectDevice
from init.formats import bootimage, disk
from init.formats.verity import Superblock
from init.updater import slot as slots
from init.updater.slot import Slot

DIGEST = 32  # bytes of SHA-256


def boot_fault(boot: BlockDevice) -> str:
    """Say what is wrong with a boot image, "" for nothing. Raise OSError where it can't be read."""
    try:
        files, _ = slots.members(boot)
    except ValueError as error:
        return f"the boot partition holds {error}"
    where = files.get(bootimage.SUMS)
    if where is None:
        return ""  # one without sums is started unchecked, too
    for line in boot.read(where.offset, min(where.size, 4096)).decode("ascii", "replace").splitlines():
        stated, _, name = line.partition("  ")
        member = files.get(name)
        if member is None:
            return f"{name} is missing in the boot image"
        found = 0
        for piece in slots.pieces(boot, member.size, member.offset):
            found = zlib.crc32(piece, found)
        if f"{found:08x}" != stated:
            return f"{name} in the boot image is damaged"
    return ""


def root_fault(slot: Slot) -> str:
    """Say what is wrong with a slot's root, "" for nothing. Raise OSError where it can't be read."""
    try:
        root_hash, offset = slots.root_of(slot.boot)
        superblock = slots.superblock(slot.root, root_hash, offset)
    except ValueError as error:
        return str(error)
    return tree_fault(slot.root, superblock, root_hash, offset)


def tree_fault(root: BlockDevice, superblock: Superblock, root_hash: str, offset: int) -> str:
    """Check a whole root against its tree, from the top down; say which block differs first, "" for none."""
    salted = hashlib.sha256(superblock.salt)
    per_block = superblock.hash_block // DIGEST
    sizes = [superblock.data_blocks]
    while sizes[-1] > 1 or len(sizes) == 1:
        sizes.append(-(-sizes[-1] // per_block))
    expected = bytes.fromhex(root_hash)
    at = offset + superblock.hash_block
    for count in reversed(sizes[1:]):
        level = b"".join(slots.pieces(root, count * superblock.hash_block, at))
        bad = _first_other([level], superblock.hash_block, expected, salted)
        if bad is not None:
            return f"the root's verity tree is damaged, {at // superblock.hash_block + bad} blocks from its begin"
        expected, at = level, at + count * superblock.hash_block
    data = slots.pieces(root, superblock.image_bytes)
    bad = _first_other(data, superblock.data_block, expected, salted)
    return "" if bad is None else f"block {bad} of the root is not what its verity tree says"


def _first_other(pieces: Iterable[bytes], size: int, expected: bytes, salted: hashlib._Hash) -> int | None:
    """Return the number of the first block of `size` bytes whose digest is not the expected one; None for none."""
    number = 0
    for piece in pieces:
        for at in range(0, len(piece), size):
            digest = salted.copy()
            digest.update(piece[at : at + size])
            if digest.digest() != expected[number * DIGEST : (number + 1) * DIGEST]:
                return number
            number += 1
    return None


def look(slot: Slot) -> dict[str, str]:
    """Return what is wrong with a slot's two images, "" for nothing."""
    faults = {}
    checks: dict[str, Callable[[], str]] = {"boot": lambda: boot_fault(slot.boot), "root": lambda: root_fault(slot)}
    for what, check in checks.items():
        try:
            faults[what] = check()
        except OSError as error:
            faults[what] = f"its {what} partition can't be read: {error.strerror}"
    return faults


def main(words: Sequence[str]) -> int:
    """Look, and print what was found."""
    parser = argparse.ArgumentParser(prog="slot-evidence")
    parser.add_argument("--disk", required=True)
    parser.add_argument("--slot", required=True, choices=disk.SLOTS)
    arguments = parser.parse_args(words)
    with ExitStack() as stack:
        boot, root = (
            stack.enter_context(DirectDevice(slots.node(arguments.disk, numbers[arguments.slot])))
            for numbers in (disk.BOOTS, disk.ROOTS)
        )
        found = look(Slot(name=arguments.slot, boot=boot, root=root))
        sys.stdout.write(json.dumps(found) + "\n")
    return 0
