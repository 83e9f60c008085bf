"""EFI system partitions: a FAT image with UEFI's fallback program, the same bytes on any day.

mkfs.fat chooses the FAT's width by the number of clusters, as firmware does; an image forced to FAT32 below 65,525
clusters was refused by firmware with "Not Found".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from builder.tools.call import Tools

FALLBACK = "EFI/BOOT/BOOTX64.EFI"
EARLIEST = 315532800  # 1980-01-01, where FAT's time begins
LABEL = "BERTH"
_GRAIN = 65536
_LEAST = 1 << 19  # bytes; smaller ones are not worth a doubt about firmware


def make_esp(tools: Tools, files: Mapping[str, bytes], *, size: int, epoch: int, volume_id: int) -> bytes:
    """Return a FAT image of `size` bytes that holds `files`, named by paths without a leading slash.

    `epoch` (seconds, UTC) stamps every file and folder; `volume_id` has 32 bits.
    """
    stamp = max(epoch, EARLIEST) // 2 * 2  # FAT counts in steps of two seconds
    environment = {"SOURCE_DATE_EPOCH": str(stamp), "MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": "/dev/null"}
    with tempfile.TemporaryDirectory(prefix="berth-esp-") as name:
        work = Path(name)
        image = work / "esp.img"
        with image.open("wb") as file:
            file.truncate(size)
        tools.run(
            "mkfs.fat", "--invariant", "-i", f"{volume_id & 0xFFFFFFFF:08x}", "-n", LABEL, str(image),
        )  # fmt: skip
        for folder in _folders(files):
            tools.run("mmd", "-i", str(image), f"::/{folder}", env=environment)
        for path, data in files.items():
            source = work / "content"
            source.write_bytes(data)
            os.utime(source, (stamp, stamp))
            tools.run("mcopy", "-m", "-i", str(image), str(source), f"::/{path}", env=environment)
        return image.read_bytes()


def smallest_size(files: Mapping[str, bytes]) -> int:
    """Return a size in bytes that surely holds `files`: room for the FATs, the folders and half-used clusters."""
    content = sum(len(data) + 4096 for data in files.values())
    return max(_LEAST, (content + content // 32 + 2 * _GRAIN) // _GRAIN * _GRAIN)


def _folders(files: Mapping[str, bytes]) -> list[str]:
    """Return every folder that a path needs, parents first."""
    folders = {str(parent) for path in files for parent in PurePosixPath(path).parents if str(parent) != "."}
    return sorted(folders)
