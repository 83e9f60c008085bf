"""Rescue: reachable whatever fails, and left as soon as the root is there or somebody asks."""

from __future__ import annotations

from fakes import machine
from fakes.system import FakeSystem

from init.pid1 import early, rescue
from init.pid1.earlyresult import EarlyResult
from init.pid1.messages import Messages
from init.pid1.system import Uevent


def stuck() -> FakeSystem:
    return machine.base(f"berth.root={machine.image()[1]},{machine.OFFSET}")


class Events:
    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, object]]] = []

    def emit(self, event: str, **fields: object) -> None:
        self.seen.append((event, fields))


def enter(system: FakeSystem) -> tuple[EarlyResult, Events]:
    events = Events()
    result = early.run(system, events)
    assert result.outcome == "rescue"
    return rescue.serve(system, events, result), events


def bring_disk(system: FakeSystem, at: float) -> None:
    disk, partitions = machine.slot_disk()

    def plugged(machine_: FakeSystem) -> Uevent:
        machine.show_disk(machine_, "sdz", disk, partitions)
        machine_.kinds["/dev/sdz7"] = "erofs"
        machine_.filesystems["/dev/sdz7"] = machine.root_files()
        return Uevent(action="add", path="/devices/sdz", variables={"SUBSYSTEM": "block", "DEVNAME": "sdz"})

    system.news = [(at, plugged)]


def test_why_is_said_and_an_event() -> None:
    system = stuck()
    system.typed = [b"sta", b"tus\rpoweroff\r"]
    result, events = enter(system)
    assert result.outcome == "poweroff"
    assert ("rescue.entered", {"reason": "no root was found within 20 s"}) in events.seen
    assert system.said.decode().count("rescue: no root was found within 20 s") == 2 * 2, "twice on two consoles"
    assert all(link.up for link in system.interfaces)


def test_a_medium_says_what_its_rescue_can_do_and_looks_at_no_disk() -> None:
    system = machine.base(f"berth.root={machine.image()[1]},{machine.OFFSET} berth.media=iso berth.rescue panic=0")
    disk, partitions = machine.slot_disk()
    machine.show_disk(system, "sda", disk, partitions)
    system.typed = [b"poweroff\r"]
    result, events = enter(system)
    assert result.outcome == "poweroff"
    assert events.seen[-3] == ("rescue.entered", {"reason": "the kernel command line asks for rescue"})
    assert b"this console is the only way in; `rescue retry` starts the live system" in system.said
    assert not [
        call for call in system.calls if call.name in ("mount", "read_blocks") and "/dev/sd" in str(call.arguments)
    ]


def test_what_is_said_for_weeks_does_not_fill_the_memory() -> None:
    messages = Messages(stuck())
    for number in range(1200):
        messages.say(f"connection {number}")
    assert len(messages.lines) == 1000
    assert messages.lines[-1].endswith("connection 1199")


def test_the_power_button_ends_rescue_in_order() -> None:
    """Also one whose driver comes once rescue has begun."""
    system = stuck()

    def bring(machine_: FakeSystem) -> Uevent:
        keys = "/sys/class/input/event3/device/capabilities/key"
        machine_.tree.fill({keys: b"%x 0\n" % (1 << (116 - 64)), "/dev/input/event3": b""})
        machine_.keyboard, machine_.typed = "/dev/input/event3", [bytes(16) + b"\1\0" + b"\x74\0" + b"\1\0\0\0"]
        return Uevent(action="add", path="/devices/input3", variables={"SUBSYSTEM": "input", "DEVNAME": "input/event3"})

    system.news = [(500.0, bring)]
    result, events = enter(system)
    assert result.outcome == "poweroff"
    assert events.seen[-2:] == [
        ("shutdown.begun", {"why": "power button"}),
        ("shutdown.clean", {"state_unmounted": True}),
    ]


def test_a_keyboard_beside_a_serial_line_is_heard() -> None:
    """The serial line is /dev/console, and the person sits at the screen."""
    system = stuck()
    system.keyboard = "/dev/tty0"
    system.typed = [b"power", b"off\n"]
    assert enter(system)[0].outcome == "poweroff"


def test_a_console_that_hung_up_is_let_go_and_the_others_are_heard() -> None:
    system = stuck()
    events = Events()
    inside = rescue.Rescue(system, events, early.run(system, events))
    inside.enter()
    system.typed = [b""]
    assert inside.step(10.0) is None
    system.typed = [b"reboot\n"]
    assert inside.step(10.0) is None, "nobody reads there any more"
    system.keyboard = "/dev/tty0"
    ended = inside.step(10.0)
    assert ended is not None
    assert ended.outcome == "reboot"


def test_a_word_that_is_none_is_answered_with_those_that_help() -> None:
    system = stuck()
    system.typed = [b"help\nreboot\n"]
    assert enter(system)[0].outcome == "reboot"
    assert "retry" in system.said.decode()


def test_a_disk_that_is_put_in_leads_out_of_rescue() -> None:
    system = stuck()
    bring_disk(system, at=500.0)
    result, _ = enter(system)
    assert (result.outcome, result.disk) == ("root", "/dev/sdz")
    assert system.mounted["/"][1] == "erofs"


def test_rescue_that_was_asked_for_is_left_only_by_a_word() -> None:
    system = stuck()
    system.filesystems["proc"]["/cmdline"] += b" berth.rescue"
    bring_disk(system, at=30.0)
    system.typed = []
    events = Events()
    result = early.run(system, events)
    inside = rescue.Rescue(system, events, result)
    inside.enter()
    for _ in range(8):
        assert inside.step(10.0) is None
    system.typed = [b"retry\n"]
    ended = inside.step(10.0)
    assert ended is not None
    assert ended.outcome == "root"


def test_no_single_failure_leads_out_of_rescue_or_keeps_a_word_from_being_heard() -> None:
    whole = stuck()
    whole.typed = [b"poweroff\n"]
    enter(whole)
    first = next(n for n, call in enumerate(whole.calls) if "no root was found" in str(call))
    for number in range(first, len(whole.calls) + 1):
        system = stuck()
        system.fail_at = number
        system.typed = [b"poweroff\n", b"poweroff\n"]
        assert enter(system)[0].outcome == "poweroff", system.failed
