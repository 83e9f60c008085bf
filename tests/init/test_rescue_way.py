"""Rescue of an installed disk: tries given back, and a way in by what can be borrowed from a slot."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from fakes import machine
from fakes.processes import FOREVER, Program
from fakes.running import RunningSystem, running

from builder.image.ustar import archive
from init.formats import bootimage, bootrecord, envblock
from init.formats.bootrecord import Record, SlotState
from init.pid1 import early, rescue, rescuedisk

GONE = Record(sequence=1, order=("a", "b"), a=SlotState(tries=0, good=True), b=SlotState())
SAID = b"\2network: eth0 10.0.2.15/24\n\2ssh: port 22\n"
LOGGED = b"".join(b"Connection from 10.0.2.2 port %d\n" % port for port in range(50000, 50060))


class Events:
    def emit(self, event: str, **fields: object) -> None:
        """Nobody listens."""


def in_rescue(record: Record | None = GONE, *, program: Program | None = None) -> RunningSystem:
    """Return a machine whose GRUB asks for rescue by the kernel of slot a."""

    def programs(argv: Sequence[str]) -> Program:
        assert "rescue" in argv
        return program or Program(output=SAID, seconds=FOREVER)

    system = running(machine.installed(formatted=True), programs)
    system.filesystems["proc"]["/cmdline"] += b" berth.rescue panic=0 berth.reason=no-tries"
    line = f"quiet berth.root={machine.image()[1]},{machine.OFFSET}"
    env = envblock.encode({"cmdline": line}, bootimage.CMDLINE_BYTES)
    members = {bootimage.KERNEL: b"kernel" * 200, bootimage.INITRAMFS: b"initramfs", bootimage.CMDLINE: env}
    system.blocks["/dev/vda5"].write(0, archive(members, mtime=0))
    if record is not None:
        for path in ("/dev/vda3", "/dev/vda4"):
            system.blocks[path].write(0, bootrecord.encode(record))
    return system


def record_of(system: RunningSystem) -> Record | None:
    return bootrecord.current(
        tuple(system.blocks[path].read(0, bootrecord.COPY_BYTES) for path in ("/dev/vda3", "/dev/vda4"))  # type: ignore[arg-type]
    )


def serve(system: RunningSystem, *typed: bytes) -> early.EarlyResult:
    system.typed = list(typed)
    result = early.run(system, Events())
    assert (result.outcome, result.reason) == ("rescue", "neither slot has a try left")
    return rescue.serve(system, Events(), result)


@pytest.mark.parametrize("word", [b"retry\n", b"rescue retry\n", b"berthctl rescue retry\n"])
def test_retry_gives_the_tries_back_and_reboots(word: bytes) -> None:
    system = in_rescue()
    assert serve(system, word).outcome == "reboot"
    record = record_of(system)
    assert record is not None
    assert (record.a, record.b, record.order) == (SlotState(tries=3, good=True), SlotState(), ("a", "b"))


def test_retry_makes_a_record_where_none_can_be_read() -> None:
    system = in_rescue(record=None)
    assert serve(system, b"retry\n").outcome == "reboot"
    record = record_of(system)
    assert record is not None
    assert (record.a, record.b) == (SlotState(tries=3, good=False), SlotState())


def test_what_rescue_knows_is_said() -> None:
    system = in_rescue()
    serve(system, b"status\n", b"poweroff\n")
    said = system.said.decode()
    assert "slot a: confirmed, 0 tries left" in said
    assert "the root of slot a verifies" in said
    assert "network: eth0 10.0.2.15/24" in said
    [argv] = system.started
    assert argv[argv.index("--slot") + 1] == "a"
    assert argv[argv.index("--own") + 1] == "a"
    assert "/slot" in system.mounted
    assert system.mounted["/run/berth/state"][1] == "ext4"
    assert system.mounted["/slot/run/berth/state"] == ("/run/berth/state", "bind")


def test_what_status_owes_is_not_pushed_out_by_the_log_of_sshd() -> None:
    renewed = b"".join(b"\2network: eth0 10.0.2.%d/24\n" % last for last in range(100, 140))
    system = in_rescue(program=Program(output=SAID + LOGGED + renewed, seconds=FOREVER))
    result = early.run(system, Events())
    inside = rescue.Rescue(system, Events(), result)
    inside.enter()
    for _ in range(5):
        inside.step(2.0)
    before = len(system.said)
    system.typed.append(b"status\n")
    inside.step(2.0)
    said = system.said[before:].decode()
    for owed in (
        "rescue: neither slot has a try left",
        "slot a: confirmed, 0 tries left",
        "slot b: not confirmed, 0 tries left",
        "the root of slot a verifies",
        "network: eth0 10.0.2.139/24",
        "ssh: port 22",
        "Connection from 10.0.2.2 port 50059",
    ):
        assert said.count(owed) == 2, "on two consoles"
    assert "10.0.2.138/24" not in said
    assert "port 50000" not in said


def test_a_way_in_that_ends_begins_again() -> None:
    system = in_rescue(program=Program(output=b"network: down\r\nand then it fai", seconds=5.0, status=1))
    system.at(60.0, lambda: system.typed.append(b"poweroff\n"))
    result = early.run(system, Events())
    inside = rescue.Rescue(system, Events(), result)
    inside.enter()
    for _ in range(20):
        inside.step(2.0)
    assert len(system.started) > 1
    said = system.said.decode()
    assert "the way in ended with 1" in said
    assert "and then it fai" in said, "what stood there without a newline is told, too"


def test_without_a_root_the_console_is_the_way_in() -> None:
    system = in_rescue()
    system.blocks["/dev/vda7"].write(machine.OFFSET, bytes(4096))
    serve(system, b"poweroff\n")
    assert "this console is the only way in" in system.said.decode()
    assert system.started == []


def test_no_single_failure_keeps_a_word_from_being_heard() -> None:
    whole = in_rescue()
    serve(whole, b"poweroff\n")
    first = next(n for n, call in enumerate(whole.calls) if "neither slot has a try left" in str(call))
    for number in range(first + 1, len(whole.calls) + 1):
        system = in_rescue()
        system.fail_at = number
        assert serve(system, b"poweroff\n", b"poweroff\n").outcome == "poweroff", system.failed


def test_every_slot_that_could_boot_is_tried_again() -> None:
    every = frozenset({"a", "b"})
    for record in (GONE, bootrecord.fresh("b"), bootrecord.vacate(bootrecord.fresh("a", good=True), "b")):
        both = bootrecord.retried(record, "a", every)  # type: ignore[arg-type]
        assert (both.a.tries, both.b.tries) == (3, 3)
        alone = bootrecord.retried(record, "a", frozenset())
        assert (alone.a.tries, alone.b.tries) == (3, 3 if record.b.good else record.b.tries)
        assert (alone.order, alone.a.good, alone.b.good) == (record.order, record.a.good, record.b.good)


def test_the_disk_is_known_by_its_record_alone() -> None:
    system = in_rescue()
    serve(system, b"poweroff\n")
    found = rescuedisk.find(system, machine.RECORD)
    assert found is not None
    assert found.nodes["boot-b"] == "/dev/vda6"
    assert rescuedisk.find(system, "0" * 36) is None
