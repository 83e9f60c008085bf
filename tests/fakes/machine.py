"""Machines to boot on a `FakeSystem`: a disk with two slots, an ISO, a bare root image."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

from fakes.disk import SparseDisk, Window
from fakes.network import fake_link
from fakes.system import FakeSystem
from fakes.tree import Link, Node

from init.formats import disk as layout
from init.formats import gpt
from init.formats.release import MODULES_PATH, PATH, Release
from init.pid1.system import ChildResult, Uevent

KERNEL = "6.12.0-fake"
RECORD = "0C1D2E3F-0000-4000-8000-0000000000AA"
SALT = bytes(range(32))
DATA_BLOCKS = 8
OFFSET = DATA_BLOCKS * 4096
DISK_SECTORS = 4096 * 2048  # 4 GiB
_RELEASE = Release(
    name="minimal", version="1", machine_class="minimal-amd64", engine="crun", kernel=KERNEL, epoch=1_795_000_000
)
_TREES = {
    "modules.dep": "kernel/dm-verity.ko: kernel/dm-mod.ko\nkernel/dm-mod.ko:\nkernel/erofs.ko:\n"
    "kernel/virtio_blk.ko:\nkernel/loop.ko:\nkernel/isofs.ko:\nkernel/softdog.ko:\nkernel/i6300esb.ko:\n"
    "kernel/sr_mod.ko:\nkernel/ext4.ko:\n",
    "modules.alias": "alias virtio:d00000002v* virtio_blk\nalias pci:v00008086d000025ABsv*sd*bc*sc*i* i6300esb\n"
    "alias scsi:t-0x05* sr_mod\n",
}


def image(data: bytes = b"\xe2root") -> tuple[bytes, str]:
    """Return a root image with its verity tree (superblock and one hash block), and its root hash."""
    top = hashlib.sha256(data).digest().ljust(4096, b"\0")
    superblock = struct.pack(
        "<8sII16s32sIIQH6x256s168x", b"verity\0\0", 1, 1, bytes(16), b"sha256", 4096, 4096, DATA_BLOCKS, len(SALT), SALT
    )
    whole = data.ljust(OFFSET, b"\0") + superblock.ljust(4096, b"\0") + top
    return whole, hashlib.sha256(SALT + top).hexdigest()


def table(sectors: int = DISK_SECTORS, *, record: str = RECORD, state_sectors: int | None = None) -> gpt.Table:
    """Return the partition table of a Berth disk; `state_sectors` smaller than it could be leaves room to grow."""
    entries = {}
    for part in layout.lay_out(sectors).partitions:
        count = state_sectors if part.name == "state" and state_sectors else part.sectors
        guid = record if part.name == "record-0" else f"00000000-0000-4000-8000-{part.number:012X}"
        entries[part.number] = gpt.Entry(
            type_guid=part.type_guid, guid=guid, first=part.first, last=part.first + count - 1, name=part.name
        )
    return gpt.Table(disk_guid="11111111-2222-4333-8444-555555555555", sectors=sectors, entries=entries)


def root_files() -> dict[str, Node]:
    """Return what the root file system holds, as far as the early half looks."""
    files: dict[str, Node] = {PATH: _RELEASE.to_json().encode()}
    for name, text in _TREES.items():
        files[f"{MODULES_PATH}/{KERNEL}/{name}"] = text.encode()
    for line in _TREES["modules.dep"].splitlines():
        files[f"{MODULES_PATH}/{KERNEL}/{line.partition(':')[0]}"] = b"\x7fELF"
    for place in ("dev", "proc", "sys", "run", "tmp", "etc", "var", "home", "root", "srv", "opt", "mnt", "usr/local"):
        files[f"/{place}"] = None
    files["/usr/share/factory/etc/passwd"] = b"root:x:0:0::/root:/bin/sh\n"
    files["/usr/share/factory/var/log"] = None
    files["/usr/share/factory/var/lib"] = None
    return files


def base(command_line: str, *, fail_at: int | None = None) -> FakeSystem:
    """Return a machine without disks: an initramfs, the kernel's file systems, one network card."""
    system = FakeSystem(fail_at=fail_at)
    inside = {p: n for p, n in root_files().items() if p.startswith(MODULES_PATH)}
    system.tree.fill({**inside, "/init": b"#!", "/sysroot": None})
    system.filesystems["proc"] = {
        "/cmdline": command_line.encode(),
        "/sys/kernel/osrelease": KERNEL.encode() + b"\n",
        "/sys/kernel/panic_on_oops": b"0\n",
        "/sys/kernel/pid_max": b"32768\n",
        "/sys/kernel/random/boot_id": b"0-1-2\n",
        "/sys/vm/min_free_kbytes": b"3944",
        "/sys/vm/lowmem_reserve_ratio": b"256\t256\t32\t0\t0",
        "/sys/vm/percpu_pagelist_high_fraction": b"0",
        "/meminfo": b"MemTotal:        1000000 kB\n",
    }
    system.filesystems["sysfs"] = {
        "/class/tty/console/active": b"tty0 ttyS0\n",
        "/class/block": None,
        "/bus/virtio/devices": None,
        "/module/block/parameters/events_dfl_poll_msecs": b"0\n",
        "/kernel/mm/transparent_hugepage/enabled": b"[always] madvise never",
        "/fs/cgroup": None,
    }
    system.filesystems["devtmpfs"] = dict.fromkeys(("/console", "/tty0", "/ttyS0"), b"")
    system.interfaces = [fake_link(1, "lo"), fake_link(2, "eth0")]
    system.programs = {"mkfs.ext4": _make_ext4, "e2fsck": _check_ext4}
    system.on_module["softdog"] = lambda machine: machine.tree.fill(
        {"/sys/class/watchdog/watchdog0/identity": b"Software Watchdog\n"}
    )
    return system


def _make_ext4(system: FakeSystem, argv: Sequence[str]) -> ChildResult:
    system.kinds[argv[-1]] = "ext4"
    system.blocks[argv[-1]].write(1024, b"ext4".ljust(1024, b"\1"))
    return ChildResult(status=0, output=b"")


def _check_ext4(system: FakeSystem, argv: Sequence[str]) -> ChildResult:
    return ChildResult(status=8, output=b"Bad magic number in super-block\n")


def show_disk(system: FakeSystem, name: str, disk: SparseDisk, partitions: gpt.Table | None, at: str = "/sys") -> None:
    """Let the kernel know a disk and its partitions, as it is after its driver came up."""
    system.blocks[f"/dev/{name}"] = disk
    home = "/devices/pci0/virtio0/block"
    files: dict[str, Node] = {f"{home}/{name}/size": b"%d\n" % (disk.size // 512)}
    files[f"/class/block/{name}"] = Link(f"../..{home}/{name}")
    for number, entry in (partitions.entries if partitions else {}).items():
        part = f"{name}{number}"
        files[f"{home}/{name}/{part}/size"] = b"%d\n" % (entry.last - entry.first + 1)
        files[f"{home}/{name}/{part}/partition"] = b"%d\n" % number
        files[f"/class/block/{part}"] = Link(f"../..{home}/{name}/{part}")
        start, size = entry.first * 512, (entry.last - entry.first + 1) * 512
        system.blocks[f"/dev/{part}"] = Window(disk, start, size)
    if at == "/sys":
        system.tree.fill(files, at=at)
    else:
        system.filesystems["sysfs"].update(files)


def slot_disk(
    *, sectors: int = DISK_SECTORS, record: str = RECORD, state_sectors: int | None = None
) -> tuple[SparseDisk, gpt.Table]:
    """Return a disk with the image in slot a and a blank state."""
    partitions = table(sectors, record=record, state_sectors=state_sectors)
    encoded = gpt.encode(partitions)
    whole, _ = image()
    content = {
        0: encoded.protective_mbr,
        512: encoded.primary,
        (sectors - layout.GPT_SECTORS) * 512: encoded.backup,
        partitions.entries[7].first * 512: whole,
    }
    return SparseDisk(sectors * 512, content), partitions


def slot_command_line() -> str:
    """Return what GRUB gives the kernel for slot a."""
    return f"quiet berth.root={image()[1]},{OFFSET} berth.slot=a berth.record={RECORD.lower()} panic=1\n"


def installed(*, fail_at: int | None = None, state_sectors: int | None = None, formatted: bool = False) -> FakeSystem:
    """Return a machine that boots slot a of its disk `vda`, whose driver is a module."""
    system = base(slot_command_line(), fail_at=fail_at)
    disk, partitions = slot_disk(state_sectors=state_sectors)
    _plug_virtio(system, disk, partitions)
    system.kinds["/dev/vda7"] = "erofs"
    system.filesystems["/dev/vda7"] = root_files()
    if formatted:
        _make_ext4(system, ["/dev/vda9"])
    return system


def _plug_virtio(system: FakeSystem, disk: SparseDisk, partitions: gpt.Table | None) -> None:
    system.filesystems["sysfs"]["/bus/virtio/devices/virtio0/modalias"] = b"virtio:d00000002v00001AF4\n"
    if partitions is not None:
        for number, entry in partitions.entries.items():
            start, size = entry.first * 512, (entry.last - entry.first + 1) * 512
            system.blocks[f"/dev/vda{number}"] = Window(disk, start, size)

    def appear(machine: FakeSystem) -> None:
        if not machine.exists("/sys/class/block/vda"):
            show_disk(machine, "vda", disk, partitions)

    system.on_module["virtio_blk"] = appear


def from_iso(*, fail_at: int | None = None, at: float = 8.0) -> FakeSystem:
    """Return a machine that boots from an ISO on a stick which appears `at` seconds."""
    whole, root_hash = image()
    system = base(f"berth.root={root_hash},{OFFSET} berth.media=iso panic=30", fail_at=fail_at)
    stick = SparseDisk(64 << 20, {16 * 2048: b"\x01CD001\x01"})
    system.kinds["/dev/sda"] = "iso9660"
    system.filesystems["/dev/sda"] = {"/berth/root.img": b"(image)"}
    system.loop_images["/run/berth/medium/berth/root.img"] = SparseDisk(len(whole), {0: whole})
    system.kinds["/dev/loop0"] = "erofs"
    system.filesystems["/dev/loop0"] = root_files()

    def plugged(machine: FakeSystem) -> Uevent:
        show_disk(machine, "sda", stick, None)
        return Uevent(action="add", path="/devices/usb/sda", variables={"SUBSYSTEM": "block", "DEVNAME": "sda"})

    system.news = [(at, plugged)]
    return system


def without_root(command_line: str, *, fail_at: int | None = None) -> FakeSystem:
    """Return a machine whose only disk is somebody else's."""
    system = base(command_line, fail_at=fail_at)
    disk, partitions = slot_disk(record="FFFFFFFF-0000-4000-8000-000000000000")
    _plug_virtio(system, disk, partitions)
    return system
