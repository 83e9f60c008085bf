"""Writing an installation: cut at every write and sync, the disk is as it was, half installed, or good."""

from __future__ import annotations

import hashlib
import io
import itertools

import pytest
from fakes.blockdevice import LossyDisk, PowerCutError

from init.blockdevice.device import BlockDevice
from init.formats import bootrecord, gpt
from init.formats import disk as layouts
from init.installer.disks import is_berth, is_blank
from init.installer.mark import MARK, is_marked
from init.installer.renew import has_record, renew, table_of
from init.installer.write import Content, Image, Loader, WriteError, first_sector, install

MIB = layouts.MIB
SECTORS = layouts.smallest_mib(root_mib=1) * layouts.SECTORS_PER_MIB + 77  # no whole MiB, as real disks
LAYOUT = layouts.lay_out(SECTORS, root_mib=1)
BOOT = bytes(range(256)) * 3000 + b"end"
ROOT = b"root image" * 90000
LOADER = Loader(boot=b"\xeb" * 440, core=b"core" * 5000, esp=b"esp!" * 9000)
STATE = b"a file system" * 100


def image(name: str, data: bytes, *, claimed: bytes | None = None) -> Image:
    """Return an image whose manifest tells of `claimed`."""
    told = data if claimed is None else claimed
    return Image(name=name, open=lambda: io.BytesIO(data), size=len(told), sha256=hashlib.sha256(told).hexdigest())


def content(disk: BlockDevice, **changed: Image) -> Content:
    """Return what is installed. State's maker writes through the same disk as mke2fs does."""
    counter = itertools.count(1)

    def make_state(*, offset: int, size: int) -> None:
        assert (offset, size) == (LAYOUT.number(layouts.STATE).offset_bytes, LAYOUT.number(layouts.STATE).size_bytes)
        disk.write(offset + 1024, STATE.ljust(2048, b"\0"))

    images = {"boot": image("boot.img", BOOT), "root": image("root.img", ROOT), **changed}
    return Content(
        loader=LOADER, make_state=make_state, guid=lambda: f"00000000-0000-4000-8000-{next(counter):012d}", **images
    )  # fmt: skip


def at(disk: BlockDevice, number: int, length: int, offset: int = 0) -> bytes:
    """Read from a partition."""
    return disk.read(LAYOUT.number(number).offset_bytes + offset, length)


def require_good(disk: BlockDevice) -> None:
    """See that the disk is a whole machine."""
    first = disk.read(0, MIB)
    assert first[:440] == LOADER.boot
    assert first[510:512] == b"\x55\xaa"
    assert is_berth(first)
    primary = gpt.decode(first[512:1024], first[1024 : 1024 + gpt.ARRAY_BYTES])
    tail = disk.read((SECTORS - layouts.GPT_SECTORS) * 512, layouts.GPT_SECTORS * 512)
    assert gpt.decode(tail[gpt.ARRAY_BYTES :], tail[: gpt.ARRAY_BYTES]) == primary
    assert len({entry.guid for entry in primary.entries.values()} | {primary.disk_guid}) == 10
    copies = tuple(at(disk, number, bootrecord.COPY_BYTES) for number in layouts.RECORDS)
    record = bootrecord.current((copies[0], copies[1]))
    assert record is not None
    assert (record.order, record.a.tries, record.a.good, record.b.tries) == (("a", "b"), 3, False, 0)
    assert at(disk, layouts.BOOTS["a"], len(BOOT)) == BOOT
    assert at(disk, layouts.ROOTS["a"], len(ROOT)) == ROOT
    assert at(disk, layouts.BIOS, len(LOADER.core)) == LOADER.core
    assert at(disk, layouts.ESP, len(LOADER.esp)) == LOADER.esp
    assert at(disk, layouts.BOOTS["b"], MIB) == bytes(MIB)
    assert at(disk, layouts.STATE, len(STATE), 1024) == STATE


def used_disk(**options: int | None) -> LossyDisk:
    """Return a disk on which other things were, in every place that counts."""
    disk = LossyDisk(SECTORS * 512, **options)  # type: ignore[arg-type]
    for partition in LAYOUT.partitions:
        disk.spoil(partition.offset_bytes, b"old!" * 1024)
        disk.spoil(partition.offset_bytes + partition.size_bytes - 4096, b"old!" * 1024)
    table = gpt.encode(gpt.Table(disk_guid="0" * 32, sectors=SECTORS, entries={}))
    disk.spoil(0, table.protective_mbr + table.primary)
    disk.spoil((SECTORS - layouts.GPT_SECTORS) * 512, table.backup)
    return disk


def test_a_whole_installation_is_a_good_disk() -> None:
    disk = used_disk()
    steps: list[str] = []
    install(disk, LAYOUT, content(disk), steps.append)
    disk.restart()
    require_good(disk)
    assert steps[0] == "marking the disk"
    assert steps[-1] == "partition table"
    assert at(disk, layouts.RECORDS[0], 512, layouts.PHASE_SECTOR * 512) == bytes(512)


def test_without_a_config_state_stays_blank_at_both_ends() -> None:
    disk = used_disk()
    plain = content(disk)
    install(
        disk, LAYOUT, Content(loader=plain.loader, boot=plain.boot, root=plain.root, make_state=None, guid=plain.guid)
    )
    state = LAYOUT.number(layouts.STATE)
    assert at(disk, layouts.STATE, MIB) == at(disk, layouts.STATE, MIB, state.size_bytes - MIB) == bytes(MIB)


def operations() -> int:
    """Count the writes and syncs of a whole installation."""
    disk = used_disk()
    install(disk, LAYOUT, content(disk))
    return disk.operations


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_cut_at_every_write_and_sync(seed: int) -> None:
    """The disk of before, or the mark, or the whole machine; and a second installation is possible after each."""
    kinds = set()
    before = used_disk().read(0, 512)
    for cut in range(1, operations() + 1):
        disk = used_disk(seed=seed * 1000 + cut, cut_at=cut)
        with pytest.raises(PowerCutError):
            install(disk, LAYOUT, content(disk))
        disk.restart()
        first = disk.read(0, 512)
        if first == before:
            kinds.add("before")
            assert at(disk, layouts.BOOTS["a"], 4) == b"old!"
        elif is_marked(first):
            kinds.add("half")
            if cut % 7 == seed:  # each seed tries others
                install(disk, LAYOUT, content(disk))
                require_good(disk)
        else:
            kinds.add("good")
            require_good(disk)
    assert kinds == {"before", "half", "good"}


def test_the_mark_is_nothing_that_firmware_starts() -> None:
    assert len(MARK) == 512
    assert MARK[510:] != b"\x55\xaa"
    assert is_marked(MARK + bytes(100))
    assert not is_marked(bytes(512))
    assert not is_blank(MARK.ljust(MIB, b"\0"), bytes(MIB))


@pytest.mark.parametrize("name", ["boot", "root"])
@pytest.mark.parametrize("damage", [BOOT[:-1] + b"X", BOOT[:-1], BOOT + b"X", b""])
def test_an_image_that_is_not_the_manifests_is_refused(name: str, damage: bytes) -> None:
    disk = used_disk()
    damaged = {name: image(f"{name}.img", damage, claimed=BOOT)}
    with pytest.raises(WriteError, match="the medium is damaged"):
        install(disk, LAYOUT, content(disk, **damaged))
    assert is_marked(disk.read(0, 512))


def test_an_image_larger_than_its_partition_is_refused() -> None:
    disk = used_disk()
    with pytest.raises(WriteError, match=r"root\.img has .* bytes, and its partition only"):
        install(disk, LAYOUT, content(disk, root=image("root.img", bytes(MIB + 1))))


class Forgetful(LossyDisk):
    """A drive that does not keep what it was told, in one place."""

    def __init__(self, size: int, bad: int) -> None:
        super().__init__(size)
        self._bad = bad

    def sync(self) -> None:
        super().sync()
        self.spoil(self._bad, b"rotten!!")


@pytest.mark.parametrize("partition", [layouts.BIOS, layouts.ESP, 3, 4, layouts.BOOTS["a"], layouts.ROOTS["a"]])
def test_a_drive_that_forgets_is_found_out_by_reading_back(partition: int) -> None:
    disk = Forgetful(SECTORS * 512, LAYOUT.number(partition).offset_bytes + 8)
    with pytest.raises(WriteError, match="does not read back"):
        install(disk, LAYOUT, content(disk))
    assert is_marked(disk.read(0, 512))


def test_boot_code_leaves_the_mbr_its_table() -> None:
    mbr = gpt.protective_mbr(SECTORS)
    made = first_sector(mbr, b"\x90" * 512)
    assert made[:440] == b"\x90" * 440
    assert made[440:] == mbr[440:]


NEWER = Loader(boot=b"\xec" * 440, core=b"CORE" * 6000, esp=b"ESP!" * 9001)


def test_renewing_the_loader_changes_nothing_else() -> None:
    disk = used_disk()
    table = install(disk, LAYOUT, content(disk))
    guid = table.entries[layouts.RECORDS[0]].guid
    assert has_record(table_of(disk), guid.lower())
    assert not has_record(table_of(disk), table.disk_guid)
    renew(disk, NEWER)
    assert disk.read(0, 440) == NEWER.boot
    assert at(disk, layouts.BIOS, len(NEWER.core)) == NEWER.core
    assert at(disk, layouts.ESP, len(NEWER.esp)) == NEWER.esp
    renew(disk, LOADER)
    disk.restart()
    require_good(disk)
    assert table_of(disk) == table


def test_a_loader_is_renewed_only_on_an_installed_disk() -> None:
    for disk in (LossyDisk(SECTORS * 512), used_disk()):
        written = disk.written
        with pytest.raises(ValueError, match=r"GPT|no place"):
            renew(disk, NEWER)
        assert disk.written == written


def test_a_loader_that_does_not_read_back_is_said() -> None:
    good = used_disk()
    install(good, LAYOUT, content(good))
    disk = Forgetful(SECTORS * 512, LAYOUT.number(layouts.ESP).offset_bytes + 8)
    disk.spoil(0, good.read(0, MIB))
    with pytest.raises(WriteError, match="does not read back"):
        renew(disk, NEWER)
