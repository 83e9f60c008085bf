"""dm-verity as `veritysetup format` writes it (version 1), checked exactly and set up by hand. Pure.

    superblock, 512 bytes: "verity\\0\\0" · version u32 (1) · hash type u32 (1) · UUID 16 · algorithm 32 ·
    data block size u32 · hash block size u32 · data blocks u64 · salt size u16 · 6 zero · salt 256 · 168 zero

The tree follows at the next hash block, its top first; so the root hash is the hash of salt and that block.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass

from init.pid1.system import TableRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hashlib import sha256
else:
    # Built into the interpreter, `_sha256` before Python 3.12; `hashlib` would bring OpenSSL's 5 MB into the initramfs.
    sha256 = __import__("_sha2" if "_sha2" in sys.builtin_module_names else "_sha256").sha256

SUPERBLOCK_BYTES = 512
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s168x")
_SIGNATURE = b"verity\0\0"
# What is corrupt must not run on: the try is spent already, the other slot comes. Kernel 6.12, verity.rst.
_OPTIONS = "2 panic_on_corruption panic_on_error"
_BLOCK_SIZES = (512, 1024, 2048, 4096)


@dataclass(frozen=True, kw_only=True, slots=True)
class Superblock:
    """What a verity superblock says, sizes in bytes."""

    algorithm: str
    data_block: int
    hash_block: int
    data_blocks: int
    salt: bytes

    @property
    def image_bytes(self) -> int:
        """The size of what the tree protects."""
        return self.data_block * self.data_blocks


def parse_superblock(data: bytes) -> Superblock | None:
    """Read a superblock; None for anything else, or a form that Berth doesn't build."""
    if len(data) < SUPERBLOCK_BYTES:
        return None
    fields = _SUPERBLOCK.unpack_from(data)
    signature, version, kind, _, algorithm, data_block, hash_block, blocks, salt_size, salt = fields
    name = algorithm.split(b"\0")[0]
    if signature != _SIGNATURE or version != 1 or kind != 1 or name != b"sha256":
        return None
    if data_block not in _BLOCK_SIZES or hash_block not in _BLOCK_SIZES or salt_size > 256 or not blocks:
        return None
    return Superblock(
        algorithm="sha256",
        data_block=data_block,
        hash_block=hash_block,
        data_blocks=blocks,
        salt=salt[:salt_size],
    )


def has_root(superblock: Superblock, offset: int, top: bytes, root_hash: str) -> bool:
    """Tell whether a tree is the wanted one. `top` is the hash block behind the superblock at byte `offset`."""
    if offset % superblock.hash_block or offset < superblock.image_bytes or len(top) != superblock.hash_block:
        return False
    return sha256(superblock.salt + top).hexdigest() == root_hash


def table(superblock: Superblock, device: str, offset: int, root_hash: str) -> tuple[TableRow, ...]:
    """Return the device-mapper table for data and tree on one device, the superblock at byte `offset`."""
    words = (
        "1", device, device, str(superblock.data_block), str(superblock.hash_block), str(superblock.data_blocks),
        str(offset // superblock.hash_block + 1), superblock.algorithm, root_hash, superblock.salt.hex() or "-",
        _OPTIONS,
    )  # fmt: skip
    sectors = superblock.image_bytes // 512
    return (TableRow(start=0, length=sectors, target="verity", parameters=" ".join(words)),)
