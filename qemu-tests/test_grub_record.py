"""GRUB's script itself against `bootrecord.decide`: records and damages, on both firmwares.

The disk has no boot images, so that a case costs a firmware's start and no kernel: GRUB says which slot it counted
and tries to load, or why it goes to rescue, and the two record partitions are compared to the byte. Between cases
the sectors are written from outside and the guest is reset. All cases come from one seed.
"""

from __future__ import annotations

import itertools
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from grubguest import Guest

from builder.artifact import esp, iso, raw
from builder.grub import core
from builder.image import SlotImage
from builder.tools.call import Tools
from init.formats import bootrecord, disk
from init.formats.bootrecord import COPY_BYTES, Record, SlotState, decide, encode
from init.formats.release import Release

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

SEED = 20261125
ALL = bool(os.environ.get("BERTH_TEST_ALL"))
CASES = {"bios": 400 if ALL else 40, "uefi": 150 if ALL else 14}
SAID = re.compile(
    rb"Berth: slot ([ab]), ([0-3]) more tries\.|Berth: no kernel on this disk can be loaded \(([a-z-]+)\)"
)


def _poke(copy: bytes, offset: int, data: bytes) -> bytes:
    return copy[:offset] + data + copy[offset + len(data) :]


def _swap(old: bytes, new: bytes) -> Callable[[bytes, random.Random], bytes]:
    return lambda copy, _: copy.replace(old, new)[:COPY_BYTES].ljust(COPY_BYTES, b"#")


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "sound": lambda copy, _: copy,
    "no header": lambda copy, _: bytes(disk.SECTOR) + copy[disk.SECTOR :],
    "name in the header": lambda copy, _: _poke(copy, 2, b"X"),
    "magic in the header": lambda copy, _: _poke(copy, 257, b"X"),
    "checksum in the header": lambda copy, _: _poke(copy, 148, b"777777"),
    "signature": lambda copy, _: _poke(copy, disk.SECTOR, b"X"),
    "tail's end": lambda copy, _: _poke(copy, COPY_BYTES - 1, b"\0"),
    "tail's middle": lambda copy, _: _poke(copy, COPY_BYTES - 100, b"\n"),
    "half written": lambda copy, chance: copy[: disk.SECTOR + 256] + chance.randbytes(256),
    "check": _swap(b"check=1/", b"check=2/"),
    "no check": _swap(b"check=", b"chick="),
    "operator for a check": lambda copy, _: re.sub(rb"check=[^\n]*", b"check=(", copy).ljust(COPY_BYTES, b"#"),
    "a value": _swap(b"\nseq=", b"\nseq=7"),
    "a name": _swap(b"\ngood_b=", b"\ngoXd_b="),
    "a key twice": _swap(b"\ncheck=", b"\nseq=7\ncheck="),
    "lost newline": _swap(b"\ntries_a", b"#tries_a"),
    "carriage returns": _swap(b"\n", b"\r\n"),
    "foreign variables": _swap(b"\ncheck=", b"\nroot=hd9\nprefix=(hd9)/x\ndisk=hd9\ncheck="),
    "backslashes": _swap(b"\ncheck=", b"\nx=\\\\\\\n\\\ncheck="),
    "zeros": lambda copy, _: copy[: disk.SECTOR] + bytes(disk.SECTOR),
    "ones": lambda copy, _: copy[: disk.SECTOR] + b"\xff" * disk.SECTOR,
    "noise": lambda copy, chance: copy[: disk.SECTOR] + chance.randbytes(disk.SECTOR),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Two copies, and what was done to them."""

    name: str
    copies: tuple[bytes, bytes]


def cases(count: int, seed: int) -> Iterator[Case]:
    """Give `count` cases: every damage once on each side, the rest by chance, four of ten copies damaged."""
    chance = random.Random(seed)
    sides = [(name, "sound") for name in DAMAGES] + [("sound", name) for name in DAMAGES]
    sides += list(itertools.product(("tail's end", "signature", "half written"), repeat=2))
    chance.shuffle(sides)
    for index in range(count):
        names = sides[index] if index < len(sides) else tuple(_damage(chance) for _ in range(2))
        sequence = chance.randrange(3)
        copies = []
        for name, step in zip(names, chance.choice(((0, 1), (1, 0), (0, 0))), strict=True):
            record = replace(_record(chance), sequence=(sequence + step) % 3)
            copies.append(DAMAGES[name](encode(record), chance))
        yield Case(name=f"{index}: {names[0]} / {names[1]}", copies=(copies[0], copies[1]))


def _damage(chance: random.Random) -> str:
    return chance.choice(list(DAMAGES)) if chance.random() < 0.4 else "sound"


def _record(chance: random.Random) -> Record:
    states = [SlotState(tries=chance.choice((0, 1, 2, 3)), good=chance.random() < 0.5) for _ in range(2)]
    order = chance.choice((("a", "b"), ("b", "a")))
    return Record(sequence=0, order=order, a=states[0], b=states[1])


@pytest.fixture(scope="module")
def empty_disk(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, disk.Layout]:
    """Return a disk with Berth's loader and layout, and nothing in its slots."""
    loader = core.disk_loader(tools)
    layout = disk.lay_out(disk.smallest_mib() * disk.SECTORS_PER_MIB)
    path = tmp_path_factory.mktemp("grub") / "disk.raw"
    volume = esp.make_esp(
        tools, {esp.FALLBACK: loader.efi}, size=layout.number(disk.ESP).size_bytes, epoch=0, volume_id=1
    )
    with path.open("w+b") as file:
        file.truncate(layout.sectors * disk.SECTOR)
        raw.write_tables(file, layout, "0" * 64, loader)
        file.seek(layout.number(disk.ESP).offset_bytes)
        file.write(volume)
    return path, layout


def expected_of(decision: bootrecord.Decision) -> str:
    if decision.slot is None or decision.record is None:
        return decision.why
    return f"{decision.slot} {decision.record.slot(decision.slot).tries}"


def decided_by(guest: Guest) -> str:
    slot, tries, why = guest.wait_for(SAID).groups()
    return why.decode() if why else f"{slot.decode()} {tries.decode()}"


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_grub_decides_what_the_model_decides(
    firmware: str, tools: Tools, empty_disk: tuple[Path, disk.Layout], tmp_path: Path
) -> None:
    image, layout = empty_disk
    guest = Guest(tools, firmware, image, tmp_path)
    differing = []
    try:
        for case in cases(CASES[firmware], SEED + len(firmware)):
            decision = decide(case.copies)
            guest.start_with(case.copies, layout)
            decided = decided_by(guest)
            wanted = bootrecord.applied(case.copies, decision.writes)
            if decided != expected_of(decision) or guest.copies(layout) != wanted:
                differing.append(f"{case.name}: expected {expected_of(decision)}, GRUB {decided}")
    finally:
        guest.close()
    assert not differing, "\n".join(differing)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
@pytest.mark.parametrize("refused", [{0}, {1}, {0, 1}])
def test_a_sector_that_the_drive_does_not_write(
    firmware: str, refused: set[int], tools: Tools, empty_disk: tuple[Path, disk.Layout], tmp_path: Path
) -> None:
    image, layout = empty_disk
    sectors = tuple(layout.number(disk.RECORDS[copy]).first + disk.RECORD_SECTOR for copy in sorted(refused))
    guest = Guest(tools, firmware, image, tmp_path, refused=sectors)
    try:
        for sequences in ((0, 1), (1, 0)) if len(refused) == 1 else ((0, 1),):
            record = bootrecord.fresh("a")
            copies = tuple(encode(replace(record, sequence=sequence)) for sequence in sequences)
            pair = (copies[0], copies[1])
            decision = decide(pair, refused=frozenset(refused))
            guest.start_with(pair, layout)
            assert decided_by(guest) == expected_of(decision)
            assert guest.copies(layout) == bootrecord.applied(pair, decision.writes)
    finally:
        guest.close()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_where_nothing_loads_it_says_so_and_starts_again_after_five_minutes(
    firmware: str, tools: Tools, empty_disk: tuple[Path, disk.Layout], tmp_path: Path
) -> None:
    """By the guest's clock, which runs ahead: a start takes 91 s of it with BIOS, 731 s with UEFI.

    So BIOS alone shows that the wait is no shorter, and both that it ends.
    """
    image, layout = empty_disk
    spent = bootrecord.Record(sequence=0, order=("a", "b"), a=SlotState(tries=0, good=True), b=SlotState(tries=0))
    guest = Guest(tools, firmware, image, tmp_path, counted=True)
    try:
        guest.start_with((encode(spent), encode(spent)), layout)
        assert decided_by(guest) == "no-tries"
        guest.wait_for(re.compile(rb"It tries again in 5\s+minutes\."))
        assert guest.wait_for_reset() == "guest-reset"
        assert guest.clock() - guest.began >= 300
        assert decided_by(guest) == "no-tries"
    finally:
        guest.close()


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_damaged_iso_says_so_and_starts_again(firmware: str, tools: Tools, tmp_path: Path) -> None:
    """As a stick; its boot image is noise. GRUB's prompt would wait for ever."""
    release = Release(name="t", version="1", machine_class="t-amd64", engine="crun", kernel="6", epoch=1)
    root_hash = "ab" * 32
    noise = tmp_path / "noise.img"
    noise.write_bytes(random.Random(SEED).randbytes(100_000))
    slot = SlotImage(
        boot=noise, root=noise, vmlinuz=noise, initramfs=noise, root_hash=root_hash, hash_offset=4096, cmdline=""
    )
    made = iso.write_iso(
        slot=slot, release=release, manifest=b"{}", loader=core.iso_loader(tools, root_hash=root_hash, title="test"),
        tools=tools, out=tmp_path / "t.iso",
    )  # fmt: skip
    guest = Guest(tools, firmware, made.path, tmp_path, counted=True)
    try:
        guest.start()
        guest.wait_for(re.compile(rb"this\s+medium\s+cannot\s+be\s+started"))
        assert guest.wait_for_reset() == "guest-reset"
        guest.wait_for(re.compile(rb"this\s+medium\s+cannot\s+be\s+started"))
    finally:
        guest.close()
