"""dm-verity's superblock as `veritysetup format` writes it (version 1), checked exactly.

    superblock, 512 bytes: "verity\\0\\0" · version u32 (1) · hash type u32 (1) · UUID 16 · algorithm 32 ·
    data block size u32 · hash block size u32 · data blocks u64 · salt size u16 · 6 zero · salt 256 · 168 zero

The tree follows at the next hash block, its top first; so the root hash is the hash of salt and that block.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from init.formats.sha256 import sha256

SUPERBLOCK_BYTES = 512
_SUPERBLOCK = struct.Struct("<8sII16s32sIIQH6x256s168x")
_SIGNATURE = b"verity\0\0"
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
    def tree_bytes(self) -> int:
        """The size of superblock and tree, from the superblock's place on."""
        digests = self.hash_block // 32  # SHA-256
        blocks, level = 0, self.data_blocks
        while level > 1:
            level = -(-level // digests)
            blocks += level
        return self.hash_block * (1 + max(blocks, 1))

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
