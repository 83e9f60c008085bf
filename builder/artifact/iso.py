"""The hybrid ISO: a CD (El Torito, BIOS and UEFI) and a disk (MBR boot code, GPT) in the same bytes.

`pycdlib` writes the file system. Ours is what it has no notion of: GRUB's patches, the partition table and the dates.

    sector 0 (of 512)   GRUB's hybrid boot code; at 0x1b0 where the El Torito image lies, + 4; protective MBR
    sectors 1 … 33      primary GPT; its one partition is the extent of `boot/efi.img`, an ESP
    sector 64 …         ISO 9660
    the El Torito image its boot info table (pycdlib's); at 2548 where it lies, + 5, in sectors of 512
    last 33 sectors     backup GPT
"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import BinaryIO

import pycdlib
from pycdlib.pycdlibexception import PyCdlibException

from builder.artifact import biosboot, esp, identity, iso9660
from builder.artifact.output import Artifact, describe, replacing
from builder.errors import BuildError
from builder.grub.core import IsoLoader
from builder.grub.script import iso_marker
from builder.image.slot import SlotImage
from builder.tools.call import Tools
from init.formats import disk, gpt
from init.formats.release import Release

MANIFEST = "berth/manifest.json"
BOOT_IMAGE = "berth/boot.img"
ROOT_IMAGE = "berth/root.img"
USER_DATA = "berth/user-data"
_ELTORITO = "boot/bios.img"
_EFI = "boot/efi.img"
_PER_SECTOR = iso9660.SECTOR // disk.SECTOR
_PAD = 1 << 20  # the image ends on a MiB: some tools that write sticks insist on whole blocks
_LARGEST_FILE = (1 << 32) - iso9660.SECTOR


def write_iso(
    *,
    slot: SlotImage,
    release: Release,
    manifest: bytes,
    loader: IsoLoader,
    tools: Tools,
    out: Path,
    user_data: bytes | None = None,
) -> Artifact:
    """Write the ISO `out`; `user_data` is a machine config that it carries as `/berth/user-data`."""
    for image in (slot.boot, slot.root):
        if image.stat().st_size > _LARGEST_FILE:
            raise BuildError(f"{image.name} is larger than a file on an ISO can be (4 GiB)")
    files = {esp.FALLBACK: loader.efi}
    volume = esp.make_esp(
        tools,
        files,
        size=esp.smallest_size(files),
        epoch=release.epoch,
        volume_id=identity.volume_id(slot.root_hash),
    )
    small = {MANIFEST: manifest, iso_marker(slot.root_hash).lstrip("/"): b""}
    if user_data is not None:
        small[USER_DATA] = user_data
    with replacing(out) as file:
        _write_filesystem(file, slot, small, eltorito=loader.eltorito, volume=volume, label=label_of(release))
        iso9660.fix_dates(file, release.epoch)
        _make_hybrid(file, loader, slot.root_hash)
    return describe("iso", out)


def label_of(release: Release) -> str:
    """Return the volume's name, for people alone: nothing finds the medium by it."""
    return f"{esp.LABEL}_VM_IMAGE" if release.vm_image else esp.LABEL


def _write_filesystem(
    file: BinaryIO, slot: SlotImage, small: dict[str, bytes], *, eltorito: bytes, volume: bytes, label: str
) -> None:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, rock_ridge="1.09", sys_ident="LINUX", vol_ident=label)
    try:
        for folder in ("berth", "boot"):
            iso.add_directory(f"/{folder.upper()}", rr_name=folder)
        for path, data in (*small.items(), (_ELTORITO, eltorito), (_EFI, volume)):
            iso.add_fp(io.BytesIO(data), len(data), _iso_path(path), rr_name=path.rpartition("/")[2])
        for path, image in ((BOOT_IMAGE, slot.boot), (ROOT_IMAGE, slot.root)):
            iso.add_file(str(image), _iso_path(path), rr_name=path.rpartition("/")[2])
        iso.add_eltorito(
            _iso_path(_ELTORITO),
            bootcatfile="/BOOT/BOOT.CAT;1",
            rr_bootcatname="boot.cat",
            boot_load_size=4,  # GRUB's first sectors load the rest themselves
            boot_info_table=True,
        )
        # Its load size is the whole image: firmware reads no more than that.
        iso.add_eltorito(_iso_path(_EFI), efi=True, platform_id=0xEF, boot_load_size=len(volume) // disk.SECTOR)
        iso.write_fp(file)
    except PyCdlibException as error:
        raise BuildError(f"the ISO's file system cannot be made: {error}") from error
    finally:
        iso.close()


def _iso_path(path: str) -> str:
    """Return a name that ISO 9660 allows; people and GRUB see Rock Ridge's instead."""
    folder, _, name = path.upper().replace("-", "_").rpartition("/")
    return f"/{folder}/{name if '.' in name else name + '.'};1"


def _make_hybrid(file: BinaryIO, loader: IsoLoader, root_hash: str) -> None:
    """Add what firmware needs to boot the same bytes as a disk, and GRUB's own patches."""
    eltorito = _place(file, _ELTORITO)
    volume = _place(file, _EFI)
    size = -(-(file.seek(0, io.SEEK_END) + disk.GPT_SECTORS * disk.SECTOR) // _PAD) * _PAD
    file.truncate(size)
    sectors = size // disk.SECTOR
    iso9660.set_space_size(file, size // iso9660.SECTOR)

    first = volume.offset // disk.SECTOR
    entry = gpt.Entry(
        type_guid=disk.TYPE_ESP,
        guid=identity.guid(root_hash, "iso-esp"),
        first=first,
        last=first + volume.size // disk.SECTOR - 1,
        name="esp",
    )
    table = gpt.Table(disk_guid=identity.guid(root_hash, "iso"), sectors=sectors, entries={1: entry})
    encoded = gpt.encode(table)
    code = bytearray(loader.boot_sector[: biosboot.BOOT_CODE_BYTES])
    core = eltorito.offset // iso9660.SECTOR * _PER_SECTOR
    struct.pack_into("<Q", code, 0x1B0, core + 4)
    file.seek(0)
    file.write(bytes(code) + encoded.protective_mbr[len(code) :] + encoded.primary)
    file.seek(eltorito.offset + 2548)
    file.write(struct.pack("<Q", core + 5))
    file.seek((sectors - disk.GPT_SECTORS) * disk.SECTOR)
    file.write(encoded.backup)


def _place(file: BinaryIO, path: str) -> iso9660.Node:
    node = iso9660.find(file, path)
    if node is None:
        raise BuildError(f"the ISO that was just written has no {path}")
    return node
