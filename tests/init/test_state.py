"""State, identity, labels: the rules by themselves."""

from __future__ import annotations

import errno
import hashlib

from fakes import machine
from fakes.system import FakeSystem
from hypothesis import given
from hypothesis import strategies as st

from init.formats import disk, gpt
from init.formats.verity import has_root, parse_superblock
from init.pid1 import identity, settings, state, verity
from init.pid1.linux.devicemapper import encode_table
from init.pid1.linux.modules import parse_uevent

MIB = 1 << 20


@given(st.integers(0, MIB - 1), st.booleans())
def test_one_byte_makes_a_partition_not_blank(position: int, at_the_end: bool) -> None:
    marked = bytearray(MIB)
    marked[position] = 1
    pair = (bytes(MIB), bytes(marked)) if at_the_end else (bytes(marked), bytes(MIB))
    assert not state.is_blank(*pair)


def test_blank_is_two_whole_mib_of_zeroes() -> None:
    assert state.is_blank(bytes(MIB), bytes(MIB))
    assert not state.is_blank(bytes(MIB), bytes(MIB - 1))
    assert not state.is_blank(b"", b"")


@given(st.integers(64, 1000), st.integers(0, 100_000))
def test_growth_reaches_the_last_whole_mib_and_keeps_all_else(state_mib: int, more: int) -> None:
    before = machine.table(disk.smallest_mib(state_mib=state_mib) * 2048)
    sectors = before.sectors + more
    growth = state.plan_growth(before, "/dev/vda", "/dev/vda9", sectors * 512)
    if growth is None:
        assert more < 2048
        return
    (backup_at, backup), (primary_at, primary) = growth.writes
    assert primary_at == 512
    assert backup_at + len(backup) == sectors * 512
    after = gpt.decode(primary[:512], primary[512:])
    assert after == gpt.decode(backup[gpt.ARRAY_BYTES :], backup[: gpt.ARRAY_BYTES])
    for number, entry in before.entries.items():
        if number != disk.STATE:
            assert after.entries[number] == entry
    grown = after.entries[disk.STATE]
    assert grown.first == before.entries[disk.STATE].first
    assert grown.last > before.entries[disk.STATE].last
    assert grown.last < sectors - disk.GPT_SECTORS
    assert (growth.start, growth.length) == (grown.first * 512, (grown.last - grown.first + 1) * 512)


def test_a_table_that_is_not_berths_never_grows() -> None:
    table = machine.table()
    foreign = gpt.Table(disk_guid=table.disk_guid, sectors=table.sectors, entries={1: table.entries[9]})
    assert state.plan_growth(foreign, "/dev/sda", "/dev/sda1", 1 << 40) is None


def test_a_partition_behind_state_keeps_it_from_growing() -> None:
    table = machine.table(state_sectors=64 * 2048)
    first, last = table.entries[9].last + 1, table.sectors - 99
    behind = gpt.Entry(type_guid=disk.TYPE_LINUX, guid=table.disk_guid, first=first, last=last, name="x")
    entries = {**table.entries, 10: behind}
    crowded = gpt.Table(disk_guid=table.disk_guid, sectors=table.sectors, entries=entries)
    assert state.plan_growth(crowded, "/dev/sda", "/dev/sda9", 1 << 40) is None


def test_state_is_unmounted_after_what_shows_it() -> None:
    order = state.unmount_order()
    assert order[-1] == state.PLACE
    assert set(order[:-1]) == {"/var", "/home", "/root", "/srv", "/opt", "/usr/local", "/mnt"}


def test_where_the_image_has_files_of_its_own_state_is_laid_over_them() -> None:
    system = FakeSystem()
    system.tree.fill({state.PLACE: None, "/opt/vendor/tool": b"from the image"})
    system.tree.fill({place: None for _, place, _ in state.FOLDERS})
    problems = state.spread(system, state.StateMount(kind="ext4", device="/dev/vda9", fresh=True, problem=None))
    assert problems == ()
    assert system.mounted["/opt"] == ("overlay", "overlay")
    assert system.mounted["/srv"] == (f"{state.PLACE}/srv", "bind")


@given(st.binary(min_size=16, max_size=16))
def test_a_made_machine_id_is_one(random: bytes) -> None:
    made = identity.new_machine_id(random)
    assert identity.is_machine_id(made)
    assert made[12] == "4"


@given(st.integers(0, 2**40), st.one_of(st.binary(max_size=30), st.integers(0, 2**40).map(lambda n: b"%d\n" % n)))
def test_the_clocks_floor_is_never_below_the_release_and_never_nonsense(epoch: int, stamp: bytes) -> None:
    floor = identity.clock_floor(epoch, stamp)
    assert floor >= epoch
    assert floor == epoch or floor == int(stamp)


def test_a_seed_is_replaced_before_it_is_used() -> None:
    system = FakeSystem()
    system.tree.fill({identity.SEED: bytes(512)})
    identity.use_seed(system)
    names = [call.name for call in system.calls]
    assert names.index("replace") < names.index("add_entropy")
    assert system.tree.get(identity.SEED) != bytes(512)


def test_only_small_machines_give_up_huge_pages() -> None:
    assert [setting.value for setting in settings.for_memory(1 << 30)[:2]] == ["madvise", "4096"]
    assert settings.for_memory(64 << 20)[1].value == "1024"  # what the kernel itself begins with
    assert settings.for_memory(8 << 30) == ()
    assert settings.for_memory(0) == ()


def test_verity_superblock_and_root_hash() -> None:
    whole, root_hash = machine.image()
    superblock = parse_superblock(whole[machine.OFFSET :])
    assert superblock is not None
    top = whole[machine.OFFSET + 4096 :][:4096]
    assert has_root(superblock, machine.OFFSET, top, root_hash)
    assert not has_root(superblock, machine.OFFSET, top[:-1] + b"\1", root_hash)
    assert not has_root(superblock, machine.OFFSET - 4096, top, root_hash), "the tree would lie in the data"
    assert root_hash == hashlib.sha256(machine.SALT + top).hexdigest()
    (row,) = verity.table(superblock, "/dev/vda7", machine.OFFSET, root_hash)
    assert row.length == machine.OFFSET // 512
    assert row.parameters == (
        f"1 /dev/vda7 /dev/vda7 4096 4096 {machine.DATA_BLOCKS} {machine.DATA_BLOCKS + 1} sha256 {root_hash} "
        f"{machine.SALT.hex()} 2 panic_on_corruption panic_on_error"
    )


@given(st.binary(max_size=600))
def test_any_bytes_are_a_superblock_or_none(data: bytes) -> None:
    parse_superblock(b"verity\0\0" + data)


def test_a_device_mapper_row_is_padded_and_says_where_the_next_begins() -> None:
    whole, root_hash = machine.image()
    superblock = parse_superblock(whole[machine.OFFSET :])
    assert superblock is not None
    data = encode_table(verity.table(superblock, "/dev/vda7", machine.OFFSET, root_hash))
    assert len(data) % 8 == 0
    assert int.from_bytes(data[20:24], "little") == len(data)
    assert data[24:40] == b"verity".ljust(16, b"\0")
    assert data[40:].rstrip(b"\0").endswith(b"panic_on_error")


@given(st.binary(max_size=300))
def test_any_message_is_a_uevent_or_none(data: bytes) -> None:
    parse_uevent(data)


def test_a_uevent() -> None:
    event = parse_uevent(b"add@/devices/x/block/vda\0ACTION=add\0DEVNAME=vda\0SUBSYSTEM=block\0")
    assert event is not None
    assert (event.action, event.path) == ("add", "/devices/x/block/vda")
    assert event.variables["DEVNAME"] == "vda"
    assert parse_uevent(b"libudev\0\xfe\xed\xca\xfe") is None


def test_what_the_image_has_for_a_folder_of_state_is_there_after_a_boot() -> None:
    system = FakeSystem()
    tree = {f"/usr/share/factory{place}/from-image": b"image" for _, place, _ in state.FOLDERS}
    system.tree.fill({**tree, f"{state.PLACE}/usr-local/from-image": b"mine", **{p: None for _, p, _ in state.FOLDERS}})
    memory = state.StateMount(kind="memory", device=None, fresh=True, problem=None)
    assert state.spread(system, memory) == ()
    kept = {name: system.read(f"{state.PLACE}/{name}/from-image") for name, _, _ in state.FOLDERS}
    assert kept.pop("usr-local") == b"mine"
    assert set(kept.values()) == {b"image"}


def test_a_disk_that_is_full_shows_what_it_has() -> None:
    """What an image adds finds no room there; the configuration and the keys are needed all the same."""
    system = FakeSystem()
    tree = {f"/usr/share/factory{place}/from-image": b"image" for _, place, _ in state.FOLDERS}
    kept = {f"{state.PLACE}/{name}/kept": b"mine" for name, _, _ in state.FOLDERS}
    system.tree.fill({**tree, **kept, **{place: None for _, place, _ in state.FOLDERS}})

    def full(source: str, target: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    system.fill_tree = full  # type: ignore[method-assign]
    disk = state.StateMount(kind="ext4", device="/dev/vda9", fresh=False, problem=None)
    problems = state.spread(system, disk)
    assert len(problems) == len(state.FOLDERS)
    assert all("No space left on device" in problem for problem in problems)
    for _, place, _ in state.FOLDERS:
        assert system.read(f"{place}/kept") == b"mine"
