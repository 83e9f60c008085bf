"""File systems by label: the disk that carries a configuration (`cidata`), whatever it is plugged into.

    ISO 9660   volume descriptor at byte 32768: type, "CD001", version; label at 40, 32 characters (ECMA-119, 8.4)
    FAT        label at 43 (FAT12 and 16) or 71 (FAT32), 11 characters; "FAT" at 54 or 82
    ext2 to 4  superblock at 1024: magic 0xEF53 at 56, label at 120, 16 characters
"""

from __future__ import annotations

from init.pid1 import disks, mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.devices import Devices
    from init.pid1.system import Early

_READ = 32768 + 72
_FLAGS = mounts.READ_ONLY | mounts.NO_SUID | mounts.NO_DEVICES | mounts.NO_EXECUTE
_MODULES = {"iso9660": ("isofs",), "vfat": ("vfat", "nls_cp437", "nls_ascii"), "ext4": ()}


def label_of(head: bytes) -> tuple[str, str] | None:
    """Return file system and label from a device's first bytes; None when it's none of the three."""
    if head[32769:32774] == b"CD001":
        return "iso9660", _text(head[32808:32840])
    if head[510:512] == b"\x55\xaa" and head[82:85] == b"FAT":
        return "vfat", _text(head[71:82])
    if head[510:512] == b"\x55\xaa" and head[54:57] == b"FAT":
        return "vfat", _text(head[43:54])
    if head[1080:1082] == b"\x53\xef":
        return "ext4", _text(head[1144:1160].split(b"\0")[0])
    return None


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace").rstrip(" \0")


def find(system: Early, devices: Devices, label: str) -> tuple[str, str] | None:
    """Return device and kind of the file system with a label, in capitals or not; None when there is none."""
    try:
        present = disks.present(system)
    except OSError:
        return None
    for device in present:
        try:
            found = label_of(system.read_blocks(device.path, 0, _READ))
        except OSError as error:
            devices.problems.append(f"{device.path}: {error.strerror}")
            continue
        if found is not None and found[1].lower() == label.lower():
            return device.path, found[0]
    return None


def mount(system: Early, devices: Devices, label: str) -> str | None:
    """Mount the file system with a label, read-only, at `/run/berth/LABEL`; return that place, None without one.

    Raises OSError when it is there and can't be mounted.
    """
    found = find(system, devices, label)
    if found is None:
        return None
    device, kind = found
    for module in _MODULES[kind]:
        devices.load(system, module)
    place = f"/run/berth/{label}"
    data = "iocharset=ascii,codepage=437" if kind == "vfat" else ""
    mounts.perform(system, mounts.MountStep(source=device, target=place, kind=kind, flags=_FLAGS, data=data))
    return place
