"""What sysfs and a disk's content tell the installer, on folders that look like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.blockdevice import LossyDisk

from init.formats import disk as layouts
from init.formats import gpt
from init.installer.disks import Places, is_berth, is_blank, member_of, present, settle
from init.installer.mark import MARK

MIB = layouts.MIB
MEDIUM = "/run/berth/medium"


class Kernel:
    """A folder with `sys`, `dev` and a list of mounts."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(sys=folder / "sys", dev=folder / "dev", mounts=folder / "mounts")
        (folder / "sys/class/block").mkdir(parents=True)
        (folder / "dev").mkdir()
        self.places.mounts.write_text("proc /proc proc rw 0 0\n")

    def disk(self, name: str, size: int, *, content: bytes = b"", **files: str | bytes) -> Path:
        """Add a disk; `files` are its sysfs files, `__` standing for `/`."""
        folder = self.places.sys / "class/block" / name
        facts: dict[str, str | bytes] = {"size": str(size // 512), "removable": "0", "ro": "0", **files}
        for key, text in facts.items():
            path = folder / key.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
        with (self.places.dev / name).open("wb") as file:
            file.write(content)
            file.truncate(size)
        return folder

    def mount(self, name: str, point: str) -> None:
        """Mount a device."""
        with self.places.mounts.open("a") as file:
            file.write(f"/dev/{name} {point} iso9660 ro 0 0\n")


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def berth_table() -> bytes:
    """Return the first MiB of an installed disk."""
    sectors = layouts.smallest_mib() * layouts.SECTORS_PER_MIB
    entries = {
        one.number: gpt.Entry(
            type_guid=one.type_guid, guid=f"{one.number:032d}", first=one.first, last=one.last, name=one.name
        )
        for one in layouts.lay_out(sectors).partitions
    }
    made = gpt.encode(gpt.Table(disk_guid="0" * 32, sectors=sectors, entries=entries))
    return (made.protective_mbr + made.primary).ljust(MIB, b"\0")


def test_what_each_bus_calls_a_drive(kernel: Kernel, tmp_path: Path) -> None:
    kernel.disk("vda", 4 * MIB, serial="VIRT1")
    kernel.disk("nvme0n1", 4 * MIB, device__serial="NVME1   ", device__model="Fast one  ", wwid="nvme.1")
    kernel.disk("sda", 4 * MIB, device__vpd_pg80=b"\0\x80\0\x05  S\0TA", device__model="Disk", device__wwid="naa.5")
    usb = tmp_path / "sys/devices/usb1/1-1"
    (usb / "host0/block").mkdir(parents=True)
    (usb / "idVendor").write_text("1234\n")
    (usb / "serial").write_text("STICK1\n")
    kernel.disk("sdb", 4 * MIB, removable="1").rename(usb / "host0/block/sdb")
    (tmp_path / "sys/class/block/sdb").symlink_to(usb / "host0/block/sdb")
    found = {one.path: one for one in present(kernel.places, MEDIUM)}
    assert {path: one.serial for path, one in found.items()} == {
        "/dev/vda": "VIRT1", "/dev/nvme0n1": "NVME1", "/dev/sda": "S TA", "/dev/sdb": "STICK1",
    }  # fmt: skip
    assert (found["/dev/nvme0n1"].model, found["/dev/nvme0n1"].wwid) == ("Fast one", "nvme.1")
    assert (found["/dev/sda"].wwid, found["/dev/sdb"].removable) == ("naa.5", True)
    assert all(one.is_blank for one in found.values())


def test_only_whole_disks_with_a_medium_are_listed(kernel: Kernel) -> None:
    for name in ("loop0", "ram0", "zram0", "fd0", "mmcblk0boot0", "mmcblk0rpmb"):
        kernel.disk(name, 4 * MIB)
    kernel.disk("sr0", 0, removable="1")
    kernel.disk("vda1", 4 * MIB, partition="1")
    kernel.disk("dm-0", 4 * MIB, dm__uuid="CRYPT-VERITY-x")
    kernel.disk("dm-1", 4 * MIB, dm__uuid="mpath-3600")
    kernel.disk("md0", 4 * MIB)
    assert {one.path: one.is_array for one in present(kernel.places, MEDIUM)} == {"/dev/dm-1": True, "/dev/md0": True}


def test_the_medium_and_what_is_in_use_are_known(kernel: Kernel) -> None:
    kernel.disk("sr0", 4 * MIB, removable="1", queue__logical_block_size="2048")
    kernel.mount("sr0", MEDIUM)
    kernel.disk("sda", 4 * MIB, sda1__partition="1")
    kernel.disk("sda1", 4 * MIB, partition="1")
    kernel.mount("sda1", "/mnt")
    kernel.disk("sdb", 4 * MIB, sdb1__partition="1", sdb1__holders__dm_7="")
    kernel.disk("sdb1", 4 * MIB, partition="1")
    found = {one.path: one for one in present(kernel.places, MEDIUM)}
    assert (found["/dev/sr0"].is_medium, found["/dev/sr0"].sector) == (True, 2048)
    assert found["/dev/sda"].used == ("mounted at /mnt",)
    assert found["/dev/sdb"].used == ("held by dm_7",)


def test_what_a_disk_holds(kernel: Kernel) -> None:
    kernel.disk("vda", 4 * MIB, content=MARK)
    kernel.disk("vdb", 4 * MIB, content=berth_table())
    kernel.disk("vdc", 4 * MIB, content=bytes(4 * MIB - 1) + b"x")
    kernel.disk("vdd", 4 * MIB, content=bytes(2 * MIB) + b"x")
    kernel.disk("vde", 4 * MIB, vde1__partition="1")
    kernel.disk("vde1", 2 * MIB, partition="1", content=bytes(4096) + bytes.fromhex("fc4e2ba9"))
    kernel.disk("vdf", 4 * MIB, queue__logical_block_size="4096")
    found = {one.path.removeprefix("/dev/"): one for one in present(kernel.places, MEDIUM)}
    assert [name for name, one in found.items() if one.is_interrupted] == ["vda"]
    assert [name for name, one in found.items() if one.is_berth] == ["vdb"]
    assert [name for name, one in found.items() if one.is_blank] == ["vdd", "vde"]
    assert found["vde"].member == "a RAID array"
    assert found["vdf"].sector == 4096


def test_a_disk_that_cannot_be_read_says_so(kernel: Kernel) -> None:
    kernel.disk("vda", 4 * MIB)
    (kernel.places.dev / "vda").unlink()
    [disk] = present(kernel.places, MEDIUM)
    assert not disk.is_readable
    assert not disk.is_blank


@pytest.mark.parametrize(
    ("offset", "magic"),
    [
        (0, "fc4e2ba9"),  # md 1.1
        (4096, "fc4e2ba9"),  # md 1.2
        (3 * MIB - 8192, "fc4e2ba9"),  # md 1.0
        (3 * MIB - 65536, "fc4e2ba9"),  # md 0.90
        (3 * MIB - 512, "de11de11"),
        (3 * MIB - 1024, b"Intel Raid ISM Cfg Sig. ".hex()),
    ],
)
def test_members_of_arrays_are_told_by_their_signatures(offset: int, magic: str) -> None:
    disk = LossyDisk(3 * MIB)
    assert member_of(disk) == ""
    disk.spoil(offset, bytes.fromhex(magic))
    assert "RAID" in member_of(disk)


def test_a_first_mib_of_anything_else_is_no_berth_disk() -> None:
    assert is_berth(berth_table())
    assert not is_berth(bytes(MIB))
    assert not is_berth(b"")
    assert not is_blank(b"", b"")


def test_it_waits_until_no_more_disks_come(kernel: Kernel) -> None:
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) <= 3:  # one after the other
            kernel.disk(f"sd{'abc'[len(pauses) - 1]}", 4 * MIB)

    settle(kernel.places, pause)
    assert len(pauses) == 4
    assert len(present(kernel.places, MEDIUM)) == 3


def test_disks_that_come_and_go_for_ever_are_not_waited_for(kernel: Kernel) -> None:
    count = iter(range(1000))
    settle(kernel.places, lambda _: (kernel.places.sys / f"class/block/x{next(count)}").mkdir())
    assert next(count) < 100
