"""GRUB's script itself against `bootrecord.decide`: records and damages, on both firmwares.

The disk has no boot images, so that a case costs a firmware's start and no kernel: GRUB says which slot it counted
and tries to load, or why it goes to rescue, and the two record partitions are compared to the byte. Between cases
the sectors are written from outside and the guest is reset. All cases come from one seed.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
import select
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from builder.artifact import esp, raw
from builder.grub import core
from builder.tools.call import Tools
from init.formats import bootrecord, disk
from init.formats.bootrecord import COPY_BYTES, Record, SlotState, decide, encode

pytestmark = [pytest.mark.qemu, pytest.mark.packages]

SEED = 20261125
ALL = bool(os.environ.get("BERTH_TEST_ALL"))
CASES = {"bios": 400 if ALL else 40, "uefi": 150 if ALL else 14}
SAID = re.compile(
    rb"Berth: slot ([ab]), ([0-3]) more tries\.|Berth: no kernel on this disk can be loaded \(([a-z-]+)\)"
)
DEADLINE = 60.0  # seconds for one case; it takes one or two


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


class Guest:
    """A QEMU that starts from one disk again and again."""

    def __init__(self, tools: Tools, firmware: str, image: Path, folder: Path) -> None:
        self.image = image
        control = folder / "qmp"
        arguments = [
            "-L", str(tools.path("usr/share/qemu")), "-L", str(tools.path("usr/share/seabios")),
            "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "256",
            "-nodefaults", "-display", "none", "-serial", "stdio", "-S", "-qmp", f"unix:{control},server=on,wait=off",
            "-drive", f"if=none,id=d,format=raw,cache=writethrough,file={image}", "-device", "virtio-blk-pci,drive=d",
        ]  # fmt: skip
        if firmware == "uefi":
            variables = folder / "vars.fd"
            shutil.copyfile(tools.path("usr/share/OVMF/OVMF_VARS_4M.fd"), variables)
            code = tools.path("usr/share/OVMF/OVMF_CODE_4M.fd")
            arguments += ["-drive", f"if=pflash,format=raw,readonly=on,file={code}"]
            arguments += ["-drive", f"if=pflash,format=raw,file={variables}"]
        self.process = subprocess.Popen(
            tools.argv("qemu-system-x86_64", *arguments),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=tools.environment(),
        )  # fmt: skip
        self.control = self._connect(control)
        self._ask("qmp_capabilities")

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + DEADLINE
        while True:
            control = socket.socket(socket.AF_UNIX)
            try:
                control.connect(str(path))
            except OSError:
                control.close()
                assert self.process.poll() is None, self.process.stdout.read() if self.process.stdout else ""
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                self.answers = control.makefile("r")
                self.answers.readline()
                return control

    def _ask(self, command: str) -> None:
        self.control.sendall(json.dumps({"execute": command}).encode() + b"\n")
        while "return" not in json.loads(self.answers.readline() or '{"return": {}}'):
            pass

    def start_with(self, copies: tuple[bytes, bytes], layout: disk.Layout) -> tuple[str, bytes]:
        """Write the copies, reset, and return what GRUB decided, and all that it said."""
        self._ask("stop")
        self._drain()
        with self.image.open("r+b") as file:
            for number, copy in zip(disk.RECORDS, copies, strict=True):
                file.seek(layout.number(number).offset_bytes)
                file.write(copy)
        self._ask("system_reset")
        self._ask("cont")
        said = b""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            said += self._read(0.5)
            if found := SAID.search(said):
                slot, left, why = found.groups()
                return (why.decode() if why else f"{slot.decode()} {left.decode()}"), said
        raise AssertionError(f"GRUB decided nothing: {said!r}")

    def copies(self, layout: disk.Layout) -> tuple[bytes, bytes]:
        """Read the record partitions back."""
        with self.image.open("rb") as file:
            read = []
            for number in disk.RECORDS:
                file.seek(layout.number(number).offset_bytes)
                read.append(file.read(COPY_BYTES))
        return read[0], read[1]

    def _read(self, seconds: float) -> bytes:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        return os.read(self.process.stdout.fileno(), 65536) if ready else b""

    def _drain(self) -> None:
        while self._read(0):
            pass

    def close(self) -> None:
        """End the guest."""
        self.process.kill()
        self.process.wait()
        self.control.close()
        self.answers.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


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
            left = decision.record.slot(decision.slot).tries if decision.record and decision.slot else 0
            expected = f"{decision.slot} {left}" if decision.slot else decision.why
            decided, said = guest.start_with(case.copies, layout)
            wanted = bootrecord.applied(case.copies, decision.writes)
            if decided != expected or guest.copies(layout) != wanted:
                differing.append(f"{case.name}: expected {expected}, GRUB {decided}\n{said.decode(errors='replace')}")
    finally:
        guest.close()
    assert not differing, "\n".join(differing)
