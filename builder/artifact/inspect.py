"""What an image is, found out from its bytes: ISO, raw disk, qcow2, bundle or manifest.

A disk that has been running is read as well: its slots and its boot record are told as they are now, and the
manifest on its ESP only where it still speaks of a slot that is there.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from builder.artifact import bundle, fat, iso, iso9660, qcow2, raw
from builder.artifact.heads import read_table
from builder.artifact.manifest import Manifest
from builder.artifact.whole import check_whole
from builder.errors import BuildError, InputError, Place
from init.formats import bootimage, bootrecord, cmdline, disk, envblock, gpt

FORMAT = "berth.inspect/1"
_LARGEST_SMALL_FILE = 64 << 20
_HINT = "give it an .iso, .raw, .qcow2, .bundle or .manifest.json that `berth build` wrote"


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotFacts:
    """A slot that holds a boot image: its verity root hash, and what the record says (None without a record)."""

    root_hash: str | None
    tries: int | None
    good: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """What was found. `kind` as in `Artifact`; `size` is the file's, in bytes."""

    kind: str
    path: Path
    size: int
    manifest: Manifest | None
    partitions: tuple[tuple[str, int], ...] = ()  # names and bytes, of disks
    table: str | None = None  # the partition table that was read: `primary`, or `backup` where that is damaged
    order: str | None = None
    slots: tuple[tuple[str, SlotFacts], ...] = ()
    files: tuple[tuple[str, int], ...] = field(default=())  # of ISOs and bundles
    user_data: bytes | None = None  # the machine config that an ISO carries

    def to_json(self) -> dict[str, object]:
        """Return it as `berth inspect --json` prints it, the manifest's entries counted instead of listed."""
        facts: dict[str, object] = {
            "format": FORMAT,
            "kind": self.kind,
            "path": str(self.path.resolve()),
            "size": self.size,
            "partitions": [{"name": name, "size": size} for name, size in self.partitions],
            "table": self.table,
            "order": self.order,
            "slots": {
                name: {"root_hash": slot.root_hash, "tries": slot.tries, "good": slot.good} for name, slot in self.slots
            },
            "files": [{"path": path, "size": size} for path, size in self.files],
            "user_data": self.user_data is not None,
        }
        return facts | ({} if self.manifest is None else {"image": _summary(self.manifest)})


def _summary(manifest: Manifest) -> dict[str, object]:
    release = manifest.release
    return {
        "recipe": manifest.recipe,
        "version": release.version,
        "class": release.machine_class,
        "engine": release.engine,
        "kernel": release.kernel,
        "epoch": release.epoch,
        "loader": release.loader,
        "lock_sha256": manifest.lock_sha256,
        "root_hash": manifest.root_hash,
        "cmdline": manifest.cmdline,
        "parts": {part.name: {"size": part.size, "sha256": part.sha256} for part in manifest.parts},
        "packages": [
            {"name": package.name, "version": package.version, "installed": package.installed}
            for package in manifest.packages
        ],
        "files": len(manifest.entries),
        "saved": sum(saved.size for saved in manifest.savings),
    }


class _Image(Protocol):
    """The bytes of a disk, wherever they come from."""

    size: int

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`, less at the end."""


class _File:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = file.seek(0, io.SEEK_END)

    def read_at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


def inspect(path: Path) -> Inspection:
    """Find out what `path` is; raise InputError where it is nothing that Berth makes."""
    if path.exists() and not path.is_file() and not path.is_block_device():
        raise InputError(f"{path} is neither a file nor a disk", hint=_HINT)
    try:
        with path.open("rb") as file:
            check_whole(file)
            return _recognise(path, file)
    except InputError as error:
        error.place = error.place or Place(file=str(path))
        raise
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror or error}", hint=_HINT, place=Place(file=str(path))
        ) from error
    except (iso9660.NotIso9660, fat.NotFat, tarfile.TarError, BuildError, ValueError) as error:
        raise InputError(f"damaged, or not an image: {error}", hint=_HINT, place=Place(file=str(path))) from error


def read_manifest(path: Path) -> Manifest:
    """Return the manifest that an image carries; raise InputError where it has none."""
    manifest = inspect(path).manifest
    if manifest is None:
        raise InputError(
            f"{path} carries no manifest of what is in its slots",
            hint="give the .manifest.json that was built with it",
        )
    return manifest


def _recognise(path: Path, file: BinaryIO) -> Inspection:
    head = file.read(1024)
    file.seek(iso9660.SECTOR * 16)
    volume = file.read(6)
    size = file.seek(0, io.SEEK_END)
    if volume[1:6] == b"CD001":
        return _iso(path, file, size)
    if head[:4] == qcow2.MAGIC:
        return _disk("qcow2", path, qcow2.Reader(file), size)
    file.seek(max(0, size - disk.SECTOR))
    if gpt.SIGNATURE in (head[512:520], file.read(len(gpt.SIGNATURE))):
        return _disk("raw", path, _File(file), size)
    if head[257:262] == b"ustar":
        return _bundle(path, file, size)
    if head.lstrip()[:1] == b"{":
        file.seek(0)
        manifest = Manifest.from_json(file.read(_LARGEST_SMALL_FILE + 1))
        return Inspection(kind="manifest", path=path, size=size, manifest=manifest)
    raise InputError("this is not an image", hint=_HINT)


def _iso(path: Path, file: BinaryIO, size: int) -> Inspection:
    nodes = {node.path: node for node in iso9660.nodes(file) if not node.is_folder}
    node = nodes.get(iso.MANIFEST)
    if node is None or iso.BOOT_IMAGE not in nodes or node.size > _LARGEST_SMALL_FILE:
        raise InputError("an ISO, but not Berth's", hint=_HINT)
    file.seek(node.offset)
    manifest = Manifest.from_json(file.read(node.size))
    baked = nodes.get(iso.USER_DATA)
    if baked is not None:
        file.seek(baked.offset)
    return Inspection(
        kind="iso",
        path=path,
        size=size,
        manifest=manifest,
        files=tuple((name, nodes[name].size) for name in sorted(nodes)),
        user_data=None if baked is None else file.read(min(baked.size, _LARGEST_SMALL_FILE)),
    )


def _bundle(path: Path, file: BinaryIO, size: int) -> Inspection:
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as archive:
        members = archive.getmembers()
        first = members[0] if members else None
        if first is None or first.name != bundle.MANIFEST or first.size > _LARGEST_SMALL_FILE:
            raise InputError("an archive, but not an update bundle", hint=_HINT)
        content = archive.extractfile(first)
        manifest = Manifest.from_json(content.read() if content else b"")
    files = tuple((member.name, member.size) for member in members)
    return Inspection(kind="bundle", path=path, size=size, manifest=manifest, files=files)


def _disk(kind: str, path: Path, image: _Image, size: int) -> Inspection:
    table, by_backup = read_table(image.read_at, image.size)
    if any(table.named(disk.record_name(copy)) is None for copy in (0, 1)):
        raise InputError(f"{path} is a disk, but not Berth's", hint=_HINT)
    record = bootrecord.current((_record(image, table, 0), _record(image, table, 1)))
    slots = tuple(_slots(image, table, record))
    manifest = _manifest_on_esp(image, table)
    if manifest is not None and manifest.root_hash not in {slot.root_hash for _, slot in slots}:
        manifest = None  # of a release that an update has replaced
    return Inspection(
        kind=kind,
        path=path,
        size=size,
        manifest=manifest,
        partitions=tuple(
            (entry.name, (entry.last - entry.first + 1) * disk.SECTOR) for _, entry in sorted(table.entries.items())
        ),
        table="backup" if by_backup else "primary",
        order="".join(record.order) if record else None,
        slots=slots,
    )


def _record(image: _Image, table: gpt.Table, copy: int) -> bytes:
    found = table.named(disk.record_name(copy))
    return image.read_at(found[1].first * disk.SECTOR, bootrecord.COPY_BYTES) if found else b""


def _slots(image: _Image, table: gpt.Table, record: bootrecord.Record | None) -> Iterator[tuple[str, SlotFacts]]:
    for slot in bootrecord.SLOTS:
        found = table.named(disk.boot_name(slot))
        if found is None:
            continue
        line = _command_line(image, found[1])
        if line is not None:
            state = record.slot(slot) if record else None
            yield (
                slot,
                SlotFacts(
                    root_hash=cmdline.parse(line).root_hash,
                    tries=state.tries if state else None,
                    good=state.good if state else None,
                ),
            )


def _command_line(image: _Image, partition: gpt.Entry) -> str | None:
    """Return the kernel command line of a boot image: `cmdline.env` of its ustar archive; None where it is none."""
    offset, end = partition.first * disk.SECTOR, (partition.last + 1) * disk.SECTOR
    for _ in range(16):  # members; a boot image has four
        header = image.read_at(offset, disk.SECTOR)
        if offset >= end or header[257:262] != b"ustar":
            return None
        size = int(header[124:135], 8)
        if header[:100].split(b"\0", 1)[0] == bootimage.CMDLINE.encode():
            block = image.read_at(offset + disk.SECTOR, min(size, 1 << 16))
            found = (envblock.read(block, (bootimage.CMDLINE_VARIABLE,)) or {}).get(bootimage.CMDLINE_VARIABLE)
            return None if found is None else found.decode("utf-8", "replace")
        offset += disk.SECTOR + -(-size // disk.SECTOR) * disk.SECTOR
    return None


def _manifest_on_esp(image: _Image, table: gpt.Table) -> Manifest | None:
    found = table.named("esp")
    if found is None:
        return None
    start = found[1].first * disk.SECTOR
    try:
        data = fat.Volume(lambda offset, size: image.read_at(start + offset, size)).read(raw.MANIFEST_ON_ESP)
        return None if data is None else Manifest.from_json(data)
    except (fat.NotFat, InputError):  # the machine's owner may have written what they like there
        return None
