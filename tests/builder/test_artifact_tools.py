"""ISO and disk, checked by programs that are not ours: xorriso, sgdisk, fsck.*, veritysetup, qemu-img, GRUB's own.

The slot is a small real one: an EROFS with its verity tree, and a boot image of noise, for nothing is booted here.
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from builder.artifact import bundle, inspect, iso, iso9660, qcow2, raw
from builder.artifact.output import Artifact
from builder.cli.context import Context
from builder.cli.inputs import Network, ready_tools
from builder.emulate import disks
from builder.emulate.image import Image
from builder.emulate.image import Kind as ImageKind
from builder.errors import BuildError, InputError
from builder.fetch.store import Store
from builder.grub import core, script
from builder.image import erofs, slot, verity
from builder.recipe.model import Compression
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.tarstream import write_tar
from builder.tools.call import Tools
from init.formats import bootrecord, disk, gpt
from init.formats.release import Release

pytestmark = pytest.mark.packages

RELEASE = Release(
    name="demo",
    version="1.0",
    machine_class="demo-amd64",
    engine="none",
    kernel="6.12-cloud-amd64",
    epoch=1_700_000_001,
)
USER_DATA = b"#berth\nhostname: box\n"
MANIFEST = (
    b'{"format":"berth.manifest/1","recipe":"demo","lock_sha256":"00","root_hash":"%s","hash_offset":4096,'
    b'"cmdline":"quiet","parts":[],"packages":[],"savings":[],"entries":[],"release":%s}\n'
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What the tests look at."""

    slot: slot.SlotImage
    manifest: bytes
    iso: Artifact
    raw: Artifact
    qcow2: Artifact
    bundle: Artifact


@pytest.fixture(scope="module")
def tools() -> Tools:
    """Return the tools tree of this repository's builds."""
    with contextlib.chdir(Path(__file__).parents[2]):  # a build keeps its tree below the working folder
        return ready_tools(Context.create(quiet=True, as_json=False), Network(heal=True))


def make_slot(tools: Tools, folder: Path) -> slot.SlotImage:
    store = Store(folder / "store")
    chance = random.Random(3)
    contents = {f"usr/lib/{name}": chance.randbytes(50_000) for name in "abc"}
    entries = [Entry(path=path, kind=Kind.DIRECTORY, mode=0o755) for path in ("", "usr", "usr/lib")]
    entries += [
        Entry(path=path, kind=Kind.FILE, size=len(data), sha256=store.put(data)) for path, data in contents.items()
    ]
    root = folder / "root.img"
    erofs.make(
        root, tools, lambda stream: write_tar(Tree(tuple(entries)), store, stream, 0),
        compression=Compression(algorithm="zstd", level=3), uuid=UUID(int=7), epoch=RELEASE.epoch,
    )  # fmt: skip
    sealed = verity.append(root, tools, salt=bytes(32), uuid=UUID(int=8))
    line = f"quiet berth.root={sealed.root_hash},{sealed.hash_offset}"
    kernel, initramfs = chance.randbytes(100_000), chance.randbytes(70_001)
    (folder / "vmlinuz").write_bytes(kernel)
    (folder / "initramfs").write_bytes(initramfs)
    (folder / "boot.img").write_bytes(slot.boot_image(kernel, initramfs, line, epoch=RELEASE.epoch))
    return slot.SlotImage(
        boot=folder / "boot.img", root=root, vmlinuz=folder / "vmlinuz", initramfs=folder / "initramfs",
        root_hash=sealed.root_hash, hash_offset=sealed.hash_offset, cmdline=line,
    )  # fmt: skip


def make_all(tools: Tools, image: slot.SlotImage, folder: Path) -> Made:
    folder.mkdir(exist_ok=True)
    manifest = MANIFEST % (image.root_hash.encode(), RELEASE.to_json().encode())
    loader = core.iso_loader(tools, root_hash=image.root_hash, title="Berth demo 1.0")
    written = raw.write_raw(
        slot=image, release=RELEASE, manifest=manifest, loader=core.disk_loader(tools), tools=tools,
        out=folder / "demo.raw", root_mib=16,
    )  # fmt: skip
    return Made(
        slot=image,
        manifest=manifest,
        iso=iso.write_iso(
            slot=image, release=RELEASE, manifest=manifest, loader=loader, tools=tools, out=folder / "demo.iso",
            user_data=USER_DATA,
        ),
        raw=written,
        qcow2=qcow2.write_qcow2(raw=written.path, out=folder / "demo.qcow2"),
        bundle=bundle.write_bundle(slot=image, release=RELEASE, manifest=manifest, out=folder / "demo.bundle"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("artifacts")
    return make_all(tools, make_slot(tools, folder), folder / "out")


def part_of(image: Path, layout: disk.Layout, name: str, into: Path) -> Path:
    part = layout.named(name)
    with image.open("rb") as file:
        file.seek(part.offset_bytes)
        into.write_bytes(file.read(part.size_bytes))
    return into


def layout_of(artifact: Artifact) -> disk.Layout:
    return disk.lay_out(artifact.size // disk.SECTOR, root_mib=16)


def test_all_are_equal_to_the_bit_on_another_day_in_another_folder(
    made: Made, tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    moved = tmp_path / "slöt with blanks"
    moved.mkdir()
    for path in (made.slot.boot, made.slot.root, made.slot.vmlinuz, made.slot.initramfs):
        shutil.copyfile(path, moved / path.name)  # with other times
    image = slot.SlotImage(
        boot=moved / "boot.img", root=moved / "root.img", vmlinuz=moved / "vmlinuz", initramfs=moved / "initramfs",
        root_hash=made.slot.root_hash, hash_offset=made.slot.hash_offset, cmdline=made.slot.cmdline,
    )  # fmt: skip
    again = make_all(tools, image, tmp_path / "out")
    for kind in ("raw", "iso", "qcow2", "bundle"):
        assert getattr(again, kind).sha256 == getattr(made, kind).sha256, kind


def test_sgdisk_finds_no_fault_and_the_same_partitions(made: Made, tools: Tools) -> None:
    for image in (made.raw.path, made.iso.path):
        assert b"No problems found" in tools.run("sgdisk", "--verify", str(image))
    printed = tools.run("sgdisk", "--print", str(made.raw.path)).decode()
    lines = re.findall(r"^ +(\d+) +(\d+) +(\d+) .* (\S+)$", printed, flags=re.M)
    assert [(int(n), int(first), int(last), name) for n, first, last, name in lines] == [
        (part.number, part.first, part.last, part.name) for part in layout_of(made.raw).partitions
    ]
    for part in layout_of(made.raw).partitions:
        told = tools.run("sgdisk", f"--info={part.number}", str(made.raw.path)).decode()
        assert f"Partition GUID code: {part.type_guid}" in told


def test_esps_are_sound_and_hold_the_fallback_program(made: Made, tools: Tools, tmp_path: Path) -> None:
    esp = part_of(made.raw.path, layout_of(made.raw), "esp", tmp_path / "esp.img")
    tools.run("fsck.fat", "-n", str(esp))
    with made.iso.path.open("rb") as file:
        node = iso9660.find(file, "boot/efi.img")
        assert node is not None
        file.seek(node.offset)
        (tmp_path / "efi.img").write_bytes(file.read(node.size))
    tools.run("fsck.fat", "-n", str(tmp_path / "efi.img"))
    for image in (esp, tmp_path / "efi.img"):
        assert tools.run("mtype", "-i", str(image), "::/EFI/BOOT/BOOTX64.EFI")[:2] == b"MZ"


def test_the_isos_partition_is_its_el_torito_image(made: Made) -> None:
    with made.iso.path.open("rb") as file:
        node = iso9660.find(file, "boot/efi.img")
        file.seek(disk.SECTOR)
        data = file.read(disk.GPT_SECTORS * disk.SECTOR)
    table = gpt.decode(data[: disk.SECTOR], data[disk.SECTOR :])
    assert node is not None
    entry = table.entries[1]
    assert (entry.first * disk.SECTOR, (entry.last - entry.first + 1) * disk.SECTOR) == (node.offset, node.size)
    assert table.sectors * disk.SECTOR == made.iso.size


def test_xorriso_reads_the_same_files_and_both_boot_entries(made: Made, tools: Tools, tmp_path: Path) -> None:
    report = tools.run("xorriso", "-indev", str(made.iso.path), "-report_el_torito", "plain").decode()
    volume = tools.run("xorriso", "-indev", str(made.iso.path), "-pvd_info").decode()
    assert "BERTH_VM_IMAGE" in volume  # of a release with the kernel for virtual machines
    assert re.search(r"El Torito boot img : +1 +BIOS +y +none", report)
    assert re.search(r"El Torito boot img : +2 +UEFI +y +none", report)
    extract = ["-osirrox", "on", "-indev", str(made.iso.path), "-extract", "/berth", str(tmp_path / "berth")]
    tools.run("xorriso", *extract)
    for name, wanted in {
        "boot.img": made.slot.boot.read_bytes(),
        "root.img": made.slot.root.read_bytes(),
        "manifest.json": made.manifest,
        "user-data": USER_DATA,
        made.slot.root_hash[:16]: b"",
    }.items():
        assert (tmp_path / "berth" / name).read_bytes() == wanted
    dates = tools.run("xorriso", "-indev", str(made.iso.path), "-find", "/", "-exec", "lsdl").decode()
    assert len(re.findall(r"Nov 14  2023", dates)) == len([line for line in dates.splitlines() if line.strip()])


def test_no_date_of_today_is_anywhere_in_the_iso(made: Made) -> None:
    with made.iso.path.open("rb") as file:
        head = file.read(64 * iso9660.SECTOR)
    assert re.findall(rb"20[0-9]{14}", head) == [b"2023111422132100"] * 3
    short = bytes((123, 11, 14, 22, 13, 21, 0))
    assert head.count(short) > 20


def test_the_roots_are_what_erofs_and_verity_take(made: Made, tools: Tools, tmp_path: Path) -> None:
    root = part_of(made.raw.path, layout_of(made.raw), "root-a", tmp_path / "root.img")
    tools.run("fsck.erofs", str(root))
    tools.run(
        "veritysetup", "verify", str(root), str(root), made.slot.root_hash,
        f"--hash-offset={made.slot.hash_offset}",
    )  # fmt: skip


def test_the_disks_slots_and_records(made: Made, tmp_path: Path) -> None:
    layout = layout_of(made.raw)
    copies = [
        part_of(made.raw.path, layout, name, tmp_path / name).read_bytes()[: bootrecord.COPY_BYTES]
        for name in ("record-0", "record-1")
    ]
    assert bootrecord.current((copies[0], copies[1])) == bootrecord.fresh("a")
    assert bootrecord.decide((copies[0], copies[1])).slot == "a"
    for name in ("boot-b", "root-b", "state"):
        assert not part_of(made.raw.path, layout, name, tmp_path / name).read_bytes().strip(b"\0")
    boot = part_of(made.raw.path, layout, "boot-a", tmp_path / "boot").read_bytes()
    assert boot.startswith(made.slot.boot.read_bytes())


def test_grub_edits_the_record_that_we_write(tools: Tools, tmp_path: Path) -> None:
    block = bootrecord.encode(bootrecord.fresh())[disk.SECTOR :]
    path = tmp_path / "record.env"
    path.write_bytes(block)
    assert b"order=ab" in tools.run("grub-editenv", str(path), "list")
    tools.run("grub-editenv", str(path), "set", "tries_a=2")
    assert path.read_bytes() == block.replace(b"tries_a=3", b"tries_a=2", 1)


def test_grubs_boot_code_points_at_its_core(made: Made) -> None:
    bios = layout_of(made.raw).named("bios")
    with made.raw.path.open("rb") as file:
        sector = file.read(512)
        file.seek(bios.offset_bytes)
        core_image = file.read(512)
    assert struct.unpack_from("<Q", sector, 0x5C) == (bios.first,)
    assert struct.unpack_from("<Q", core_image, 0x1F4) == (bios.first + 1,)
    assert sector[510:] == b"\x55\xaa"


def test_qemu_img_finds_the_same_disk(made: Made, tools: Tools) -> None:
    tools.run("qemu-img", "check", str(made.qcow2.path))
    tools.run("qemu-img", "compare", str(made.raw.path), str(made.qcow2.path))


def test_every_artifact_says_what_it_is(made: Made) -> None:
    for kind in ("iso", "raw", "qcow2", "bundle"):
        found = inspect.inspect(getattr(made, kind).path)
        assert found.kind == kind
        assert found.manifest is not None
        assert found.manifest.release == RELEASE
        if kind in ("raw", "qcow2"):
            assert [(name, facts.root_hash, facts.tries) for name, facts in found.slots] == [
                ("a", made.slot.root_hash, 3)
            ]
            assert found.order == "ab"
        assert found.user_data == (USER_DATA if kind == "iso" else None)


def test_an_image_that_was_cut_or_damaged_is_refused_or_read_but_never_a_crash(made: Made, tmp_path: Path) -> None:
    chance = random.Random(4)
    for kind in ("iso", "qcow2", "bundle"):
        whole = bytearray(getattr(made, kind).path.read_bytes())
        for number in range(60):
            damaged = bytearray(whole)
            if number % 3 == 0:
                del damaged[chance.randrange(len(damaged)) :]
            else:
                limit = min(len(damaged), 80_000)
                for _ in range(20):
                    damaged[chance.randrange(limit)] = chance.randrange(256)
            path = tmp_path / "x"
            path.write_bytes(damaged)
            with contextlib.suppress(InputError):  # anything else is a traceback for a user
                inspect.inspect(path)


def test_a_script_that_grub_would_stumble_over_fails_the_build(tools: Tools) -> None:
    script.check_script(script.disk_script(), tools)
    with pytest.raises(BuildError, match="GRUB does not take"):
        script.check_script('if [ "$a" = 1 ]; then\n  echo x\n', tools)
    with pytest.raises(BuildError, match="cannot print"):
        script.iso_script(root_hash="ab" * 32, title='x"; reboot; echo "')


def test_a_slot_that_is_too_large_is_refused_and_leaves_nothing(made: Made, tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="does not fit into root-a"):
        raw.write_raw(
            slot=slot.SlotImage(
                boot=made.slot.boot, root=made.raw.path, vmlinuz=made.slot.vmlinuz, initramfs=made.slot.initramfs,
                root_hash=made.slot.root_hash, hash_offset=0, cmdline="",
            ),
            release=RELEASE, manifest=b"{}", loader=core.disk_loader(tools), tools=tools, out=tmp_path / "x.raw",
            root_mib=16,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "grown"), [(3 << 20, disks.DISK_SIZE), (9 << 30, 9 << 30)])
@pytest.mark.parametrize("name", ["disk.qcow2", "disk.raw"])
def test_a_disk_that_lasts_is_no_smaller_than_its_image(
    tools: Tools, tmp_path: Path, name: str, size: int, grown: int
) -> None:
    image = tmp_path / "image.raw"
    with image.open("wb") as file:
        file.truncate(size)
    disks.made_if_missing(tmp_path / name, Image(path=image, kind=ImageKind.RAW), tools)
    assert disks.size_of(tmp_path / name, tools) == grown
