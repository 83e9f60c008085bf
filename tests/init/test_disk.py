"""The layout, number by number, and the partition tables that are made of it."""

from __future__ import annotations

import itertools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import disk, gpt

NUMBERS = ["bios", "esp", "record-0", "record-1", "boot-a", "boot-b", "root-a", "root-b", "state"]


def table(layout: disk.Layout) -> gpt.Table:
    entries = {
        part.number: gpt.Entry(
            type_guid=part.type_guid,
            guid=f"00000000-0000-0000-0000-{part.number:012X}",
            first=part.first,
            last=part.last,
            name=part.name,
        )
        for part in layout.partitions
    }
    return gpt.Table(disk_guid=disk.TYPE_RECORD, sectors=layout.sectors, entries=entries)


@given(st.integers(0, 1 << 33), st.integers(1, 4096))
def test_partitions_lie_in_order_on_mebibytes_and_inside_the_disk(extra: int, root_mib: int) -> None:
    sectors = disk.smallest_mib(root_mib=root_mib) * disk.SECTORS_PER_MIB + extra
    layout = disk.lay_out(sectors, root_mib=root_mib)
    assert [part.name for part in layout.partitions] == NUMBERS
    assert [part.number for part in layout.partitions] == list(range(1, 10))
    assert all(part.first % disk.SECTORS_PER_MIB == 0 for part in layout.partitions)
    assert all(a.last < b.first for a, b in itertools.pairwise(layout.partitions))
    assert layout.partitions[0].first >= disk.FIRST_USABLE
    state = layout.number(disk.STATE)
    assert state.last < sectors - disk.GPT_SECTORS
    assert state.size_bytes >= 64 * disk.MIB
    assert sectors - state.last <= 2 * disk.SECTORS_PER_MIB + disk.GPT_SECTORS


def test_a_disk_one_sector_too_small_is_refused_with_both_sizes() -> None:
    smallest = disk.smallest_mib()
    disk.lay_out((smallest - 1) * disk.SECTORS_PER_MIB + disk.GPT_SECTORS)
    with pytest.raises(ValueError, match=f"{smallest - 1} MiB is too small: {smallest} MiB"):
        disk.lay_out((smallest - 1) * disk.SECTORS_PER_MIB + disk.GPT_SECTORS - 1)


def test_the_record_and_the_phase_never_share_a_physical_block() -> None:
    assert disk.RECORD_SECTOR // 8 != disk.PHASE_SECTOR // 8
    assert disk.PHASE_SECTOR < disk.SECTORS_PER_MIB


def test_state_is_alone_in_its_sector_of_the_array() -> None:
    per_sector = gpt.SECTOR // gpt.ENTRY_BYTES
    sectors = [(number - 1) // per_sector for number in range(1, 10)]
    assert sectors.count((disk.STATE - 1) // per_sector) == 1


@given(st.integers(0, 1 << 40))
def test_a_table_is_read_back_from_primary_and_backup(extra: int) -> None:
    layout = disk.lay_out(disk.smallest_mib() * disk.SECTORS_PER_MIB + extra)
    written = gpt.encode(table(layout))
    assert len(written.primary) == len(written.backup) == disk.GPT_SECTORS * disk.SECTOR
    assert gpt.decode(written.primary[:512], written.primary[512:]) == table(layout)
    assert gpt.decode(written.backup[-512:], written.backup[:-512]) == table(layout)


@given(st.integers(0, 92 * 8 - 1), st.integers(0, gpt.ARRAY_BYTES * 8 - 1))
def test_a_flipped_bit_is_noticed(in_header: int, in_array: int) -> None:
    written = gpt.encode(table(disk.lay_out(disk.smallest_mib() * disk.SECTORS_PER_MIB))).primary
    for bit in (in_header, 512 * 8 + in_array):
        damaged = bytearray(written)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match="GPT"):
            gpt.decode(bytes(damaged[:512]), bytes(damaged[512:]))


@given(st.binary(max_size=600), st.binary(max_size=gpt.ARRAY_BYTES))
def test_noise_is_refused(header: bytes, array: bytes) -> None:
    with pytest.raises(ValueError, match="GPT"):
        gpt.decode(header, array)


@given(st.uuids())
def test_guids_are_written_as_uefi_wants_them(value: uuid.UUID) -> None:
    entry = gpt.Entry(type_guid=str(value).upper(), guid=disk.TYPE_ESP, first=34, last=40, name="x")
    written = gpt.encode(gpt.Table(disk_guid=str(value).upper(), sectors=1000, entries={1: entry})).primary
    assert written[512 : 512 + 16] == written[56:72] == value.bytes_le
    assert gpt.decode(written[:512], written[512:]).entries[1].type_guid == str(value).upper()


def test_growing_changes_the_last_entry_and_the_disk_alone() -> None:
    small = disk.lay_out(disk.smallest_mib() * disk.SECTORS_PER_MIB)
    large = disk.lay_out(small.sectors * 3)
    grown = gpt.grown(table(small), sectors=large.sectors, number=disk.STATE, last=large.number(disk.STATE).last)
    assert grown == table(large)
    first = small.number(disk.STATE).first
    assert disk.state_sectors(large.sectors, first) == large.number(disk.STATE).sectors
