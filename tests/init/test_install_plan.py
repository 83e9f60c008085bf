"""Which disk an installation may have: the rules as properties over generated machines, and each case by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from init.formats import disk as layouts
from init.installer.plan import Disk, Plan, Refusal, Request, holds_data, plan, sized, unsuitable

NEEDED = layouts.smallest_mib() * layouts.MIB
EMPTY = Disk(path="/dev/sda", size=NEEDED, serial="A", is_blank=True)
OTHER = Disk(path="/dev/sdb", size=2 * NEEDED, serial="B", is_blank=True)
FULL = replace(OTHER, is_blank=False)

disks = st.builds(
    Disk,
    path=st.just(""),
    size=st.sampled_from((0, NEEDED - layouts.MIB, NEEDED, 2 * NEEDED)),
    sector=st.sampled_from((512, 512, 512, 4096)),
    serial=st.sampled_from(("", "A", "B", "C")),
    wwid=st.sampled_from(("", "", "w1", "w2")),
    removable=st.booleans(),
    read_only=st.sampled_from((False, False, True)),
    is_medium=st.sampled_from((False, False, True)),
    is_array=st.sampled_from((False, False, True)),
    member=st.sampled_from(("", "", "a RAID array")),
    used=st.sampled_from(((), (), ("mounted at /x",))),
    is_blank=st.booleans(),
    is_interrupted=st.sampled_from((False, False, True)),
    is_berth=st.booleans(),
    is_readable=st.sampled_from((True, True, False)),
)
machines = st.lists(disks, max_size=4).map(
    lambda found: tuple(replace(one, path=f"/dev/sd{'abcd'[number]}") for number, one in enumerate(found))
)
requests = st.builds(
    Request,
    disk=st.sampled_from(
        ("only-empty", "smallest", "largest", "/dev/sda", "/dev/sdb", "/dev/zz", "serial:A", "serial:")
    ),
    wipe=st.sampled_from((None, "", "A", "B")),
)


@given(machine=machines, request=requests)
def test_whatever_is_asked_for_no_rule_is_broken(machine: tuple[Disk, ...], request: Request) -> None:
    outcome = plan(machine, request)
    if isinstance(outcome, Refusal):
        assert outcome.reason
        return
    chosen = outcome.disk
    assert chosen in machine
    assert not chosen.is_medium
    assert not chosen.is_array
    assert not chosen.member
    assert not chosen.read_only
    assert not chosen.used
    assert chosen.is_readable
    assert chosen.sector == 512
    assert chosen.size >= NEEDED
    assert sum(bool(one.wwid) and one.wwid == chosen.wwid for one in machine) <= 1
    assert chosen.is_blank or chosen.is_interrupted or (chosen.serial and chosen.serial == request.wipe)
    assert outcome.destroys is holds_data(chosen)
    assert outcome.layout.sectors == chosen.size // 512
    if request.disk in ("only-empty", "smallest", "largest"):
        assert not chosen.removable


@given(machine=machines, request=requests)
def test_it_never_chooses_among_several(machine: tuple[Disk, ...], request: Request) -> None:
    """Whatever disk was chosen, the same machine without it gets no other one by the same words, but for by size."""
    outcome = plan(machine, request)
    if isinstance(outcome, Plan) and request.disk == "only-empty":
        rest = tuple(one for one in machine if one is not outcome.disk)
        assert isinstance(plan(rest, request), Refusal)


@given(machine=machines, request=requests)
def test_the_order_in_which_the_kernel_found_them_does_not_matter(machine: tuple[Disk, ...], request: Request) -> None:
    outcomes = [plan(order, request) for order in (machine, machine[::-1], machine[1:] + machine[:1])]
    assert len({outcome.disk.path if isinstance(outcome, Plan) else None for outcome in outcomes}) == 1


@given(machine=machines)
def test_a_disk_that_is_refused_is_refused_by_name(machine: tuple[Disk, ...]) -> None:
    for one in machine:
        outcome = plan(machine, Request(disk=one.path))
        if isinstance(outcome, Refusal):
            assert one.path in outcome.reason
            assert outcome.disk == one


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"is_medium": True}, "started from"),
        ({"is_array": True}, "RAID, multipath"),
        ({"member": "a RAID array"}, "a member of a RAID array"),
        ({"sector": 4096}, "sectors are 4096 bytes"),
        ({"read_only": True}, "read-only"),
        ({"is_readable": False}, "can't be read"),
        ({"used": ("mounted at /mnt",)}, "mounted at /mnt"),
        ({"size": NEEDED - layouts.MIB}, f"{layouts.smallest_mib()} MiB"),
    ],
)
def test_what_is_unsuitable_stays_so_whatever_is_named(wrong: dict[str, object], words: str) -> None:
    disk = replace(EMPTY, **wrong)  # type: ignore[arg-type]
    for asked in ("only-empty", "/dev/sda", "serial:A"):
        outcome = plan((disk,), Request(disk=asked, wipe="A"))
        assert isinstance(outcome, Refusal)
        assert words in outcome.reason
        assert "/dev/sda" in outcome.reason


def test_two_empty_disks_are_both_named_and_neither_is_taken() -> None:
    outcome = plan((EMPTY, OTHER), Request(disk="only-empty"))
    assert isinstance(outcome, Refusal)
    assert "/dev/sda" in outcome.reason
    assert "serial B" in outcome.reason


def test_data_is_kept_unless_the_serial_number_is_named() -> None:
    outcome = plan((FULL,), Request(disk="/dev/sdb"))
    assert isinstance(outcome, Refusal)
    assert "it holds data" in outcome.reason
    assert "wipe: B" in outcome.hint
    assert isinstance(plan((FULL,), Request(disk="/dev/sdb", wipe="A")), Refusal)
    wiped = plan((FULL,), Request(disk="/dev/sdb", wipe="B"))
    assert isinstance(wiped, Plan)
    assert wiped.destroys


def test_a_disk_without_a_serial_number_cannot_be_wiped() -> None:
    outcome = plan((replace(FULL, serial=""),), Request(disk="/dev/sdb", wipe=""))
    assert isinstance(outcome, Refusal)
    assert "no serial number" in outcome.hint


def test_an_installed_machine_is_called_so() -> None:
    outcome = plan((replace(FULL, is_berth=True), EMPTY), Request(disk="largest"))
    assert isinstance(outcome, Refusal)
    assert "a Berth machine is installed" in outcome.reason


def test_an_interrupted_installation_begins_anew() -> None:
    half = replace(FULL, is_interrupted=True)
    outcome = plan((half,), Request(disk="only-empty"))
    assert isinstance(outcome, Plan)
    assert "interrupted" in outcome.reason
    assert not outcome.destroys


def test_the_largest_is_the_largest_and_no_other_in_its_place() -> None:
    assert isinstance(plan((EMPTY, FULL), Request(disk="largest")), Refusal)
    smallest = plan((EMPTY, FULL), Request(disk="smallest"))
    assert isinstance(smallest, Plan)
    assert smallest.disk is EMPTY
    twins = plan((EMPTY, replace(OTHER, size=EMPTY.size)), Request(disk="smallest"))
    assert isinstance(twins, Refusal)
    assert "2 disks are the smallest" in twins.reason


def test_two_paths_to_one_disk_are_multipath() -> None:
    paths = (replace(EMPTY, wwid="w"), replace(EMPTY, path="/dev/sdb", wwid="w"))
    for asked in ("only-empty", "/dev/sda", "serial:A"):
        outcome = plan(paths, Request(disk=asked))
        assert isinstance(outcome, Refusal)
        assert "multipath" in outcome.reason


def test_a_stick_is_taken_only_by_name() -> None:
    stick = replace(EMPTY, removable=True)
    outcome = plan((stick,), Request(disk="only-empty"))
    assert isinstance(outcome, Refusal)
    assert "removable" in outcome.reason
    assert isinstance(plan((stick,), Request(disk="serial:A")), Plan)


def test_a_machine_without_disks_says_so() -> None:
    for asked in ("only-empty", "smallest", "/dev/sda"):
        outcome = plan((), Request(disk=asked))
        assert isinstance(outcome, Refusal)
        assert "no disk" in outcome.reason


def test_a_recipe_with_larger_roots_needs_a_larger_disk() -> None:
    assert unsuitable(EMPTY, (EMPTY,), Request(disk="only-empty", root_mib=2048)) is not None


def test_sizes_are_those_on_the_box() -> None:
    assert sized(1_000_204_886_016) == "1000 GB"
    assert sized(7_900_000_000) == "7.9 GB"
