"""Writing an installation: everything but sector 0 first, read back, and then the one sector that makes it a machine.

    1  the mark into sector 0                       from now on the disk is "half installed", whatever it was
    2  zeros: the rest of the first MiB, the last   no table of before is left
    3  loader, ESP, slot a, state, boot record      slot b and a state without a config: blank at both ends
    4  sync, and all of it read back and compared
    5  the backup table, sync; the primary, sync
    6  protective MBR and boot code into sector 0   installed

A power cut before 6 leaves the mark (or, within 1, the disk as it was), and the next installation begins anew.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from init.blockdevice.device import Part, padded
from init.formats import bootrecord, gpt, loader
from init.formats import disk as layouts
from init.installer.mark import MARK

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO, Protocol

    from init.blockdevice.device import BlockDevice

    class StateMaker(Protocol):
        """Makes the file system of state on the disk, at an offset; raises WriteError. Sizes are bytes."""

        def __call__(self, *, offset: int, size: int) -> None:
            """Make it."""


SLOT: bootrecord.Slot = "a"
_CHUNK = 1 << 20
_MIB = layouts.MIB


class WriteError(Exception):
    """The installation could not be finished; the text says why. The disk is marked as half installed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A slot's image on the medium: `open` gives it from its beginning; `size` in bytes, `sha256` in hex."""

    name: str
    open: Callable[[], BinaryIO]
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Loader:
    """The loader's parts as `init.formats.loader` has them."""

    boot: bytes
    core: bytes
    esp: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a disk gets. `make_state` is None where state stays blank; `guid` makes a new GUID at each call."""

    loader: Loader
    boot: Image
    root: Image
    make_state: StateMaker | None
    guid: Callable[[], str]


def install(
    device: BlockDevice, layout: layouts.Layout, content: Content, told: Callable[[str], None] = lambda _: None
) -> gpt.Table:
    """Write the whole disk and return its table; `told` hears each step. Raise WriteError, or OSError of the device."""
    told("marking the disk")
    _whole(device, 0, MARK)
    device.write(layouts.SECTOR, bytes(_MIB - layouts.SECTOR))
    device.write(layout.sectors * layouts.SECTOR - _MIB, bytes(_MIB))
    told("loader")
    small = _small(content.loader)
    for number, data in small.items():
        _part(device, layout.number(number)).write(0, data)
    images = {layouts.BOOTS[SLOT]: content.boot, layouts.ROOTS[SLOT]: content.root}
    for number, image in images.items():
        told(f"copying {image.name}")
        copy(image, _part(device, layout.number(number)))
    told("state")
    _blank(device, layout)
    state = layout.number(layouts.STATE)
    if content.make_state is not None:
        content.make_state(offset=state.offset_bytes, size=state.size_bytes)
    device.sync()
    told("reading back")
    for number, data in small.items():
        part = _part(device, layout.number(number))
        if part.read(0, len(data)) != data:
            raise WriteError(f"{part.name} does not read back as it was written: the disk is damaged")
    for number, image in images.items():
        compare(image, _part(device, layout.number(number)))
    told("partition table")
    return _commit(device, layout, content)


def copy(image: Image, part: Part) -> None:
    """Copy an image to a partition; raise WriteError where it is not the one that the medium's manifest names."""
    if image.size > part.size:
        raise WriteError(f"{image.name} has {image.size} bytes, and its partition only {part.size}")
    digest = hashlib.sha256()
    at = 0
    try:
        with image.open() as source:
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                if at + len(chunk) > image.size:
                    break
                part.write(at, padded(chunk))
                at += len(chunk)
    except OSError as error:
        raise WriteError(f"{image.name} or the disk: {error.strerror or error}") from error
    if digest.hexdigest() != image.sha256:
        raise WriteError(f"{image.name} is not what the medium's manifest says: the medium is damaged")


def compare(image: Image, part: Part) -> None:
    """Read a partition back; raise WriteError where it does not hold the image."""
    digest = hashlib.sha256()
    for at in range(0, image.size, _CHUNK):
        digest.update(part.read(at, min(_CHUNK, image.size - at)))
    if digest.hexdigest() != image.sha256:
        raise WriteError(f"{part.name} does not read back as it was written: the disk is damaged")


def table_of(layout: layouts.Layout, guid: Callable[[], str]) -> gpt.Table:
    """Return the GPT of a layout with new GUIDs."""
    entries = {
        one.number: gpt.Entry(type_guid=one.type_guid, guid=guid(), first=one.first, last=one.last, name=one.name)
        for one in layout.partitions
    }
    return gpt.Table(disk_guid=guid(), sectors=layout.sectors, entries=entries)


def first_sector(mbr: bytes, boot_code: bytes) -> bytes:
    """Return a protective MBR with BIOS boot code in it."""
    return boot_code[: loader.BOOT_CODE_BYTES] + mbr[len(boot_code[: loader.BOOT_CODE_BYTES]) :]


def _small(parts: Loader) -> dict[int, bytes]:
    """Return what fits into memory, by number of partition. Both copies of the record are the same."""
    record = bootrecord.encode(bootrecord.fresh(SLOT))
    zeros = bytes(_MIB - len(record))  # a phase that another machine left is gone with it
    return {
        layouts.BIOS: padded(parts.core),
        layouts.ESP: padded(parts.esp),
        **dict.fromkeys(layouts.RECORDS, record + zeros),
    }


def _blank(device: BlockDevice, layout: layouts.Layout) -> None:
    """Make blank what may hold something from before: slot b, so that GRUB finds no archive there, and state."""
    for number in (layouts.BOOTS["b"], layouts.ROOTS["b"], layouts.STATE):
        part = _part(device, layout.number(number))
        part.write(0, bytes(_MIB))
        part.write(part.size - _MIB, bytes(_MIB))


def _commit(device: BlockDevice, layout: layouts.Layout, content: Content) -> gpt.Table:
    table = table_of(layout, content.guid)
    encoded = gpt.encode(table)
    _whole(device, (layout.sectors - layouts.GPT_SECTORS) * layouts.SECTOR, encoded.backup)
    _whole(device, layouts.SECTOR, encoded.primary)
    _whole(device, 0, first_sector(encoded.protective_mbr, content.loader.boot))
    return table


def _whole(device: BlockDevice, offset: int, data: bytes) -> None:
    """Write, sync, read back."""
    device.write(offset, data)
    device.sync()
    if device.read(offset, len(data)) != data:
        raise WriteError(f"{device.name} does not read back as it was written: the disk is damaged")


def _part(device: BlockDevice, partition: layouts.Partition) -> Part:
    return Part(device, partition.offset_bytes, partition.size_bytes, f"{device.name}, partition {partition.name}")
