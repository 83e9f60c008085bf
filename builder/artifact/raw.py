"""The raw disk image: the disk of `init/formats/disk.py` as a sparse file, slot a filled, slot b and state blank.

Its boot record says: slot a has three tries and is not good yet. It is confirmed by the machine that it runs on,
not by the computer that made it; with no confirmed slot beside it, it never loses a try for good (`bootrecord.arm`).
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from builder.artifact import biosboot, esp, identity
from builder.artifact.output import Artifact, copy_sparse, describe, replacing
from builder.errors import BuildError
from builder.grub.core import DiskLoader
from builder.image.slot import SlotImage
from builder.tools.call import Tools
from init.formats import bootrecord, disk, gpt
from init.formats.release import Release

SLOT: bootrecord.Slot = "a"
MANIFEST_ON_ESP = "berth/manifest.json"


def write_raw(
    *,
    slot: SlotImage,
    release: Release,
    manifest: bytes,
    loader: DiskLoader,
    tools: Tools,
    out: Path,
    root_mib: int = disk.DEFAULT_ROOT_MIB,
    state_mib: int = disk.SMALLEST_STATE_MIB,
) -> Artifact:
    """Write the disk image `out`. Raises BuildError where a slot image does not fit, or the disk cannot be written."""
    sectors = disk.smallest_mib(root_mib=root_mib, state_mib=state_mib) * disk.SECTORS_PER_MIB
    layout = disk.lay_out(sectors, root_mib=root_mib)
    volume = esp.make_esp(
        tools,
        _esp_files(loader, manifest, layout.number(disk.ESP)),
        size=layout.number(disk.ESP).size_bytes,
        epoch=release.epoch,
        volume_id=identity.volume_id(slot.root_hash),
    )
    with replacing(out) as file:
        file.truncate(sectors * disk.SECTOR)
        write_tables(file, layout, slot.root_hash, loader)
        _fill(file, layout.number(disk.ESP), io.BytesIO(volume))
        record = bootrecord.encode(bootrecord.fresh(SLOT))
        for number in disk.RECORDS:
            _fill(file, layout.number(number), io.BytesIO(record))
        for partition, image in ((disk.BOOTS[SLOT], slot.boot), (disk.ROOTS[SLOT], slot.root)):
            with image.open("rb") as source:
                _fill(file, layout.number(partition), source)
    return describe("raw", out)


def table_of(layout: disk.Layout, root_hash: str) -> gpt.Table:
    """Return the GPT of a layout, with GUIDs derived from the root hash."""
    entries = {
        partition.number: gpt.Entry(
            type_guid=partition.type_guid,
            guid=identity.guid(root_hash, partition.name),
            first=partition.first,
            last=partition.last,
            name=partition.name,
        )
        for partition in layout.partitions
    }
    return gpt.Table(disk_guid=identity.guid(root_hash, "disk"), sectors=layout.sectors, entries=entries)


def write_tables(file: BinaryIO, layout: disk.Layout, root_hash: str, loader: DiskLoader) -> None:
    """Write boot code, both partition tables and GRUB's core."""
    encoded = gpt.encode(table_of(layout, root_hash))
    bios = layout.number(disk.BIOS)
    code = biosboot.boot_code(loader.boot_sector, bios.first)
    file.seek(0)
    file.write(code + encoded.protective_mbr[len(code) :] + encoded.primary)
    file.seek((layout.sectors - disk.GPT_SECTORS) * disk.SECTOR)
    file.write(encoded.backup)
    file.seek(bios.offset_bytes)
    file.write(biosboot.placed_core(loader.core, bios.first, bios.size_bytes))


def _esp_files(loader: DiskLoader, manifest: bytes, partition: disk.Partition) -> dict[str, bytes]:
    files = {esp.FALLBACK: loader.efi, MANIFEST_ON_ESP: manifest}
    if esp.smallest_size(files) > partition.size_bytes:
        raise BuildError(f"the manifest has {len(manifest)} bytes, too many for the EFI system partition")
    return files


def _fill(file: BinaryIO, partition: disk.Partition, source: BinaryIO) -> None:
    """Write an image to the beginning of a partition."""
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    if size > partition.size_bytes:
        raise BuildError(
            f"an image of {size} bytes does not fit into {partition.name}, which has {partition.size_bytes}",
            hint="raise `root_mib` in the recipe's `build`" if partition.name.startswith("root") else None,
        )
    copy_sparse(source, file, partition.offset_bytes)
