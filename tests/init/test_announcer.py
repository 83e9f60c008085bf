"""Events: the table, the queue, a port that nobody reads."""

from __future__ import annotations

import json

from fakes import machine
from fakes.processes import Program
from fakes.running import RunningSystem, running
from hypothesis import given
from hypothesis import strategies as st

from init.formats import events
from init.pid1.events import QUEUE_MOST, Announcer, Queue
from init.pid1.loop import Loop


class Port(RunningSystem):
    """A machine whose event port takes `room` bytes."""

    room = 0

    def write_to(self, descriptor: int, data: bytes) -> int:
        if self.room <= 0:
            raise BlockingIOError
        took = data[: self.room]
        self.room -= len(took)
        self.said += took
        return len(took)


def make(room: int) -> tuple[Port, Loop, Announcer]:
    system = running(machine.base("quiet"), lambda argv: Program())
    system.__class__ = Port
    assert isinstance(system, Port)
    system.room = room
    system.tree.fill({"/sys/class/virtio-ports/vport1p1/name": b"berth.events\n", "/dev/vport1p1": b""})
    loop = Loop(system, lambda where, error: None)
    announcer = Announcer(system, loop)
    assert announcer.open_port()
    return system, loop, announcer


def lines(system: Port) -> list[dict]:
    return [json.loads(line) for line in system.said.splitlines()]


def test_every_event_of_the_table_has_its_fields_in_order():
    for name, fields in events.EVENTS.items():
        line = events.line(name, {"secret": 1}, t=1.5, seq=7, boot_id="b")
        value = json.loads(line)
        assert list(value) == ["t", "event", "seq", "boot_id", *(field.name for field in fields)]
        assert (value["t"], value["event"], value["seq"]) == (1.5, name, 7)
        assert line.count(b"\n") == 1


@given(st.dictionaries(st.text(max_size=10), st.one_of(st.text(), st.binary(), st.floats(), st.none())))
def test_no_value_breaks_a_line(fields):
    line = events.line(events.RESCUE_ENTERED, {**fields, "reason": "\n\x00\ud800"}, t=0, seq=1, boot_id="")
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1


def test_events_go_out_at_once_where_there_is_room():
    system, _, announcer = make(1 << 20)
    announcer.emit(events.SERVICE_READY, name="web")
    assert lines(system)[0]["name"] == "web"


def test_a_full_port_blocks_nothing_and_the_loss_is_counted():
    system, loop, announcer = make(0)
    for number in range(QUEUE_MOST + 10):
        announcer.emit(events.SERVICE_READY, name=str(number))
    assert announcer.waiting == QUEUE_MOST
    system.room = 1 << 20
    loop.turn(1.0)
    loop.turn(1.0)
    got = lines(system)
    assert [value["name"] for value in got[:-1]] == [str(number) for number in range(QUEUE_MOST)]
    assert got[-1]["event"] == events.EVENTS_DROPPED
    assert got[-1]["count"] == 10
    assert len(announcer.ring) == QUEUE_MOST + 11, "in memory nothing is lost"


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_however_the_port_takes_them_lines_stay_whole(rooms):
    queue, out = Queue(), bytearray()
    wanted = [b"%d: %s\n" % (number, b"x" * (number % 17)) for number in range(12)]
    for line in wanted:
        queue.add(line)
    for room in [*rooms, 10_000]:
        left = [room]

        def write(data: bytes, left: list[int] = left) -> int:
            if not left[0]:
                raise BlockingIOError
            took = min(left[0], len(data))
            out.extend(data[:took])
            left[0] -= took
            return took

        while not queue.flush(write) and left[0]:
            continue
    assert bytes(out) == b"".join(wanted)


def test_a_port_that_comes_late_gets_what_was_said_before():
    system = running(machine.base("quiet"), lambda argv: Program())
    announcer = Announcer(system)
    announcer.emit(events.INIT_STARTED)
    assert not announcer.open_port()
    system.tree.fill({"/sys/class/virtio-ports/vport1p1/name": b"berth.events\n", "/dev/vport1p1": b""})
    assert announcer.open_port()
    assert json.loads(system.said)["event"] == events.INIT_STARTED
