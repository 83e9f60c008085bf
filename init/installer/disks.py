"""The disks of the machine as `plan` wants them: read from sysfs and from their first and last MiB; nothing is written.

A serial number is what the drive itself says: virtio and NVMe have a file for it, SCSI and SATA their VPD page 80h,
a stick its USB device's. Nothing of udev's is here to ask.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from init.blockdevice.direct import DirectDevice
from init.formats import disk as layouts
from init.formats import gpt
from init.installer.mark import is_marked
from init.installer.plan import Disk

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.blockdevice.device import BlockDevice

_NEVER = ("loop", "ram", "zram", "fd", "nbd")
_MULTIPATH = "mpath-"  # how dm/uuid of a multipath map begins
_MIB = layouts.MIB
_MD = bytes.fromhex("fc4e2ba9")  # linux/raid/md_p.h: MD_SB_MAGIC, little endian
_DDF = bytes.fromhex("de11de11")  # SNIA's Common RAID Disk Data Format, 5.4
_QUIET = 2.0  # seconds
_LOOKS = 15
_INTEL = b"Intel Raid ISM Cfg Sig. "


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the kernel tells of disks; a test has folders of its own."""

    sys: Path = Path("/sys")
    dev: Path = Path("/dev")
    mounts: Path = Path("/proc/self/mounts")


def settle(places: Places, pause: Callable[[float], None] = time.sleep) -> None:
    """Wait until no disk has come or gone for a while: the only empty one must not be the first of two."""
    before: list[str] = []
    for _ in range(_LOOKS):
        now = _all(places)
        if now and now == before:
            return
        before = now
        pause(_QUIET)


def present(places: Places, medium: str) -> tuple[Disk, ...]:
    """Return every whole disk that is there. `medium` is the mount point of the medium that the system runs from."""
    mounted = _mounted(places)
    names = _all(places)
    found = [_look(places, name, mounted, medium) for name in names if not name.startswith(_NEVER)]
    return tuple(one for one in found if one is not None)


def _all(places: Places) -> list[str]:
    return sorted(path.name for path in (places.sys / "class/block").iterdir())


def _look(places: Places, name: str, mounted: dict[str, tuple[str, ...]], medium: str) -> Disk | None:
    folder = places.sys / "class/block" / name
    size = _number(folder / "size") * 512  # always in these units, whatever the drive's sectors are
    if not size or (folder / "partition").exists() or "boot" in name or "rpmb" in name:
        return None
    is_map = name.startswith("dm-")
    if is_map and not _text(folder / "dm/uuid").startswith(_MULTIPATH):
        return None  # the root itself, and what else is not a disk
    partitions = sorted(path.name for path in folder.iterdir() if (path / "partition").exists())
    points = tuple(point for part in (name, *partitions) for point in mounted.get(part, ()))
    holders = tuple(f"held by {each}" for part in (name, *partitions) for each in _names(_below(folder, name, part)))
    disk = Disk(
        path=f"/dev/{name}",
        size=size,
        sector=_number(folder / "queue/logical_block_size") or 512,
        serial=_serial(folder),
        model=_text(folder / "device/model") or _text(folder / "device/name"),
        wwid=_text(folder / "device/wwid") or _text(folder / "wwid"),
        removable=_number(folder / "removable") == 1,
        read_only=_number(folder / "ro") == 1,
        is_medium=medium in points,
        is_array=is_map or name.startswith("md"),
        used=(*(f"mounted at {point}" for point in points), *holders),
    )
    return disk if disk.is_medium or disk.sector != layouts.SECTOR else _inside(places, disk, partitions)


def _below(folder: Path, disk: str, part: str) -> Path:
    return folder / "holders" if part == disk else folder / part / "holders"


def _inside(places: Places, disk: Disk, partitions: list[str]) -> Disk:
    """Add what is known from what a disk holds."""
    try:
        with DirectDevice(str(places.dev / disk.path.removeprefix("/dev/"))) as device:
            first, last = device.read(0, _MIB), device.read(max(0, device.size - _MIB), _MIB)
            member = member_of(device)
    except OSError:
        return replace(disk, is_readable=False)
    for part in partitions:
        with contextlib.suppress(OSError), DirectDevice(str(places.dev / part)) as device:
            member = member or member_of(device)
    return replace(
        disk,
        member=member,
        is_blank=is_blank(first, last),
        is_interrupted=is_marked(first),
        is_berth=is_berth(first),
    )


def is_blank(first: bytes, last: bytes) -> bool:
    """Tell whether a disk is empty, from its first and last MiB: all zero, so there is no partition table either."""
    return first == last == bytes(_MIB)


def is_berth(first: bytes) -> bool:
    """Tell whether a disk's first MiB has the partition table of a Berth machine."""
    try:
        table = gpt.decode(first[512:1024], first[1024 : 1024 + gpt.ARRAY_BYTES])
    except ValueError:
        return False
    record = table.named(layouts.record_name(0))
    return record is not None and record[1].type_guid == layouts.TYPE_RECORD


def member_of(device: BlockDevice) -> str:
    """Say what a disk or partition is a member of, by the signatures of Linux' and firmware's RAID; empty: nothing."""
    size = device.size
    if size < _MIB:
        return ""
    versions = (0, 4096, (size - 8192) // 4096 * 4096, size // 65536 * 65536 - 65536)  # 1.1, 1.2, 1.0, 0.90
    if any(device.read(at, 4) == _MD for at in versions):
        return "a RAID array"
    if device.read(size - 512, 4) == _DDF or device.read(size - 1024, len(_INTEL)) == _INTEL:
        return "a RAID array of the machine's firmware"
    return ""


def _serial(folder: Path) -> str:
    """Return what the drive calls itself; empty where it has no name."""
    for name in ("serial", "device/serial"):
        text = _text(folder / name)
        if text:
            return text
    try:
        page = (folder / "device/vpd_pg80").read_bytes()
    except OSError:
        page = b""
    text = _clean(page[4:])  # SPC-4, 7.8.13: a header of 4 bytes, then the number
    if text:
        return text
    for parent in Path(os.path.realpath(folder)).parents:  # a stick: its USB device
        if (parent / "idVendor").exists():
            return _text(parent / "serial")
    return ""


def _mounted(places: Places) -> dict[str, tuple[str, ...]]:
    """Return the mount points of each device, by the device's name."""
    found: dict[str, tuple[str, ...]] = {}
    for line in places.mounts.read_text(errors="replace").splitlines():
        source, point, *_ = line.split(" ")
        if source.startswith("/dev/"):
            name = source.removeprefix("/dev/")
            found[name] = (*found.get(name, ()), point)
    return found


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return _clean(path.read_bytes())
    except OSError:
        return ""


def _clean(data: bytes) -> str:
    text = data.decode("ascii", "replace").replace("\0", " ")
    return " ".join("".join(letter for letter in text if letter.isprintable()).split())


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdecimal() else 0
