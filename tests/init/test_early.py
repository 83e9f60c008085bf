"""A whole early boot on the fake kernel, as it should go, and then with each single call failing."""

from __future__ import annotations

import errno
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from fakes import machine
from fakes.recording import Call
from fakes.system import FakeSystem
from fakes.tree import Link

from init.formats import bootphase
from init.formats.disk import MAKING_SECTOR, PHASE_SECTOR, SECTOR, making_mark
from init.pid1 import early, identity, state
from init.pid1.earlyresult import EarlyResult
from init.pid1.system import ChildResult, Uevent


class Events:
    def __init__(self) -> None:
        self.names: list[str] = []

    def emit(self, event: str, **fields: object) -> None:
        self.names.append(event)


def boot(system: FakeSystem) -> EarlyResult:
    return early.run(system, Events())


def test_a_slot_boots_to_its_root_with_state_made_on_the_blank_partition() -> None:
    system = machine.installed()
    result = boot(system)
    assert (result.outcome, result.reason, result.degraded) == ("root", "", ())
    assert (result.media, result.slot, result.disk) == ("disk", "a", "/dev/vda")
    assert result.record == ("/dev/vda3", "/dev/vda4")
    assert result.state == state.StateMount(kind="ext4", device="/dev/vda9", fresh=True, problem=None)
    assert system.mounted["/"] == ("/dev/dm-0", "erofs")
    assert system.tree.get("/etc/passwd").startswith(b"root:")
    assert system.tree.get("/etc/machine-id").decode().strip() == result.machine_id
    assert identity.is_machine_id(result.machine_id)
    assert system.tree.get("/run/berth/state/var/lib/berth/machine-id").decode().strip() == result.machine_id
    assert result.release is not None
    assert system.wall == result.release.epoch
    assert result.unmount[-1] == state.PLACE
    assert not system.exists("/init"), "the initramfs keeps memory"


READ_AHEAD = ("/sys/block/dm-0/queue/read_ahead_kb", b"16")


@pytest.mark.parametrize("make", [machine.installed, machine.from_iso])
def test_the_root_is_read_in_small_pieces_before_anything_of_it_is_read(make: Callable[[], FakeSystem]) -> None:
    system = make()
    assert boot(system).outcome == "root"
    calls = [call.arguments for call in system.calls]
    assert calls.index(READ_AHEAD) < next(
        number for number, arguments in enumerate(calls) if arguments and f"{arguments[0]}".startswith("/sysroot/")
    )


def test_a_root_that_is_read_in_larger_pieces_is_no_worse_and_it_is_said() -> None:
    whole = machine.installed()
    boot(whole)
    number = next(number for number, call in enumerate(whole.calls, 1) if call.arguments == READ_AHEAD)
    result = boot(machine.installed(fail_at=number))
    assert (result.outcome, result.degraded) == ("root", ())
    assert any("read_ahead_kb could not be set" in line for line in result.messages)


def test_huge_pages_are_set_before_the_reserve_that_they_raise() -> None:
    system = machine.installed()
    boot(system)
    written = [call.arguments for call in system.calls if call.name == "write" and call.arguments != READ_AHEAD]
    assert written == [
        ("/proc/sys/kernel/pid_max", b"4194304"),
        ("/sys/kernel/mm/transparent_hugepage/enabled", b"madvise"),
        ("/proc/sys/vm/min_free_kbytes", b"4000"),
        ("/proc/sys/vm/lowmem_reserve_ratio", b"0 0 0 0 0"),
        ("/proc/sys/vm/percpu_pagelist_high_fraction", b"1024"),
    ]


def test_a_second_boot_keeps_state_and_machine_id() -> None:
    system = machine.installed(formatted=True)
    system.filesystems["/dev/vda9"] = {"/var/lib/berth/machine-id": b"0123456789abcdef0123456789abcdef\n"}
    result = boot(system)
    assert result.machine_id == "0123456789abcdef0123456789abcdef"
    assert result.state.kind == "ext4"
    assert not result.state.fresh
    assert not any(call.name == "run" for call in system.calls)


def test_a_state_that_does_not_mount_is_never_written_to() -> None:
    system = machine.installed()
    disk = system.blocks["/dev/vda9"]
    disk.write(0, b"somebody's data".ljust(512))
    disk.disk.writes.clear()  # type: ignore[attr-defined]
    result = boot(system)
    assert result.outcome == "root"
    assert result.state.kind == "memory"
    assert result.state.problem is not None
    assert "lost at power-off" in result.state.problem
    assert result.degraded
    start = machine.table().entries[9].first * 512
    assert [offset for offset, _ in disk.disk.writes if offset >= start] == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("label", [b"berth-state", b"somebody's"])
def test_a_torn_superblock_is_mended_from_its_copies_if_it_is_ours(label: bytes) -> None:
    """Behind another file system may lie the remains of an older one: those are not brought back."""
    system = machine.installed()
    torn = bytes(0x38) + b"\x53\xef" + bytes(0x3E) + label
    system.blocks["/dev/vda9"].write(1024, torn.ljust(1024, b"\0"))

    def check(system_: FakeSystem, argv: Sequence[str]) -> ChildResult:
        if "-y" in argv:
            system_.kinds["/dev/vda9"] = "ext4"
        return ChildResult(status=1 if "-y" in argv else 8, output=b"the superblock could not be read\n")

    system.programs["e2fsck"] = check
    result = boot(system)
    ours = label == b"berth-state"
    assert (result.state.kind, result.state.fresh) == ("ext4" if ours else "memory", not ours)
    assert [call.arguments[0][1] for call in system.calls if call.name == "run"] == (["-p", "-y"] if ours else ["-p"])


@pytest.mark.parametrize(("status", "problem"), [(1, ""), (4, "has errors that need a person")])
def test_a_state_that_had_errors_is_checked_before_it_is_used(status: int, problem: str) -> None:
    """The kernel would mount it as it is, and go on damaging it."""
    system = machine.installed(formatted=True)
    system.blocks["/dev/vda9"].write(1024 + 0x38, b"\x53\xef\x03\x00")  # magic, and s_state with its second bit
    system.programs["e2fsck"] = lambda system_, argv: ChildResult(status=status, output=b"Inode 12 was wrong.\n")
    result = boot(system)
    assert (result.state.kind, result.state.fresh) == ("ext4", False)
    assert problem in (result.state.problem or "")
    assert bool(result.state.problem) is bool(problem)
    done = [call.arguments for call in system.calls if call.name in ("run", "mount") and "/dev/vda9" in str(call)]
    assert done[0][0] == ("/usr/sbin/e2fsck", "-p", "/dev/vda9")
    assert done[1][:3] == ("/dev/vda9", state.PLACE, "ext4")
    assert f"e2fsck: status {status}: Inode 12 was wrong." in system.said.decode()


GUID = machine.table().entries[9].guid
MARK = ("/dev/vda3", MAKING_SECTOR * SECTOR)


def half_made(mark: bytes) -> FakeSystem:
    """A machine whose power went while ext4 was made, as far as its disk tells."""
    system = machine.installed()
    system.blocks["/dev/vda3"].write(MAKING_SECTOR * SECTOR, mark)
    system.blocks["/dev/vda9"].write(4096, b"half of a file system")
    return system


def test_a_state_that_was_being_made_when_the_power_went_is_made_anew() -> None:
    system = half_made(making_mark(GUID))
    assert boot(system).state == state.StateMount(kind="ext4", device="/dev/vda9", fresh=True, problem=None)
    assert system.blocks["/dev/vda3"].read(MAKING_SECTOR * SECTOR, SECTOR) == bytes(SECTOR)


def test_the_mark_of_another_disk_allows_nothing() -> None:
    system = half_made(making_mark("8D5B2E4C-3C5C-4E0C-9C67-3F4A4B5A9E01"))
    assert boot(system).state.kind == "memory"
    assert system.blocks["/dev/vda9"].read(4096, 4) == b"half"


def test_what_is_made_is_marked_until_it_is_whole() -> None:
    """The program that makes it sees the mark, and where it fails, the mark stays: the next boot tries again."""
    system = machine.installed()

    def fails(system: FakeSystem, argv: Sequence[str]) -> ChildResult:
        assert system.blocks["/dev/vda3"].read(MAKING_SECTOR * SECTOR, SECTOR) == making_mark(GUID)
        system.blocks["/dev/vda9"].write(4096, b"half of a file system")
        return ChildResult(status=-9, output=b"")

    system.programs["mkfs.ext4"] = fails
    assert boot(system).state.kind == "memory"
    again = half_made(system.blocks["/dev/vda3"].read(MAKING_SECTOR * SECTOR, SECTOR))
    assert boot(again).state.fresh


def test_nothing_is_kept_on_a_state_whose_mark_does_not_go_away() -> None:
    """It would be made anew at the next boot, and all of it be gone."""
    system = machine.installed()
    write = system.write_blocks
    system.write_blocks = lambda path, offset, data: write(path, offset, data) if any(data) else None  # type: ignore[method-assign]
    result = boot(system)
    assert result.state.kind == "memory"
    assert result.state.problem is not None
    assert "the mark of a state" in result.state.problem


def test_a_larger_disk_makes_a_blank_state_grow_backup_table_first() -> None:
    system = machine.installed(state_sectors=64 * 2048)
    result = boot(system)
    assert result.state.fresh
    writes = [call.arguments[:2] for call in system.calls if call.name == "write_blocks" and not is_phase(call)]
    assert writes == [("/dev/vda", (machine.DISK_SECTORS - 33) * 512), ("/dev/vda", 512), MARK, MARK]
    assert result.growth is None


def test_a_used_state_on_a_larger_disk_is_left_for_the_configuration_to_decide() -> None:
    system = machine.installed(state_sectors=64 * 2048, formatted=True)
    result = boot(system)
    assert result.growth is not None
    assert not any(call.name == "write_blocks" and not is_phase(call) for call in system.calls)
    (service,) = state.grow_mounted(system, result.growth)
    assert service.argv == ("/usr/sbin/resize2fs", "/dev/vda9")


def test_the_iso_boots_from_a_stick_that_appears_late() -> None:
    system = machine.from_iso(at=14.0)
    result = boot(system)
    assert (result.outcome, result.media, result.medium) == ("root", "iso", "/run/berth/medium")
    assert (result.state.kind, result.state.problem, result.degraded) == ("memory", None, ())


def test_a_stick_that_is_plugged_in_and_not_ready_is_waited_for() -> None:
    system = machine.installed(formatted=True)
    system.filesystems["sysfs"]["/bus/usb/devices/1-1:1.0/bInterfaceClass"] = b"08\n"

    def ready(machine_: FakeSystem) -> Uevent:
        target = "../../devices/pci0/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sda"
        machine_.tree.fill({"/sys/class/block/sda": Link(target)})
        return Uevent(action="add", path="/devices/sda", variables={"SUBSYSTEM": "block", "DEVNAME": "sda"})

    system.news = [(4.5, ready)]
    result = boot(system)
    assert (result.outcome, result.degraded) == ("root", ())
    assert 4.5 <= system.seconds < 5


_HUB, _STICK = "/sys/bus/usb/devices/usb1", "/sys/bus/usb/devices/1-1"


def young(system: FakeSystem, path: str, kind: bytes, age: int) -> None:
    system.tree.fill({f"{path}/bDeviceClass": kind, f"{path}/power/connected_duration": b"%d\n" % age})


def test_a_stick_that_no_bus_has_announced_yet_is_waited_for() -> None:
    """The hub has just come; the kernel has yet to ask its ports, and the disk comes a second after that."""
    system = machine.installed(formatted=True)
    port = "/sys/bus/usb/devices/1-0:1.0/usb1-port1/state"

    def hub(machine_: FakeSystem) -> None:
        young(machine_, _HUB, b"09\n", 0)

    def asked(machine_: FakeSystem) -> None:
        machine_.tree.fill({port: b"addressed\n"})

    def older(machine_: FakeSystem) -> None:
        young(machine_, _HUB, b"09\n", 1000)

    def announced(machine_: FakeSystem) -> Uevent:
        machine_.tree.fill({port: b"configured\n", "/sys/bus/usb/devices/1-1:1.0/bInterfaceClass": b"08\n"})
        young(machine_, _STICK, b"00\n", 300)
        return Uevent(action="add", path="/devices/usb1/1-1", variables={"SUBSYSTEM": "usb"})

    def ready(machine_: FakeSystem) -> Uevent:
        machine_.tree.fill({"/sys/class/block/sda": Link("../../devices/pci0/usb1/1-1/1-1:1.0/host6/block/sda")})
        young(machine_, _STICK, b"00\n", 1300)
        return Uevent(action="add", path="/devices/sda", variables={"SUBSYSTEM": "block", "DEVNAME": "sda"})

    def loaded(machine_: FakeSystem) -> None:
        now = machine_.seconds
        after = ((0.0, hub), (0.9, asked), (1.0, older), (1.5, announced), (2.5, ready))
        machine_.news.extend((now + seconds, what) for seconds, what in after)

    system.on_module["ext4"] = loaded
    result = boot(system)
    assert (result.outcome, result.degraded) == ("root", ())
    assert "/sys/class/block/sda" in system.tree.nodes


def test_a_bus_that_never_rests_costs_a_few_seconds() -> None:
    system = machine.installed(formatted=True)
    system.filesystems["sysfs"]["/bus/usb/devices/1-0:1.0/usb1-port1/state"] = b"default\n"
    assert boot(system).outcome == "root"
    assert 4 < system.seconds < 6


def test_a_bus_that_rests_costs_nothing() -> None:
    plain = machine.installed(formatted=True)
    boot(plain)
    system = machine.installed(formatted=True)
    system.filesystems["sysfs"] |= {
        "/bus/usb/devices/usb1/bDeviceClass": b"09\n",
        "/bus/usb/devices/usb1/power/connected_duration": b"1000\n",
        "/bus/usb/devices/1-0:1.0/usb1-port1/state": b"not attached\n",
        "/bus/usb/devices/1-1/bDeviceClass": b"00\n",
        "/bus/usb/devices/1-1/power/connected_duration": b"500\n",
    }
    assert boot(system).outcome == "root"
    assert system.seconds == plain.seconds


def test_a_cd_on_a_slow_bus_is_there_before_the_configuration_is_looked_for() -> None:
    """Its driver is asked for by news that came meanwhile, and takes the drive a little later."""
    system = machine.installed(formatted=True)
    scsi = "/sys/bus/scsi"

    def announced(machine_: FakeSystem) -> Uevent:
        machine_.tree.fill({f"{scsi}/devices/1:0:0:0/type": b"5\n", f"{scsi}/drivers/sd": None})
        return Uevent(action="add", path="/devices/1", variables={"SUBSYSTEM": "scsi", "MODALIAS": "scsi:t-0x05"})

    def taken(machine_: FakeSystem) -> Uevent:
        machine_.tree.fill({f"{scsi}/devices/1:0:0:0/block/sr0": None})
        return Uevent(action="add", path="/devices/sr0", variables={"SUBSYSTEM": "block", "DEVNAME": "sr0"})

    def loaded(machine_: FakeSystem) -> None:
        machine_.tree.fill({f"{scsi}/drivers/sr": None})
        machine_.news.append((3.0, taken))

    system.on_module["ext4"] = lambda machine_: machine_.news.append((0.0, announced))
    system.on_module["sr_mod"] = loaded
    result = boot(system)
    assert (result.outcome, result.degraded) == ("root", ())
    assert "/sys/bus/scsi/devices/1:0:0:0/block/sr0" in system.tree.nodes
    assert 3.0 <= system.seconds < 3.5


def test_a_scsi_disk_without_a_driver_here_is_not_waited_for() -> None:
    system = machine.installed(formatted=True)
    system.filesystems["sysfs"]["/bus/scsi/devices/1:0:0:0/type"] = b"5\n"
    assert boot(system).outcome == "root"
    assert system.seconds < 3


def test_a_stick_that_never_gets_ready_costs_a_few_seconds() -> None:
    system = machine.installed(formatted=True)
    system.filesystems["sysfs"]["/bus/usb/devices/1-1:1.0/bInterfaceClass"] = b"08\n"
    assert boot(system).outcome == "root"
    assert 11 < system.seconds < 13
    assert "1-1:1.0" in system.said.decode()


def test_without_its_disk_a_slot_reboots_and_says_what_it_saw() -> None:
    system = machine.without_root(machine.slot_command_line())
    result = boot(system)
    assert result.outcome == "reboot"
    assert "90 s" in result.reason
    text = system.said.decode()
    assert "/dev/vda: isn't the disk that booted" in text
    assert "drivers: virtio_blk" in text
    assert "no root yet, and the disk that booted is not here: 90 s for it" in text
    assert 90 < system.seconds < 100


def test_a_controller_that_looks_at_its_disks_for_half_a_minute_has_that_time() -> None:
    """Its driver has been loaded, and until it is done there is no disk that could be asked."""
    system = machine.installed(formatted=True)
    appear = system.on_module.pop("virtio_blk")

    def ready(machine_: FakeSystem) -> Uevent:
        appear(machine_)
        return Uevent(action="add", path="/devices/vda", variables={"SUBSYSTEM": "block", "DEVNAME": "vda"})

    system.news = [(35.0, ready)]
    result = boot(system)
    assert (result.outcome, result.state.kind) == ("root", "ext4")
    assert "no root yet, and the disk that booted is not here: 90 s for it" in system.said.decode()


BLOCK = {"SUBSYSTEM": "block", "DEVNAME": "sda"}


def test_a_disc_that_spins_up_is_asked_for_again() -> None:
    """The drive says that it holds none; that one has come is news that the kernel gives once it was told to ask."""
    system = machine.from_iso(at=4.0)
    act, change = system.read_blocks, Uevent(action="change", path="/devices/sda", variables=BLOCK)

    def read_blocks(path: str, offset: int, size: int) -> bytes:
        if path == "/dev/sda" and system.seconds < 9.0:
            raise OSError(errno.ENOMEDIUM, "No medium found")
        return act(path, offset, size)

    system.read_blocks = read_blocks  # type: ignore[method-assign]
    system.news.append((9.0, lambda machine_: change))
    assert boot(system).outcome == "root"
    assert system.tree.nodes["/sys/module/block/parameters/events_dfl_poll_msecs"] == b"2000"


def test_without_its_medium_an_iso_ends_in_rescue() -> None:
    line = f"berth.root={machine.image()[1]},{machine.OFFSET} berth.media=iso"
    system = machine.without_root(line)
    assert boot(system).outcome == "rescue"
    assert "/dev/vda: isn't an ISO 9660 file system" in system.said.decode()


def test_rescue_on_the_command_line_touches_no_disk() -> None:
    system = machine.installed()
    system.filesystems["proc"]["/cmdline"] = machine.slot_command_line().strip().encode() + b" berth.rescue\n"
    result = boot(system)
    assert result.outcome == "rescue"
    assert not any(call.name == "read_blocks" for call in system.calls)


def test_rescue_tells_grubs_reason() -> None:
    system = machine.installed()
    words = b" berth.rescue panic=0 berth.reason=no-tries\n"
    system.filesystems["proc"]["/cmdline"] = machine.slot_command_line().strip().encode() + words
    assert boot(system).reason == "neither slot has a try left"


def test_a_slot_whose_root_is_another_one_reboots_at_once_and_leaves_why() -> None:
    system = machine.installed()
    system.blocks["/dev/vda7"].write(machine.OFFSET + 4096, b"other".ljust(512))
    result = boot(system)
    assert (result.outcome, system.seconds < 5) == ("reboot", True)
    left = bootphase.decode(system.blocks["/dev/vda3"].read(PHASE_SECTOR * SECTOR, bootphase.BYTES))
    assert left is not None
    assert (left.phase, left.reason) == ("initramfs", "verity")
    assert left.detail == "no root: /dev/vda7 holds another image than the one that belongs to this kernel"


def test_a_root_of_another_kernel_is_refused_by_its_hash() -> None:
    system = machine.installed()
    line = machine.slot_command_line().replace(machine.image()[1], "0" * 64)
    system.filesystems["proc"]["/cmdline"] = line.encode()
    assert boot(system).outcome == "reboot"
    assert "mount" not in [c.name for c in system.calls if c.arguments and c.arguments[-1] == "erofs"]


KINDS = {
    "fresh": machine.installed,
    "grown": lambda fail_at=None: machine.installed(fail_at=fail_at, state_sectors=64 * 2048),
    "used": lambda fail_at=None: machine.installed(fail_at=fail_at, formatted=True),
    "iso": machine.from_iso,
    "none": lambda fail_at=None: machine.without_root(machine.slot_command_line(), fail_at=fail_at),
}


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_every_single_failure_ends_in_a_root_or_rescue_or_a_reboot_and_is_said(kind: str) -> None:
    """Each call fails once. Nothing is lost by it, or it is said, or a row of `HARMLESS` says why not."""
    make = KINDS[kind]
    whole = make()
    expected = boot(whole)
    allowed = {"root", "reboot"} if kind != "iso" else {"root", "rescue"}
    for number in range(1, len(whole.calls) + 1):
        system = make(fail_at=number)
        result = boot(system)
        failed = system.failed
        assert failed is not None
        told = f"call {number}, {failed}: {result.outcome} {result.reason} {result.degraded}"
        assert result.outcome in allowed | {expected.outcome, "rescue"}, told
        if result.outcome == "root":
            assert system.mounted["/"][1] == "erofs", told
            lost = effects(whole) - effects(system)
            same = not lost and facts(result) == facts(expected)
            said = result.degraded or said_of(result) - said_of(expected)
            assert same or said or harmless(failed), f"{told}; lost: {sorted(lost)}"
        else:
            assert result.reason, told
            assert result.reason in "".join(result.messages), told
        assert result.state.kind in ("ext4", "memory", "none")


CHANGING = (
    "add_entropy", "append", "attach_loop", "catch_ctrl_alt_del", "fill_tree", "fork", "load_module", "make_folder",
    "make_link", "map_device", "mount", "open_watchdog", "remove_tree", "replace", "resize_partition", "run",
    "set_hostname", "set_link", "set_time", "switch_root", "write", "write_blocks",
)  # fmt: skip


def effects(system: FakeSystem) -> set[str]:
    """Return the calls that changed something. A module counts without parameters: it may come at the second go."""
    return {
        f"{call.name} {call.arguments[0]}" if call.name == "load_module" else str(call)
        for call in system.calls
        if call.name in CHANGING and call is not system.failed
    }


def facts(result: EarlyResult) -> EarlyResult:
    """Return what the early half found, without its words and the numbers of its descriptors."""
    dog = replace(result.watchdog, descriptor=0) if result.watchdog else None
    return replace(result, messages=(), degraded=(), watchdog=dog, uevents=None, devices=None)


def said_of(result: EarlyResult) -> set[str]:
    """Return the lines without their seconds."""
    return {line.partition("] ")[2] or line for line in result.messages}


HARMLESS = {
    ("read", "/proc/meminfo"): "the kernel's own settings hold: less memory is available, nothing else",
    ("read*", "/sys/class/block/vda3*"): "no mark that ext4 is being made: it is for a power cut in that second",
}


def harmless(call: Call) -> str | None:
    """Return why it does not matter that a call fails of which nothing is said; None where it does."""
    path = f"{call.arguments[0]}" if call.arguments else ""
    for (name, pattern), why in HARMLESS.items():
        if fnmatch.fnmatchcase(call.name, name) and fnmatch.fnmatchcase(path, pattern):
            return why
    return None


def is_phase(call: Call) -> bool:
    """Tell whether a call reads or writes how far a boot came, which is advice."""
    return call.arguments[:2] == ("/dev/vda3", PHASE_SECTOR * SECTOR)
