"""The disks of a guest: the image itself, a disk that lasts; and the parts of a slot for a direct boot."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Protocol

from builder.artifact import iso9660
from builder.emulate.command import DirectKernel, Drive
from builder.emulate.image import Kind, members
from builder.errors import InputError, Place, ToolError
from builder.image.pvh import vmlinux
from init.formats import envblock

if TYPE_CHECKING:
    from pathlib import Path

    from builder.emulate.image import Image

DISK_SIZE = 8 << 30  # bytes of a disk that is made; sparse
_CHUNK = 1 << 20
_AGAIN = "build it again: it is not what `berth build` wrote"


class Runner(Protocol):
    """What of the tools tree is needed here."""

    def run(self, tool: str, *arguments: str) -> bytes:
        """Run a tool and return what it printed; raise ToolError."""


def format_of(path: Path) -> str:
    """Return `qcow2` or `raw`, by the file's magic number; of one that is still to be made, by its name's end."""
    if not path.exists():
        return "qcow2" if path.suffix == ".qcow2" else "raw"
    with path.open("rb") as file:
        return "qcow2" if file.read(4) == b"QFI\xfb" else "raw"


def made_if_missing(disk: Path, source: Image, runner: Runner) -> None:
    """Make the disk that lasts: blank beside an ISO, else a copy of the disk image, grown.

    An existing one is left alone. Its format follows its name's end: `.qcow2`, else raw.
    Raises InputError and ToolError.
    """
    if disk.exists():
        if not disk.is_file() and not disk.is_block_device():
            raise InputError(
                f"{disk} is no file",
                hint="--disk takes a file, which is made where it is missing, or a disk",
                place=Place(file=str(disk)),
            )
        return
    if not disk.absolute().parent.is_dir():
        raise InputError(
            f"the folder of {disk} does not exist",
            hint=f"mkdir -p {disk.absolute().parent}",
            place=Place(file=str(disk)),
        )
    kind = format_of(disk)
    part = disk.with_name(disk.name + ".part")
    try:
        if source.kind in (Kind.RAW, Kind.QCOW2):
            runner.run("qemu-img", "convert", "-f", source.kind.value, "-O", kind, str(source.path), str(part))
            if size_of(part, runner) < DISK_SIZE:
                runner.run("qemu-img", "resize", "-q", "-f", kind, str(part), str(DISK_SIZE))
        else:
            runner.run("qemu-img", "create", "-q", "-f", kind, str(part), str(DISK_SIZE))
        part.replace(disk)
    except (ToolError, OSError):
        part.unlink(missing_ok=True)
        raise


def size_of(disk: Path, runner: Runner) -> int:
    """Return the bytes that a guest sees of a disk image. Raises ToolError."""
    if format_of(disk) == "raw":
        return disk.stat().st_size
    told = json.loads(runner.run("qemu-img", "info", "-f", "qcow2", "--output=json", str(disk)))
    return int(told["virtual-size"])


def drives(image: Image, *, media: str, disk: Path | None) -> tuple[Drive, ...]:
    """Return the drives for an image that firmware boots.

    An ISO is never written; a disk image without `disk` forgets what the guest writes.
    """
    if image.kind is Kind.ISO:
        first = Drive(path=image.path, bus="cd" if media == "cd" else "virtio", read_only=True, boot_index=0)
        second = (Drive(path=disk, format=format_of(disk), boot_index=1),) if disk is not None else ()
        return (first, *second)
    if image.kind in (Kind.RAW, Kind.QCOW2):
        if disk is not None:
            return (Drive(path=disk, format=format_of(disk), boot_index=0),)
        return (Drive(path=image.path, format=image.kind.value, throwaway=True, boot_index=0),)
    raise InputError(
        f"{image.path} has no boot loader: it is a {image.kind.value}",
        hint="boot it with --direct, or take the .iso, .raw or .qcow2 beside it",
        place=Place(file=str(image.path)),
    )


def unpack_slot(image: Image, folder: Path) -> tuple[DirectKernel, Path]:
    """Return the kernel, initramfs and command line of a slot, put into `folder` for QEMU, and the root image's path.

    Raises InputError where the boot image is damaged.
    """
    if image.kind is Kind.BUNDLE:
        for name in ("boot.img", "root.img"):
            _extract(image.path, name, folder / name)
        boot, root = folder / "boot.img", folder / "root.img"
    elif image.kind is Kind.ISO:
        with image.path.open("rb") as file:
            nodes = {node.path: (node.offset, node.size) for node in iso9660.nodes(file)}
        for name in ("boot.img", "root.img"):
            _copy(image.path, nodes.get(f"berth/{name}"), name, folder / name)
        boot, root = folder / "boot.img", folder / "root.img"
    elif image.kind is Kind.SLOT:
        boot, root = image.path / "boot.img", image.path / "root.img"
    else:
        raise InputError(
            f"{image.path} is a {image.kind.value}; a direct boot needs an ISO, a bundle or a slot's two images",
            hint="give it the .iso or .bundle of the same build",
            place=Place(file=str(image.path)),
        )
    for name in ("vmlinuz", "initramfs", "cmdline.env"):
        _extract(boot, name, folder / name)
    (folder / "vmlinux").write_bytes(vmlinux((folder / "vmlinuz").read_bytes()))
    env = envblock.read((folder / "cmdline.env").read_bytes(), ["cmdline"])
    if env is None or "cmdline" not in env:
        raise InputError(f"{boot} names no kernel command line", hint=_AGAIN, place=Place(file=str(boot)))
    cmdline = env["cmdline"].decode(errors="replace")
    return DirectKernel(kernel=folder / "vmlinux", initramfs=folder / "initramfs", cmdline=cmdline), root


def _extract(archive: Path, name: str, target: Path) -> None:
    _copy(archive, members(archive).get(name), name, target)


def _copy(archive: Path, found: tuple[int, int] | None, name: str, target: Path) -> None:
    """Copy a part of a file, given as (offset, size) in bytes."""
    if found is None:
        raise InputError(f"{archive} holds no {name}", hint=_AGAIN, place=Place(file=str(archive)))
    offset, size = found
    with archive.open("rb") as source, target.open("wb") as out:
        source.seek(offset)
        while size > 0:
            data = source.read(min(size, _CHUNK))
            if not data:
                raise InputError(f"{archive} ends in the middle of {name}", hint=_AGAIN, place=Place(file=str(archive)))
            out.write(data)
            size -= len(data)


def fresh_variables(template: Path, folder: Path) -> Path:
    """Return a copy of UEFI's variable store that this guest alone writes: no boot entry outlives a run."""
    copy = folder / "variables.fd"
    shutil.copyfile(template, copy)
    return copy
