"""dm-verity set up by hand: the device-mapper table for a superblock that was read. Pure."""

from __future__ import annotations

from init.pid1.system import TableRow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.verity import Superblock

# What is corrupt must not run on: the try is spent already, the other slot comes. Kernel 6.12, verity.rst.
_OPTIONS = "2 panic_on_corruption panic_on_error"


def table(
    superblock: Superblock, device: str, offset: int, root_hash: str, *, panics: bool = True
) -> tuple[TableRow, ...]:
    """Return the device-mapper table for data and tree on one device, the superblock at byte `offset`.

    Without `panics` what is corrupt can't be read (EIO): for rescue, which has nothing else to fall back to.
    """
    words = (
        "1", device, device, str(superblock.data_block), str(superblock.hash_block), str(superblock.data_blocks),
        str(offset // superblock.hash_block + 1), superblock.algorithm, root_hash, superblock.salt.hex() or "-",
        *([_OPTIONS] if panics else []),
    )  # fmt: skip
    sectors = superblock.image_bytes // 512
    return (TableRow(start=0, length=sectors, target="verity", parameters=" ".join(words)),)
