"""NoCloud's text on the kernel command line and in SMBIOS: `ds=nocloud;s=URL/;h=NAME;i=ID`, and its seed folders.

Source: cloud-init, `doc/rtd/reference/datasources/nocloud.rst` and `cloudinit/sources/DataSourceNoCloud.py`.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from init.dialects.position import LARGEST

_KEYS = {"s": "seedfrom", "h": "local-hostname", "i": "instance-id"}
_NOTHING = (b"", b"#cloud-config")


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What such a text says. `unknown`: words that nothing is done with."""

    seed: str | None = None
    hostname: str | None = None
    instance_id: str | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """A seed's documents as bytes. `vendor`: there is vendor-data that says something, too.

    `problem` says why a document that is there can't be read: then the seed is refused, and not absent.
    """

    user_data: bytes | None = None
    meta_data: bytes | None = None
    network_config: bytes | None = None
    vendor: bool = False
    problem: str = ""

    def is_there(self) -> bool:
        """Tell whether this is a configuration, readable or not: as in cloud-init, meta-data alone is none."""
        return self.user_data is not None or bool(self.problem)


def parse_line(text: str) -> Line | None:
    """Read the value of `ds=`; None where it names another data source."""
    name, *words = text.split(";")
    if name not in ("nocloud", "nocloud-net"):
        return None
    found: dict[str, str] = {}
    for word in words:
        key, _, value = word.partition("=")
        found[_KEYS.get(key, key)] = value
    return Line(
        seed=found.get("seedfrom") or None,
        hostname=found.get("local-hostname") or None,
        instance_id=found.get("instance-id") or None,
        unknown=tuple(key for key in found if key and key not in _KEYS.values()),
    )


def with_dmi(url: str, smbios: Path | None) -> str:
    """Replace `__dmi.system-uuid__` and the like by the firmware's values; an unknown field becomes nothing."""
    fields = {
        "baseboard-asset-tag": "board_asset_tag",
        "baseboard-product-name": "board_name",
        "baseboard-serial-number": "board_serial",
        "chassis-asset-tag": "chassis_asset_tag",
        "chassis-serial-number": "chassis_serial",
        "system-product-name": "product_name",
        "system-serial-number": "product_serial",
        "system-uuid": "product_uuid",
        "system-manufacturer": "sys_vendor",
    }

    def value(found: re.Match[str]) -> str:
        file = fields.get(found[1])
        data = read_file(smbios / file) if smbios is not None and file is not None else None
        return (data or b"").decode("utf-8", "replace").strip()

    return re.sub(r"__dmi\.([a-z-]+)__", value, url)


def read_file(path: Path) -> bytes | None:
    """Return a file's bytes, at most one more than a document may have; None where it cannot be read."""
    return read_part(path)[0]


def read_part(path: Path) -> tuple[bytes | None, str]:
    """Return a file's bytes as `read_file`, and why it can't be read if it is there. A FIFO is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor has no path
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None, "it is no regular file"
            return file.read(LARGEST + 1), ""
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        return None, error.strerror or type(error).__name__


def read_folder(folder: Path) -> Seed:
    """Read a seed folder: a mounted disk labelled `cidata`, or one on the machine. Names in capitals are FAT's."""
    try:
        names = {each.name.lower(): each for each in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return Seed()
    except OSError as error:
        return Seed(problem=f"what lies there can't be listed: {error.strerror or type(error).__name__}")
    parts: dict[str, bytes | None] = {}
    for name in ("user-data", "meta-data", "network-config"):
        parts[name], reason = read_part(names[name]) if name in names else (None, "")
        if name in names and parts[name] is None:
            return Seed(problem=f"{name} can't be read: {reason or 'it leads to no file'}")
    return Seed(
        user_data=parts["user-data"],
        meta_data=parts["meta-data"],
        network_config=parts["network-config"],
        vendor=says_something(read_file(names["vendor-data"]) if "vendor-data" in names else None),
    )


def says_something(vendor_data: bytes | None) -> bool:
    """Tell whether vendor-data asks for anything; some hosts always give an empty one."""
    return (vendor_data or b"").strip() not in _NOTHING
