"""The loader of an installed disk, as a slot carries it for the installer: files in `FOLDER`, below verity as all else.

boot.img     the disk's first 440 bytes: GRUB's BIOS boot code, patched for the `bios` partition's place
core.img     GRUB's core for BIOS, whole sectors, from that partition's first sector on
esp.img      the `esp` partition: FAT with `EFI/BOOT/BOOTX64.EFI`
loader.json  the facts below
copyright    of GRUB, whose programs the others hold; the texts of its licences are in `/usr/share/common-licenses`
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

FORMAT = "berth.loader/1"
FOLDER = "/usr/lib/berth/loader"
BOOT = "boot.img"
CORE = "core.img"
ESP = "esp.img"
FACTS = "loader.json"
COPYRIGHT = "copyright"
BOOT_CODE_BYTES = 440  # before the disk's signature and the MBR's table


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """`loader` is the loader format that these files bring, `root_mib` the size of a root partition."""

    loader: int
    root_mib: int

    def to_json(self) -> str:
        """Return the file's text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, sort_keys=True) + "\n"

    @staticmethod
    def from_json(text: str) -> Facts:
        """Read the file's text; raise ValueError where it is not one."""
        try:
            value = json.loads(text)
            if value.pop("format") != FORMAT:
                raise ValueError("not a loader of this format")
            return Facts(**value)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a loader's facts: {error}") from error
