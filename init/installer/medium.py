"""What the live ISO holds to install: its slot's images with their hashes, and the loader that its root brings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from init.formats import cmdline, loader
from init.installer.write import Image, Loader

PLACE = "/run/berth/medium"
COMMAND_LINE = Path("/proc/cmdline")
_LARGEST = 64 << 20


class MediumError(Exception):
    """There is nothing here to install from; the text says why, `hint` what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, kw_only=True, slots=True)
class Medium:
    """The ISO's slot: its images, and the release's version."""

    version: str
    boot: Image
    root: Image


def require_live(path: Path = COMMAND_LINE) -> cmdline.CommandLine:
    """Return the kernel's command line; raise MediumError unless the machine runs from the live ISO."""
    line = cmdline.parse(path.read_text(errors="replace"))
    if line.media == "iso":
        return line
    where = "an installed disk" if line.record else "a kernel that was given from outside"
    raise MediumError(
        f"this machine runs from {where}: an installation is made from the live ISO",
        "start the machine from the ISO, or use `berthctl update` for a new release",
    )


def read_medium(place: Path, line: cmdline.CommandLine) -> Medium:
    """Read the manifest of the ISO at `place`; raise MediumError where it isn't the one that belongs to this system."""
    folder = place / "berth"
    try:
        value = json.loads((folder / "manifest.json").read_bytes()[:_LARGEST])
        parts = {part["name"]: part for part in value["parts"]}
        if value["root_hash"] != line.root_hash:
            raise MediumError("the medium's manifest is not of the system that runs", "start the machine anew")
        return Medium(
            version=str(value["release"]["version"]),
            boot=_image(folder / "boot.img", parts["boot"]),
            root=_image(folder / "root.img", parts["root"]),
        )
    except OSError as error:
        raise MediumError(f"{error.filename}: {error.strerror}", "is the medium still in its drive?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise MediumError("the medium's manifest is damaged", "write the medium anew") from error


def read_loader(folder: Path) -> tuple[loader.Facts, Loader]:
    """Read the loader's files; raise MediumError."""
    try:
        facts = loader.Facts.from_json((folder / loader.FACTS).read_text())
        boot, core, esp = ((folder / name).read_bytes() for name in (loader.BOOT, loader.CORE, loader.ESP))
    except (OSError, ValueError) as error:
        raise MediumError(f"this release has no loader to install: {error}", "build the ISO anew") from error
    return facts, Loader(boot=boot, core=core, esp=esp)


def _image(path: Path, part: dict[str, object]) -> Image:
    size, sha256 = part["size"], part["sha256"]
    if not isinstance(size, int) or not isinstance(sha256, str):
        raise TypeError("a part of the manifest has no size or hash")
    return Image(name=path.name, open=lambda: path.open("rb"), size=size, sha256=sha256)
