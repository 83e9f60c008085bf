"""The default recipe's own ISO and disk, checked by programs that are not ours: xorriso, sgdisk, fsck.*, veritysetup.

`test_artifact_tools.py` asks them more, of a small slot. These are the images that people get, full kernel and all; the
build is the one that the tests in QEMU boot.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.artifact.manifest import Manifest
from builder.cli.context import Context
from builder.cli.inputs import Network, ready_tools
from builder.errors import ToolError
from builder.grub.core import PACKAGES
from builder.image.kernelmodules import bare, name_of
from builder.rootfs.entry import Kind
from builder.rootfs.plainmodule import plain
from builder.stages.run import STAGES
from builder.tools.call import Tools
from init.formats import disk

pytestmark = pytest.mark.packages

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class Shipped:
    """The artifacts, and what the ISO's manifest says of its slot. `files` is the ISO as xorriso extracts it."""

    iso: Path
    raw: Path
    qcow2: Path
    bundle: Path
    files: Path
    manifest: Manifest
    bill: dict[str, Any]
    root_hash: str
    hash_offset: int


@pytest.fixture(scope="module")
def tools() -> Iterator[Tools]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # a build keeps its tools tree below the working folder
        yield ready_tools(Context.create(quiet=True, as_json=False), Network(heal=True))


@pytest.fixture(scope="module")
def shipped(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    done = subprocess.run(
        [sys.executable, "-m", "builder", "build", "podman", "--heal", "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path = {one["kind"]: Path(one["path"]) for one in json.loads(done.stdout)["artifacts"]}
    files = tmp_path_factory.mktemp("shipped") / "iso"
    tools.run("xorriso", "-osirrox", "on", "-indev", str(path["iso"]), "-extract", "/", str(files))
    manifest = Manifest.from_json((files / "berth/manifest.json").read_bytes())
    return Shipped(
        iso=path["iso"], raw=path["raw"], qcow2=path["qcow2"], bundle=path["bundle"], files=files,
        manifest=manifest, bill=json.loads(path["sbom"].read_text()),
        root_hash=manifest.root_hash, hash_offset=manifest.hash_offset,
    )  # fmt: skip


def partition(image: Path, number: int, tools: Tools, into: Path, *, most: int = 128 << 20) -> Path:
    """Copy a partition, or the first `most` bytes of it, from where sgdisk says that it lies."""
    told = tools.run("sgdisk", f"--info={number}", str(image)).decode()
    first, last = (int(re.findall(rf"^{which} sector: (\d+)", told, flags=re.M)[0]) for which in ("First", "Last"))
    with image.open("rb") as source:
        source.seek(first * disk.SECTOR)
        into.write_bytes(source.read(min(most, (last + 1 - first) * disk.SECTOR)))
    return into


def assert_sound_root(image: Path, shipped: Shipped, tools: Tools) -> None:
    """Assert that the whole tree of hashes is right below the root hash, and that every file can be unpacked."""
    where = (str(image), str(image), shipped.root_hash, f"--hash-offset={shipped.hash_offset}")
    tools.run("veritysetup", "verify", *where)
    tools.run("fsck.erofs", "--extract", str(image))


def test_sgdisk_finds_no_fault_in_either_table(shipped: Shipped, tools: Tools) -> None:
    for image in (shipped.raw, shipped.iso):
        assert b"No problems found" in tools.run("sgdisk", "--verify", str(image))
    printed = tools.run("sgdisk", "--print", str(shipped.raw)).decode()
    assert re.findall(r"^ +\d+ .* (\S+)$", printed, flags=re.M) == [
        "bios", "esp", "record-0", "record-1", "boot-a", "boot-b", "root-a", "root-b", "state",
    ]  # fmt: skip


def test_fsck_finds_no_fault_in_either_efi_system(shipped: Shipped, tools: Tools, tmp_path: Path) -> None:
    for image in (shipped.files / "boot/efi.img", partition(shipped.raw, 2, tools, tmp_path / "esp")):
        tools.run("fsck.fat", "-n", str(image))
        assert tools.run("mtype", "-i", str(image), "::/EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ"


def test_xorriso_finds_both_boot_entries(shipped: Shipped, tools: Tools) -> None:
    report = tools.run("xorriso", "-indev", str(shipped.iso), "-report_el_torito", "plain").decode()
    assert re.search(r"El Torito boot img : +1 +BIOS +y +none", report)
    assert re.search(r"El Torito boot img : +2 +UEFI +y +none", report)


def test_the_isos_root_is_sound(shipped: Shipped, tools: Tools) -> None:
    assert_sound_root(shipped.files / "berth/root.img", shipped, tools)


def test_the_disks_root_is_the_isos(shipped: Shipped, tools: Tools, tmp_path: Path) -> None:
    image = shipped.files / "berth/root.img"
    root = partition(shipped.raw, 7, tools, tmp_path / "root", most=image.stat().st_size)
    subprocess.run(["cmp", str(image), str(root)], check=True)


def test_one_byte_of_the_root_that_changed_is_found(shipped: Shipped, tools: Tools, tmp_path: Path) -> None:
    """So that the checks above are known to fail."""
    data = bytearray((shipped.files / "berth/root.img").read_bytes())
    data[shipped.hash_offset // 2] ^= 1
    (tmp_path / "root").write_bytes(data)
    with pytest.raises(ToolError, match="veritysetup"):
        assert_sound_root(tmp_path / "root", shipped, tools)


def test_tar_zstd_and_cpio_read_what_boots(shipped: Shipped, tools: Tools, tmp_path: Path) -> None:
    boot = partition(shipped.raw, 5, tools, tmp_path / "boot")
    for image in (shipped.files / "berth/boot.img", boot):
        tools.run("tar", "-xf", str(image), "-C", str(tmp_path))
        assert f"berth.root={shipped.root_hash},{shipped.hash_offset}" in (tmp_path / "cmdline.env").read_text()
    initramfs = tools.run("zstd", "-dcq", str(tmp_path / "initramfs"))
    names = tools.run("cpio", "-t", "--quiet", input=initramfs).decode().splitlines()
    assert "init" in names
    assert len(names) == len(set(names))


def test_the_bundle_is_the_isos_files_as_tar_reads_them(shipped: Shipped, tools: Tools, tmp_path: Path) -> None:
    tools.run("tar", "-xf", str(shipped.bundle), "-C", str(tmp_path))
    for name in ("boot.img", "root.img", "manifest.json"):
        subprocess.run(["cmp", str(shipped.files / "berth" / name), str(tmp_path / name)], check=True)


# What a module calls in the kernel to bring forth a disk: only a driver of a controller does.
DISK_MAKERS = (
    b"ahci_host_activate", b"ata_host_activate", b"ata_host_register", b"ata_pci_bmdma_init_one",
    b"ata_pci_sff_init_one", b"device_add_disk", b"iscsi_host_add", b"mmc_add_host", b"mpt_attach", b"nvme_init_ctrl",
    b"scsi_add_host_with_dma", b"usb_stor_probe2",
)  # fmt: skip
WITHOUT_ROOT = {
    "brd": "a disk of memory",
    "iscsi_tcp": "a disk over the network",
    "libiscsi": "a part of that",
    "md_mod": "makes disks of disks, and no root lies on those",
    "nbd": "a disk over the network",
    "nvme_tcp": "a disk over the network",
    "pata_legacy": "for ISA, where nothing says that there is a controller",
    "sdricoh_cs": "reads SD cards in a card that slides into a laptop",
    "tifm_sd": "a card reader on a bus of its own, and no alias says so",
    "ublk_drv": "a disk that a program of the machine makes",
    "zram": "a disk of memory",
}


def test_each_driver_of_the_root_that_makes_a_disk_is_in_the_initramfs(
    shipped: Shipped, tools: Tools, tmp_path: Path
) -> None:
    """By what a module calls, wherever the kernel keeps it: else a machine with such a controller finds no root."""
    store = Context.create(quiet=True, as_json=False).store
    tools.run("tar", "-xf", str(shipped.files / "berth/boot.img"), "-C", str(tmp_path))
    unpacked = tools.run("zstd", "-dcq", str(tmp_path / "initramfs"))
    packed = {name_of(name) for name in tools.run("cpio", "-t", "--quiet", input=unpacked).decode().split("\n")}
    makers = set()
    for entry in shipped.manifest.entries:
        if entry.kind is Kind.FILE and "/kernel/drivers/" in entry.path and bare(entry.path) != entry.path:
            data = plain(entry.path, store.read(entry.sha256))
            makers |= {name_of(entry.path)} if any(b"\0%b\0" % call in data for call in DISK_MAKERS) else set()
    assert {"mpi3mr", "ahci", "virtio_blk", "ums_realtek"} <= makers
    assert makers - packed - WITHOUT_ROOT.keys() == set()


def test_the_bill_of_materials_is_of_what_the_image_holds(shipped: Shipped) -> None:
    itself, *others = shipped.bill["packages"]
    assert (itself["name"], itself["versionInfo"]) == ("podman", shipped.manifest.release.version)
    named = {entry["name"]: entry["versionInfo"] for entry in others}
    versions = {package.name: package.version for package in shipped.manifest.packages}
    made = {"", "baked images", "image demo", "berth", *(name for name, _ in STAGES)} - versions.keys()
    assert {entry.origin for entry in shipped.manifest.entries} - made == versions.keys()
    assert named == versions | {name: named[name] for name in PACKAGES}
    assert [name for name in named if re.fullmatch(r"linux-image-\d.*", name)] == [
        f"linux-image-{shipped.manifest.release.kernel}"
    ]


def test_the_texts_of_all_licences_are_in_the_image(shipped: Shipped) -> None:
    """Copyright files name the common ones by path; Debian's policy, 12.5, lets them."""
    store = Context.create(quiet=True, as_json=False).store
    paths = {f"/{entry.path}" for entry in shipped.manifest.entries}
    texts = {
        entry.path: store.read(entry.sha256).decode(errors="replace")
        for entry in shipped.manifest.entries
        if entry.kind is Kind.FILE and entry.path.endswith("/copyright")
    }
    assert "GNU GRUB" in texts["usr/lib/berth/loader/copyright"]
    named = {name for text in texts.values() for name in re.findall(r"/usr/share/common-licenses/[\w.-]*\w", text)}
    assert {"/usr/share/common-licenses/GPL-2", "/usr/share/common-licenses/LGPL-2.1"} <= named
    assert named - paths == set()


def test_qemu_img_finds_the_same_disk(shipped: Shipped, tools: Tools) -> None:
    tools.run("qemu-img", "check", str(shipped.qcow2))
    tools.run("qemu-img", "compare", str(shipped.raw), str(shipped.qcow2))
