"""The loader of an installed disk as files of the slot (`init.formats.loader`): the installer copies them as is."""

from __future__ import annotations

import zlib

from builder.artifact import biosboot, esp
from builder.errors import BuildError
from builder.grub.core import COPYRIGHT, DiskLoader
from builder.tools.call import Tools
from init.formats import bootrecord, disk, loader


def loader_files(made: DiskLoader, *, tools: Tools, root_mib: int, epoch: int) -> dict[str, bytes]:
    """Return the files by name. Raises BuildError where one does not fit into its partition."""
    first = disk.SECTORS_PER_MIB  # `bios` is the first partition of every layout
    size = disk.ESP_MIB * disk.MIB
    files = {esp.FALLBACK: made.efi}
    if esp.smallest_size(files) > size:
        raise BuildError(f"GRUB's UEFI program has {len(made.efi)} bytes, too many for the EFI system partition")
    facts = loader.Facts(loader=bootrecord.LOADER_FORMAT, root_mib=root_mib)
    return {
        loader.BOOT: biosboot.boot_code(made.boot_sector, first),
        loader.CORE: biosboot.placed_core(made.core, first, disk.MIB),
        loader.ESP: esp.make_esp(tools, files, size=size, epoch=epoch, volume_id=zlib.crc32(made.efi)),
        loader.FACTS: facts.to_json().encode(),
        loader.COPYRIGHT: tools.path(COPYRIGHT).read_bytes(),
    }
