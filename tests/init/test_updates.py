"""PID 1's half of updates: whole lives of a machine on the fake kernel that is updated, comes back, rolls back."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from fakes import machine
from fakes.processes import Connection, Program
from fakes.running import RunningSystem, running
from hypothesis import given
from hypothesis import strategies as st

from init.formats import bootphase, bootrecord, disk, events, updates
from init.formats import machine as formats
from init.formats.bootrecord import Record, SlotState
from init.formats.machine import Health, Machine, Update
from init.formats.release import DEFAULT_MACHINE_PATH
from init.formats.updates import Attempt, UpdateRecord
from init.pid1 import halves, updatepolicy
from init.pid1.control import PATH
from init.pid1.events import Announcer
from init.pid1.system import Peer, Spawn

GOOD = SlotState(tries=3, good=True)
ALONE = Record(sequence=0, order=("a", "b"), a=GOOD, b=SlotState())
BOTH = Record(sequence=0, order=("a", "b"), a=GOOD, b=GOOD)
ATTEMPT = Attempt(version="2", sequence=2, image="f" * 64, state=updates.SWITCHED, slot="b", began="", changed="")
SWITCHED = [
    {"state": "checking"},
    {"state": "downloading", "version": "2"},
    {"state": "switched", "version": "2", "slot": "b"},
]
BOOTED = 20.0  # seconds: the boot gate is passed by then
EARLY = 5.0  # and PID 1 answers, but it is not


class Box:
    """One life of a machine whose slot a runs."""

    def __init__(self, record: Record = ALONE, *, policy: str = "manual", repository: str | None = "http://r/") -> None:
        self.updater = Program(seconds=1.0)
        self.evidence = Program(seconds=0.05)
        self.system: RunningSystem = running(machine.installed(formatted=True), self._programs)
        self.config = Machine(
            health=Health(settle=5.0, within=60.0), update=Update(repository=repository, policy=policy, root="{}")
        )
        self.events: list[dict[str, Any]] = []
        self.clients: list[Connection | None] = []
        self.at_end = b""
        for path in ("/dev/vda3", "/dev/vda4"):
            self.system.blocks[path].write(0, bootrecord.encode(record))
        root = self.system.filesystems["/dev/vda7"]
        root[DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(self.config)).encode()
        root["/usr/lib/berth/images/overlay-images/images.json"] = b"[]"
        root["/usr/lib/berth/images/overlay-layers/layers.json"] = b"[]"
        self.system.filesystems["cgroup2"] = {
            "/cgroup.controllers": b"cpu memory pids\n", "/cgroup.subtree_control": b"",
        }  # fmt: skip
        self.system.filesystems["devtmpfs"]["/kmsg"] = b""

    def _programs(self, argv: Sequence[str]) -> Program:
        if "slot-evidence" in argv:
            return self.evidence
        return self.updater if "updater" in argv else Program(seconds=0.05)

    def says(self, *lines: dict[str, Any], status: int = 0, asks: Sequence[dict[str, Any]] = ()) -> None:
        """Let the updater say these lines, ask PID 1 for changes of the record, and end."""

        def begins(system: RunningSystem, spawn: Spawn) -> None:
            pid = max(system.processes)
            for ask in asks:
                system.later(0.2, lambda ask=ask: self.send(ask, pid=pid))  # type: ignore[misc]

        output = "".join(json.dumps(line) + "\n" for line in lines).encode()
        self.updater = Program(output=output, seconds=1.0, status=status, begins=begins)

    def phase(self, value: bootphase.BootPhase) -> None:
        self.system.blocks["/dev/vda3"].write(disk.PHASE_SECTOR * disk.SECTOR, bootphase.encode(value))

    def keeps(self, record: UpdateRecord) -> None:
        """Let state hold a record of updates: the fake's state is filled when it is mounted."""
        self.system.filesystems["/dev/vda7"]["/usr/share/factory/var/lib/berth/update/record.json"] = updates.encode(
            record
        )

    def send(self, request: dict[str, Any], *, pid: int = 999, uid: int = 0) -> None:
        line = json.dumps(request).encode() + b"\n"
        self.clients.append(self.system.connect(PATH, line, Peer(pid=pid, uid=uid, groups=(uid,))))

    def live(self, *requests: dict[str, Any], seconds: float = 60.0, uid: int = 0) -> Box:
        for number, request in enumerate(requests):
            self.system.at(BOOTED + 5 * number, lambda request=request: self.send(request, uid=uid))  # type: ignore[misc]
        self.system.at(seconds, lambda: self.system.raise_signal(signal.SIGUSR2))
        announcer = Announcer(self.system)
        announcer.listen(self._on_event)
        halves.run(self.system, announcer)
        return self

    def answers(self, number: int = 0) -> list[dict[str, Any]]:
        client = self.clients[number]
        assert client is not None
        return [json.loads(line) for line in client.answer.splitlines()]

    def record(self) -> Record:
        first, second = (self.system.blocks[path].read(0, bootrecord.COPY_BYTES) for path in ("/dev/vda3", "/dev/vda4"))
        found = bootrecord.current((first, second))
        assert found is not None
        return found

    def _on_event(self, name: str, line: bytes) -> None:
        self.events.append(json.loads(line))
        if name == events.SHUTDOWN_BEGUN and self.system.exists(updates.PATH):  # state is unmounted soon
            self.at_end = self.system.read(updates.PATH)

    def kept(self) -> UpdateRecord:
        return updates.decode(self.at_end)

    def said(self, event: str) -> list[dict[str, Any]]:
        return [one for one in self.events if one["event"] == event]

    def commands(self) -> list[tuple[str, ...]]:
        return [argv for argv in self.system.started if "updater" in argv]


APPLY = {"verb": "update", "action": "apply"}


def test_an_update_by_hand_is_told_as_it_goes_and_waits_for_its_reboot() -> None:
    box = Box()
    box.says(*SWITCHED, asks=[{"verb": "update-record", "rule": rule, "slot": "b"} for rule in ("vacate", "prefer")])
    box.live(APPLY)
    *progress, answer = box.answers()
    assert [one["progress"]["state"] for one in progress] == ["checking", "downloading", "switched"]
    assert (answer["format"], answer["state"], answer["version"]) == ("berth.update/1", "switched", "2")
    assert [one["state"] for one in box.said(events.UPDATE_STATE)] == ["checking", "downloading", "switched"]
    assert box.system.powered == "poweroff"
    record = box.record()
    assert (record.order, record.b) == (("b", "a"), SlotState(tries=3, good=False))
    [argv] = box.commands()
    assert argv[argv.index("--disk") + 1] == "/dev/vda"
    assert argv[argv.index("--root") + 1] == "/run/berth/update-root.json"


def test_asked_to_it_reboots_in_order() -> None:
    box = Box()
    box.says(*SWITCHED)
    box.live({**APPLY, "reboot": True})
    assert box.system.powered == "reboot"
    assert "update to 2" in box.said(events.SHUTDOWN_BEGUN)[0]["why"]


def test_a_reboot_that_was_refused_does_not_come_with_a_later_update() -> None:
    """It was asked for before the boot gate was passed."""
    box = Box()
    box.says(*SWITCHED)
    box.system.at(EARLY, lambda: box.send({**APPLY, "reboot": True}))
    box.live(APPLY)
    assert box.answers(0)[0]["message"] == "the boot gate is not passed yet"
    assert box.answers(1)[-1]["state"] == updates.SWITCHED
    assert box.system.powered == "poweroff"


def test_the_policy_now_takes_a_release_by_itself_and_reboots() -> None:
    box = Box(policy="now")
    box.says(*SWITCHED)
    box.live(seconds=300.0)
    assert box.system.powered == "reboot"
    assert len(box.commands()) == 1


def test_the_policy_manual_does_nothing() -> None:
    assert Box().live(seconds=20000.0).commands() == []


@pytest.mark.parametrize("uid", [0, 1000])
def test_only_the_updater_changes_the_record_and_only_the_slot_that_does_not_run(uid: int) -> None:
    box = Box(BOTH)
    box.says(*SWITCHED, asks=[{"verb": "update-record", "rule": "vacate", "slot": "a"}])
    box.live({"verb": "update-record", "rule": "vacate", "slot": "b"}, APPLY if uid == 0 else {"verb": "ps"}, uid=uid)
    record = box.record()
    assert (record.a, record.b) == (GOOD, GOOD)
    assert box.answers(0)[0]["code"] == "permission"


def test_who_may_only_read_may_not_update_but_see() -> None:
    box = Box()
    box.live(APPLY, {"verb": "rollback"}, {"verb": "update-show", "action": "status"}, uid=1000)
    assert [box.answers(number)[0].get("code") for number in range(3)] == ["permission", "permission", None]
    assert box.answers(2)[0]["state"] == "none"


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        (Box(repository=None), "no repository"),
        (Box(Record(sequence=0, order=("a", "b"), a=SlotState(tries=3), b=GOOD)), "not confirmed yet"),
    ],
)
def test_what_can_not_begin_says_why(box: Box, reason: str) -> None:
    if "confirmed" in reason:
        # Its gate stays open: the release waits for a container that never comes.
        container = formats.Container(name="web", image="archive:/x", required=True)
        waits = Machine(health=Health(settle=5.0, within=500.0), update=box.config.update, containers=(container,))
        box.system.filesystems["/dev/vda7"][DEFAULT_MACHINE_PATH] = json.dumps(formats.encode(waits)).encode()
    box.live(APPLY)
    [answer] = box.answers()
    assert answer["format"] == "berth.error/1"
    assert reason in answer["message"]


@pytest.mark.parametrize(("rules", "held"), [((), "1"), (("vacate",), None), (("vacate", "prefer"), "2")])
def test_a_slot_has_the_name_of_what_it_holds_also_when_an_update_is_cut_short(
    rules: Sequence[str], held: str | None
) -> None:
    """Else a release that is half there would be shown as the one before, and one that comes back under its name."""
    box = Box(BOTH)
    box.system.filesystems["/dev/vda7"]["/usr/share/factory/var/lib/berth/slots.json"] = b'{"b": "1"}'
    asks = [{"verb": "update-record", "rule": rule, "slot": "b"} for rule in rules]
    box.says({"state": "checking"}, {"state": "downloading", "version": "2"}, asks=asks, status=-9)
    box.live(APPLY, {"verb": "status"})
    assert box.answers(len(box.clients) - 1)[0]["slots"]["b"]["version"] == held


def test_an_updater_that_dies_is_an_update_that_failed() -> None:
    box = Box()
    box.keeps(UpdateRecord(attempts=(Attempt(**{**vars_of(ATTEMPT), "state": updates.DOWNLOADING}),)))
    box.says({"state": "checking"}, {"state": "downloading", "version": "2"}, status=-9)
    box.live(APPLY, {"verb": "update-show", "action": "history"})
    assert "signal 9" in box.answers(0)[-1]["reason"]
    [attempt] = box.answers(1)[0]["attempts"]
    assert (attempt["state"], "signal 9" in attempt["reason"]) == (updates.FAILED, True)


def vars_of(attempt: Attempt) -> dict[str, Any]:
    return {name: getattr(attempt, name) for name in attempt.__dataclass_fields__}


# Coming back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record", "phase", "reason"),
    [
        (Record(sequence=0, order=("b", "a"), a=GOOD, b=SlotState()), None, "unknown"),
        (
            Record(sequence=0, order=("b", "a"), a=GOOD, b=SlotState()),
            bootphase.BootPhase(slot="a", phase="good", boot="x"),
            "no-init",
        ),
        (
            Record(sequence=0, order=("b", "a"), a=GOOD, b=SlotState()),
            bootphase.BootPhase(slot="b", phase="initramfs", reason="verity", boot="x", detail="no root"),
            "verity",
        ),
        (
            Record(sequence=0, order=("b", "a"), a=GOOD, b=SlotState()),
            bootphase.BootPhase(slot="b", phase="containers", boot="x"),
            "unknown",
        ),
        (
            ALONE,  # it handed over in order: the record shows nothing
            bootphase.BootPhase(slot="b", phase="containers", reason="unhealthy", boot="x", detail="web is starting"),
            "unhealthy",
        ),
    ],
)
def test_a_release_that_came_back_is_said_held_and_kept(
    record: Record, phase: bootphase.BootPhase | None, reason: str
) -> None:
    box = Box(record)
    if phase is not None:
        box.phase(phase)
    box.keeps(UpdateRecord(attempts=(ATTEMPT,)))
    box.live({"verb": "status"}, {"verb": "update-show", "action": "status"})
    [fell] = box.said(events.BOOT_FELLBACK)
    assert fell["reason"] == reason
    assert box.answers(0)[0]["last_return"]["reason"] == reason
    assert [one["state"] for one in box.said(events.UPDATE_STATE)] == ["returned"]
    found = box.kept().holds(ATTEMPT.image)
    assert found is not None
    assert found.reason.startswith(reason)
    assert box.answers(1)[0]["state"] == updates.RETURNED


@pytest.mark.parametrize(
    ("phase", "faults", "reason", "detail"),
    [
        ("root", {"boot": "", "root": "block 7 differs"}, "verity", "root: block 7 differs"),
        ("root", {"boot": "", "root": ""}, "unknown", "root"),
        ("containers", {"boot": "vmlinuz is damaged", "root": ""}, "unknown", "containers"),
        (None, {"boot": "vmlinuz is damaged", "root": "block 7 differs"}, "no-init", "vmlinuz is damaged"),
        (None, None, "no-init", "nothing of it came as far as PID 1"),
    ],
)
def test_what_lies_on_the_disk_tells_more_than_a_panic_did(
    phase: str | None, faults: dict[str, str] | None, reason: str, detail: str
) -> None:
    box = Box(Record(sequence=0, order=("b", "a"), a=GOOD, b=SlotState()))
    box.phase(bootphase.BootPhase(slot="b" if phase else "a", phase=phase or "good", boot="x"))
    box.evidence = Program(output=json.dumps(faults).encode() + b"\n" if faults else b"", seconds=0.5)
    box.keeps(UpdateRecord(attempts=(ATTEMPT,)))
    box.live({"verb": "status"})
    [fell] = box.said(events.BOOT_FELLBACK)
    assert (fell["reason"], fell["detail"]) == (reason, detail)
    last = box.answers(0)[0]["last_return"]
    assert (last["reason"], last["detail"], last["phase"]) == (reason, detail, phase)
    found = box.kept().holds(ATTEMPT.image)
    assert found is not None
    assert found.reason == f"{reason}: {detail}"


def test_a_boot_like_any_other_is_no_return() -> None:
    box = Box(BOTH)
    box.phase(bootphase.BootPhase(slot="a", phase="good", boot="x"))
    box.live()
    assert box.said(events.BOOT_FELLBACK) == []


def test_a_confirmed_update_is_good() -> None:
    box = Box(Record(sequence=0, order=("a", "b"), a=SlotState(tries=2), b=GOOD))
    box.keeps(UpdateRecord(attempts=(Attempt(**{**vars_of(ATTEMPT), "slot": "a"}),)))
    box.live({"verb": "update-show", "action": "status"})
    assert [one["state"] for one in box.said(events.UPDATE_STATE)] == ["good"]
    assert box.answers()[0]["last"]["state"] == updates.GOOD
    assert box.record().a == GOOD
    assert box.kept().sequence == 2


def test_an_update_whose_end_was_lost_with_the_power_is_good_at_the_next_boot() -> None:
    """The slot was confirmed, and the record of updates was not written any more."""
    box = Box(Record(sequence=0, order=("a", "b"), a=SlotState(tries=2, good=True), b=GOOD))
    box.keeps(UpdateRecord(attempts=(Attempt(**{**vars_of(ATTEMPT), "slot": "a"}),)))
    box.live({"verb": "update-show", "action": "status"})
    assert [one["state"] for one in box.said(events.UPDATE_STATE)] == ["good"]
    assert box.answers()[0]["last"]["state"] == updates.GOOD
    assert box.kept().sequence == 2


# Rollback ---------------------------------------------------------------------------------------------------


def test_a_rollback_boots_the_other_slot_and_holds_what_is_left() -> None:
    box = Box(BOTH)
    box.keeps(UpdateRecord(attempts=(Attempt(**{**vars_of(ATTEMPT), "slot": "a", "state": updates.GOOD}),)))
    box.live({"verb": "rollback"})
    [answer] = box.answers()
    assert (answer["slot"], answer["rebooting"]) == ("b", True)
    assert box.system.powered == "reboot"
    assert box.record().order == ("b", "a")
    assert box.record().a == GOOD
    assert [held.reason for held in box.kept().held] == ["rolled back by hand"]


def test_without_a_confirmed_other_slot_there_is_nothing_to_go_back_to() -> None:
    box = Box(ALONE)
    box.live({"verb": "rollback"})
    assert "no confirmed release" in box.answers()[0]["message"]
    assert box.record() == ALONE


def test_a_release_that_waits_for_its_reboot_is_given_up() -> None:
    """Nothing reboots: the confirmed slot that runs boots next, and the release is not taken again unasked."""
    waiting = Record(sequence=0, order=("b", "a"), a=GOOD, b=SlotState(tries=3))
    box = Box(waiting)
    box.keeps(UpdateRecord(attempts=(ATTEMPT,)))
    box.live({"verb": "rollback"}, {"verb": "update-show", "action": "status"})
    [answer], [status] = box.answers(0), box.answers(1)
    assert (answer["slot"], answer["running"], answer["rebooting"]) == ("a", True, False)
    assert box.system.powered == "poweroff"
    assert (box.record().order, box.record().a, box.record().b) == (("a", "b"), GOOD, SlotState())
    assert (status["state"], status["reason"]) == (updates.RETURNED, updates.BY_HAND)
    assert box.kept().holds(ATTEMPT.image) is not None


# Policy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "Sun", "03:00", "25:00-26:00", "Sun 3-5", "Sunday 03:00-05:00", "a:b-c:d"])
def test_what_is_no_window_is_none(text: str) -> None:
    assert updatepolicy.parse(text) is None


@given(
    st.sampled_from((*updatepolicy.DAYS, None)),
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.integers(0, 2**32),
    st.floats(0, 1, exclude_max=True),
    st.booleans(),
)
def test_a_look_by_policy_falls_into_a_window(  # noqa: PLR0917 - six facts that are drawn
    day: str | None, start: int, length: int, now: int, place: float, first: bool
) -> None:
    end = (start + length) % 1440
    text = f"{f'{day} ' if day else ''}{start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02}"
    window = updatepolicy.parse(text)
    assert window is not None
    wait = updatepolicy.until_look("window", window, float(now), place, first=first)
    assert wait is not None
    assert 0 <= wait <= 8 * updatepolicy.DAY
    if not (first and updatepolicy.is_open(window, now)):
        assert updatepolicy.is_open(window, now + wait + 0.001)
    opening = now + updatepolicy.until_opening(window, float(now))
    assert updatepolicy.is_open(window, opening)


def test_the_day_is_the_calendars() -> None:
    window = updatepolicy.parse("Sun 03:00-05:00")
    assert window is not None
    sunday = 1_795_921_200.0  # Sunday, 29 November 2026, 03:00 UTC
    assert updatepolicy.is_open(window, sunday + 1)
    assert not updatepolicy.is_open(window, sunday - 1)
    assert not updatepolicy.is_open(window, sunday + 2 * 3600)


CHECKS: Sequence[Callable[[float], float | None]] = (
    lambda place: updatepolicy.until_look("now", None, 0.0, place, first=True),
    lambda place: updatepolicy.until_look("now", None, 0.0, place, first=False),
)


@pytest.mark.parametrize("look", CHECKS)
def test_machines_of_a_fleet_have_places_of_their_own(look: Callable[[float], float | None]) -> None:
    places = {look(updatepolicy.fraction(f"{number:08x}")) for number in range(0, 2**32, 2**28)}
    assert len(places) == 16
