"""The door to block devices: the real body on a file, parts, and the promises of the fake that forgets."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.blockdevice.device import SECTOR, BlockDevice, Part, padded
from init.blockdevice.direct import CHUNK, DirectDevice
from tests.fakes.blockdevice import LossyDisk, PowerCutError


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(3 * CHUNK))
    return path


def test_what_is_written_is_read_back_across_chunks(image: Path) -> None:
    data = bytes(range(256)) * (2 * CHUNK // 256) + padded(b"end")
    with DirectDevice(str(image), writable=True) as device:
        device.write(SECTOR, data)
        device.sync()
        assert device.read(SECTOR, len(data)) == data
        assert device.size == 3 * CHUNK
    assert image.read_bytes()[SECTOR : SECTOR + len(data)] == data


def test_a_read_may_begin_anywhere_and_is_short_at_the_end(image: Path) -> None:
    image.write_bytes(bytes(SECTOR) + b"0123456789".ljust(SECTOR, b"."))
    with DirectDevice(str(image)) as device:
        assert device.read(SECTOR + 3, 4) == b"3456"
        assert device.read(2 * SECTOR - 2, 100) == b".."
        assert device.read(5 * SECTOR, 10) == b""


@pytest.mark.parametrize(("offset", "length"), [(1, SECTOR), (0, 100), (-SECTOR, SECTOR)])
def test_what_is_no_whole_sector_is_refused(image: Path, offset: int, length: int) -> None:
    with DirectDevice(str(image), writable=True) as device, pytest.raises(ValueError, match="whole sectors"):
        device.write(offset, bytes(length))


def test_a_write_beyond_the_end_names_the_device(image: Path) -> None:
    with DirectDevice(str(image), writable=True) as device, pytest.raises(OSError, match=r"disk\.img") as caught:
        device.write(3 * CHUNK, bytes(SECTOR))
    assert caught.value.errno == 28


def test_what_is_no_block_device_is_refused() -> None:
    with pytest.raises(OSError, match="/dev/null"):
        DirectDevice("/dev/null")


def test_a_part_keeps_to_itself(image: Path) -> None:
    with DirectDevice(str(image), writable=True) as whole:
        part: BlockDevice = Part(whole, CHUNK, 2 * SECTOR, "record-0")
        part.write(SECTOR, b"x" * SECTOR)
        assert whole.read(CHUNK + SECTOR, SECTOR) == b"x" * SECTOR
        assert part.read(SECTOR, 10 * SECTOR) == b"x" * SECTOR
        with pytest.raises(OSError, match="record-0"):
            part.write(SECTOR, bytes(2 * SECTOR))


# The fake ---------------------------------------------------------------------------------------------------


@given(st.integers(0, 1000))
def test_what_was_synced_stays_and_what_was_not_is_old_or_new_by_sector(seed: int) -> None:
    disk = LossyDisk(16 * SECTOR, seed=seed)
    disk.write(0, b"1" * 8 * SECTOR)
    disk.sync()
    disk.write(0, b"2" * 4 * SECTOR)
    disk.restart()
    for sector in range(4):
        assert disk.read(sector * SECTOR, SECTOR) in (b"1" * SECTOR, b"2" * SECTOR)
    assert disk.read(4 * SECTOR, 4 * SECTOR) == b"1" * 4 * SECTOR


def test_writes_are_lost_torn_and_reordered_by_some_seed() -> None:
    outcomes = set()
    for seed in range(200):
        disk = LossyDisk(2 * SECTOR, seed=seed)
        disk.write(0, b"1" * 2 * SECTOR)
        disk.write(0, b"2" * SECTOR)
        disk.restart()
        outcomes.add((disk.read(0, 1), disk.read(SECTOR, 1)))
    assert {(b"\0", b"\0"), (b"\0", b"1"), (b"2", b"\0"), (b"1", b"1"), (b"2", b"1")} <= outcomes


def test_it_begins_as_another_disk_ended_and_leaves_that_one_alone() -> None:
    first = LossyDisk(4 * SECTOR)
    first.write(0, b"1" * SECTOR)
    first.sync()
    content = first.content()
    second = LossyDisk(4 * SECTOR, content=content)
    second.write(0, b"2" * SECTOR)
    second.sync()
    assert (content.read(0, 1), first.read(0, 1), second.read(0, 1)) == (b"1", b"1", b"2")


def test_the_power_goes_at_the_chosen_operation_and_stays_away() -> None:
    disk = LossyDisk(4 * SECTOR, cut_at=2)
    disk.write(0, b"1" * SECTOR)
    with pytest.raises(PowerCutError):
        disk.sync()
    with pytest.raises(PowerCutError):
        disk.read(0, SECTOR)
    disk.restart()
    disk.write(0, b"3" * SECTOR)
    disk.sync()
    assert disk.read(0, 1) == b"3"
