"""GRUB with a real kernel: the counted slot is loaded, a dead one gives way, and rescue takes what loads.

The kernel is that of the `minimal` recipe; the initramfs is empty, so that the kernel prints its command line and
panics: with `panic=1` that is a reboot with the try spent, which is the net under every release.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from grubguest import Guest

from builder.artifact import esp, raw
from builder.grub import core
from builder.image import cpio, ustar
from builder.tools.call import Tools
from init.formats import bootimage, bootrecord, disk, envblock
from init.formats.bootrecord import Record, SlotState, encode

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

LINE = re.compile(rb"Kernel command line: ([^\r\n]*)[\r\n]")
DEAD = re.compile(rb"Berth: slot a cannot be loaded")
RECORD = Record(sequence=0, order=("a", "b"), a=SlotState(tries=1, good=True), b=SlotState(tries=1))


@pytest.fixture(scope="module")
def boot_image(built: Callable[..., dict[str, Path]], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return a boot image with a real kernel and an empty initramfs."""
    folder = tmp_path_factory.mktemp("kernel")
    with tarfile.open(built("minimal")["bundle"]) as archive:
        member = archive.extractfile("boot.img")
        assert member is not None
        (folder / "boot.img").write_bytes(member.read())
    with tarfile.open(folder / "boot.img") as archive:
        kernel = archive.extractfile("vmlinuz")
        assert kernel is not None
        members = {
            "vmlinuz": kernel.read(),
            "initramfs": cpio.archive([cpio.directory("dev")]),
            "cmdline.env": envblock.encode({"cmdline": "console=ttyS0,115200 panic=1 x=1"}, 1024),
        }
        return ustar.archive({**members, bootimage.SUMS: bootimage.sums(members)}, mtime=0)


def make_disk(tools: Tools, path: Path, images: dict[str, bytes]) -> disk.Layout:
    loader = core.disk_loader(tools)
    layout = disk.lay_out(disk.smallest_mib(root_mib=1) * disk.SECTORS_PER_MIB, root_mib=1)
    files = {esp.FALLBACK: loader.efi}
    with path.open("w+b") as file:
        file.truncate(layout.sectors * disk.SECTOR)
        raw.write_tables(file, layout, "0" * 64, loader)
        parts = {
            "esp": esp.make_esp(tools, files, size=layout.number(disk.ESP).size_bytes, epoch=0, volume_id=1),
            **{disk.boot_name(name): image for name, image in images.items()},
        }
        for name, data in parts.items():
            file.seek(layout.named(name).offset_bytes)
            file.write(data)
    return layout


def broken(image: bytes, what: str) -> bytes:
    """Return a boot image whose kernel is none, whose initramfs is missing, or that has one flipped bit."""
    if what == "bit":
        return image[:5_000_000] + bytes([image[5_000_000] ^ 1]) + image[5_000_001:]
    if what == "kernel":
        return image[: disk.SECTOR] + bytes(100_000) + image[disk.SECTOR + 100_000 :]
    return image.replace(b"initramfs\0", b"initramfX\0", 1) if what == "initramfs" else image


@pytest.mark.parametrize(
    ("firmware", "damage"),
    [
        ("bios", "kernel"),
        ("uefi", "bit"),
        *(pytest.param(*more, marks=pytest.mark.slow) for more in (("bios", ""), ("uefi", ""), ("uefi", "initramfs"))),
    ],
)
def test_slot_a_then_slot_b_then_rescue(
    firmware: str, damage: str, tools: Tools, boot_image: bytes, tmp_path: Path
) -> None:
    image = tmp_path / "disk.raw"
    layout = make_disk(tools, image, {"a": broken(boot_image, damage), "b": boot_image})
    guest = Guest(tools, firmware, image, tmp_path)
    try:
        guest.start_with((encode(RECORD), encode(RECORD)), layout)
        if damage:
            guest.wait_for(DEAD)
        else:
            assert words(guest)["berth.slot"] == "a"
        second = words(guest)
        assert (second["berth.slot"], second["panic"], "berth.rescue" in second) == ("b", "1", False)
        assert second["berth.record"].upper() == raw.table_of(layout, "0" * 64).entries[disk.RECORDS[0]].guid
        rescue = words(guest)
        assert (rescue["berth.rescue"], rescue["panic"], rescue["berth.reason"]) == ("", "0", "no-tries")
        assert rescue["berth.slot"] == ("b" if damage else "a")
        assert rescue["x"] == "1"
        after = bootrecord.current(guest.copies(layout))
        assert after is not None
        assert (after.a.tries, after.b.tries, after.a.good) == (0, 0, True)
    finally:
        guest.close()


def words(guest: Guest) -> dict[str, str]:
    """Return the next kernel's command line, the last of equal words."""
    line = guest.wait_for(LINE).group(1).decode()
    return {key: value for key, _, value in (word.partition("=") for word in line.split())}
