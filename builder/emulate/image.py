"""What kind of thing a file is that somebody wants to run, told by its content and never by its name."""

from __future__ import annotations

import enum
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from builder.artifact.heads import check_heads
from builder.artifact.whole import check_whole
from builder.errors import InputError, Place

if TYPE_CHECKING:
    from pathlib import Path


_HINT = "give the .iso, .raw or .qcow2 that `berth build` made, or the folder it made them in"
_AGAIN = "build it again: it is not what `berth build` wrote"


class Kind(enum.StrEnum):
    """Kinds of image that can be run."""

    ISO = "iso"
    RAW = "raw"
    QCOW2 = "qcow2"
    BUNDLE = "bundle"
    SLOT = "slot"  # a folder with boot.img and root.img


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image that was looked into."""

    path: Path
    kind: Kind


def detect(path: Path, *, direct: bool = False) -> Image:
    """Return what `path` is.

    A folder stands for the ISO in it, or with `direct` for a slot's two images.
    Raises InputError where it is nothing that can be run.
    """
    if path.is_dir():
        return _in_folder(path, direct=direct)
    if path.exists() and not path.is_file() and not path.is_block_device():
        raise InputError("neither a file nor a disk", hint=_HINT, place=Place(file=str(path)))
    try:
        with path.open("rb") as file:
            head = file.read(1024)
            file.seek(0x8001)
            iso = file.read(5) == b"CD001"  # ECMA-119, 8.1: the first volume descriptor is in sector 16
            check_heads(file)
            if path.is_file():  # a block device's end is not a file's
                check_whole(file)
    except InputError as error:
        error.place = Place(file=str(path))
        raise
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", hint=_HINT, place=Place(file=str(path))) from error
    if iso:
        return Image(path=path, kind=Kind.ISO)
    if head.startswith(b"QFI\xfb"):
        return Image(path=path, kind=Kind.QCOW2)
    if head[512:520] == b"EFI PART":
        return Image(path=path, kind=Kind.RAW)
    if head[257:262] == b"ustar" and {"boot.img", "root.img"} <= members(path).keys():
        return Image(path=path, kind=Kind.BUNDLE)
    raise InputError(
        "this is no image: neither an ISO, nor a disk with a GPT, nor qcow2, nor a bundle",
        hint=_HINT,
        place=Place(file=str(path)),
    )


def _in_folder(folder: Path, *, direct: bool) -> Image:
    if direct and (folder / "boot.img").is_file() and (folder / "root.img").is_file():
        return Image(path=folder, kind=Kind.SLOT)
    found = sorted(folder.glob("*.iso"))
    # A build writes a manifest beside its ISO: another ISO in that folder came from elsewhere.
    built = [iso for iso in found if iso.with_suffix(".manifest.json").is_file()]
    chosen = built or found
    if len(chosen) == 1:
        return detect(chosen[0])
    names = ", ".join(iso.name for iso in chosen)
    raise InputError(
        f"this folder holds more than one ISO: {names}" if chosen else "this folder holds no ISO",
        hint=f"name one: berth run {chosen[0]}" if chosen else "name an image, or the folder of a build's output",
        place=Place(file=str(folder)),
    )


def members(path: Path) -> dict[str, tuple[int, int]]:
    """Return name → (offset, size), in bytes, of a ustar archive's members. Raises InputError where it is damaged."""
    try:
        with tarfile.open(path, "r:") as archive:
            return {member.name: (member.offset_data, member.size) for member in archive}
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:  # a header's number may be none
        raise InputError(f"damaged: {error}", hint=_AGAIN, place=Place(file=str(path))) from error
