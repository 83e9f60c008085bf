"""The pure half of running a guest: options, argument list, the wait, the timeline, ports."""

from __future__ import annotations

import itertools
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.emulate import ports, timeline
from builder.emulate.command import DirectKernel, Drive, Firmware, Guest, arguments, quoted
from builder.emulate.options import Forward, Until, parse_forward, parse_until
from builder.emulate.plain import plain
from builder.emulate.watch import Phase, Watch
from builder.errors import UsageError
from init.dialects.compile import compile_document

GUEST = Guest(accelerator=("-accel", "tcg"), memory=256, cpus=1, data=(Path("/data"),))
UNTIL = Until(event="container.healthy", name="web")
HEALTHY = {"event": "container.healthy", "name": "web"}
CLEAN = {"event": "shutdown.clean", "state_unmounted": True}


def pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(words))


def test_a_forward_is_read() -> None:
    assert parse_forward("8080:80") == Forward(host=8080, guest=80)
    assert parse_forward("0:53/udp") == Forward(host=0, guest=53, protocol="udp")


@pytest.mark.parametrize("text", ["", "80", "a:80", "8080:0", "70000:80", "80:70000", "1:2:3", "80:80/sctp", "-1:80"])
def test_what_is_no_forward_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_forward(text)


def test_an_event_is_read() -> None:
    assert parse_until("boot.good") == Until(event="boot.good")
    assert parse_until("container.healthy:web") == UNTIL


@pytest.mark.parametrize("text", ["", "healthy", "a.b:", "A.B", "a.b.c"])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_until(text)


def test_a_guest_has_a_serial_port_and_a_watchdog_or_neither() -> None:
    wired = replace(GUEST, console=3, events=4)
    assert {("-serial", "chardev:console"), ("-device", "i6300esb")} <= set(pairs(arguments(wired)))
    bare = " ".join(arguments(replace(wired, serial=False, watchdog="")))
    assert not [word for word in (" -serial ", "i6300esb", "id=console", "fd=3") if word in bare]
    assert "id=events,fd=4" in bare


def test_a_cd_is_read_only_and_first() -> None:
    words = arguments(
        Guest(
            accelerator=(), memory=1, cpus=1, data=(),
            drives=(Drive(path=Path("a.iso"), bus="cd", boot_index=0), Drive(path=Path("b"), boot_index=1)),
        )
    )  # fmt: skip
    assert ("-device", "ide-cd,drive=disk0,bootindex=0") in pairs(words)
    assert ("-drive", "if=none,id=disk0,format=raw,file=a.iso,readonly=on,media=cdrom") in pairs(words)
    assert ("-device", "virtio-blk-pci,drive=disk1,bootindex=1") in pairs(words)


@pytest.mark.parametrize(("bus", "controller"), [("usb", "qemu-xhci,id=xhci"), ("scsi", "virtio-scsi-pci,id=scsi")])
def test_a_bus_brings_its_controller_before_the_drive(bus: str, controller: str) -> None:
    words = arguments(Guest(accelerator=(), memory=1, cpus=1, data=(), drives=(Drive(path=Path("d"), bus=bus),)))
    drive = next(word for word in words if "drive=disk0" in word)
    assert words.index(controller) < words.index(drive)


def test_a_disk_that_forgets_is_a_snapshot() -> None:
    drive = Drive(path=Path("d"), format="qcow2", throwaway=True)
    words = arguments(Guest(accelerator=(), memory=1, cpus=1, data=(), drives=(drive,)))
    assert ("-drive", "if=none,id=disk0,format=qcow2,file=d,snapshot=on") in pairs(words)


def test_firmware_and_a_direct_kernel_exclude_each_other() -> None:
    uefi = Firmware(code=Path("code"), variables=Path("vars"))
    kernel = DirectKernel(kernel=Path("k"), initramfs=Path("i"), cmdline="quiet x=1")
    both = Guest(accelerator=(), memory=1, cpus=1, data=(), firmware=uefi, direct=kernel)
    assert ("-append", "quiet x=1") in pairs(arguments(both))
    assert not any("pflash" in word for word in arguments(both))
    only = Guest(accelerator=(), memory=1, cpus=1, data=(), firmware=uefi)
    assert sum("pflash" in word for word in arguments(only)) == 2


def test_a_forward_listens_on_loopback_alone() -> None:
    words = arguments(Guest(accelerator=(), memory=1, cpus=1, data=(), forwards=(Forward(host=1, guest=2),)))
    assert "user,id=net0,hostfwd=tcp:127.0.0.1:1-:2" in words


@given(st.text("a,=", max_size=8))
def test_commas_in_paths_are_doubled(name: str) -> None:
    assert quoted(name).replace(",,", ",") == name
    assert quoted(name).count(",") == 2 * name.count(",")


def test_the_wait_that_ends_well() -> None:
    watch = Watch(until=UNTIL).on_event({"event": "init.started"}).on_event({**HEALTHY, "name": "db"})
    assert watch.phase is Phase.BOOTING
    watch = watch.on_event(HEALTHY)
    assert watch.phase is Phase.STOPPING
    assert watch.on_event(CLEAN).on_end(0).phase is Phase.STOPPED


@pytest.mark.parametrize(
    ("happened", "cause"),
    [
        (lambda watch: watch.on_end(0), "switched itself off before container.healthy:web"),
        (lambda watch: watch.on_end(1), "ended with status 1"),
        (lambda watch: watch.on_end(-9), "killed by signal 9"),
        (lambda watch: watch.on_deadline(5), "did not come within 5 s"),
        (lambda watch: watch.on_event(HEALTHY).on_end(0), "without shutdown.clean"),
        (lambda watch: watch.on_event(HEALTHY).on_deadline(5), "did not go off within 5 s"),
        (lambda watch: watch.on_event(CLEAN).on_end(0), "switched itself off before"),
        (lambda watch: watch.on_line("[1.0] Kernel panic - not syncing: No init"), "panicked: No init"),
    ],
)
def test_every_bad_end_has_its_cause(happened, cause: str) -> None:
    watch = happened(Watch(until=UNTIL))
    assert watch.phase is Phase.FAILED
    assert cause in watch.cause


REPORTS = st.sampled_from(["healthy", "clean", "panic", "end", "killed", "deadline", "line"])


@given(st.lists(REPORTS, max_size=8))
def test_success_needs_both_events_and_an_orderly_end(happened: list[str]) -> None:
    watch = Watch(until=UNTIL)
    for what in happened:
        watch = {
            "healthy": lambda w: w.on_event(HEALTHY),
            "clean": lambda w: w.on_event(CLEAN),
            "panic": lambda w: w.on_line("Kernel panic - not syncing: x"),
            "end": lambda w: w.on_end(0),
            "killed": lambda w: w.on_end(-9),
            "deadline": lambda w: w.on_deadline(1),
            "line": lambda w: w.on_line("text"),
        }[what](watch)
    if watch.phase is Phase.STOPPED:
        assert {"healthy", "clean", "end"} <= set(happened)
    assert (watch.phase is Phase.FAILED) == bool(watch.cause)


def test_waiting_for_the_clean_end_itself() -> None:
    watch = Watch(until=Until(event="shutdown.clean")).on_event(CLEAN)
    assert watch.clean
    assert watch.on_end(0).phase is Phase.STOPPED


def test_without_an_event_the_guest_s_own_end_is_what_is_waited_for() -> None:
    assert Watch(until=None).on_line("Kernel panic - not syncing: x").on_end(0).phase is Phase.STOPPED
    assert Watch(until=None).on_end(1).phase is Phase.FAILED


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("\x1b[2J\x1b[01;01H\x1b[=3hBdsDxe: starting", "BdsDxe: starting"),
        ("\x1b[H\x1b[J\x1b[1;1HBerth: slot a", "Berth: slot a"),
        ("\x1b[m\x1b(B \x07\x00", ""),
        ("[    2.000] berth: root: /dev/vda7", "[    2.000] berth: root: /dev/vda7"),
        ("8080→80", "8080→80"),
    ],
)
def test_a_console_is_read_as_plain_text(line: str, text: str) -> None:
    assert plain(line) == text


@given(st.text(st.characters(max_codepoint=0x7F), max_size=40))
def test_no_line_is_a_command_for_the_terminal(line: str) -> None:
    assert all(letter.isprintable() or letter == "\t" for letter in plain(line))


def test_a_machine_that_reboots_goes_on() -> None:
    """It updates itself; the end is QEMU's own, however long the next boot takes."""
    watch = Watch(until=None).on_event({"event": "shutdown.begun"}).on_event(CLEAN)
    assert watch.phase is Phase.BOOTING
    assert watch.on_event({"event": "init.started"}).on_event(HEALTHY).on_event(CLEAN).on_end(0).phase is Phase.STOPPED


def test_a_clean_end_before_a_reboot_does_not_count_for_the_boot_after_it() -> None:
    rebooted = Watch(until=UNTIL).on_event(CLEAN).on_event({"event": "init.started"}).on_event(HEALTHY)
    assert rebooted.on_end(0).phase is Phase.FAILED
    assert rebooted.on_event(CLEAN).on_end(0).phase is Phase.STOPPED


def test_the_timeline_tells_time_step_and_name() -> None:
    lines = timeline.lines([(3.0, {"t": 2.5, "event": "init.started", "seq": 1}), (4.0, {"event": "container.started", "name": "web", "image": "x"})])  # fmt: skip  # noqa: E501
    assert lines[1].split()[:3] == ["3.00", "2.50", "+3.00"]
    assert lines[2].endswith("container.started  web image=x")
    assert "seq" not in "".join(lines)
    assert timeline.lines([]) == ["no event came from the guest"]


CLOUD = b"""#cloud-config
berth:
  containers:
    web: {image: "x:1", ports: ["8080:80", "53:5353/udp"]}
    db: {image: "y:1"}
"""


def test_published_ports_of_a_config() -> None:
    machine = compile_document(CLOUD, file="c").machine
    assert machine is not None
    assert ports.of_machine(machine) == (Forward(host=53, guest=53, protocol="udp"), Forward(host=8080, guest=8080))


def test_a_taken_port_moves_unless_it_was_asked_for() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        chosen, moved = ports.available([Forward(host=number, guest=80)], exact=False)
        assert chosen[0].guest == 80
        assert chosen[0].host not in (0, number)
        assert str(number) in moved[0]
        with pytest.raises(UsageError, match="is taken"):
            ports.available([Forward(host=number, guest=80)], exact=True)
