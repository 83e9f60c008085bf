"""The control socket: who may do what, and whatever is sent to it."""

from __future__ import annotations

import errno
import json
import os

import pytest
from fakes import machine
from fakes.processes import Connection, Program
from fakes.running import RunningSystem, running
from hypothesis import given, settings
from hypothesis import strategies as st

from init.pid1 import control
from init.pid1.control import CLIENTS_MOST, CLIENTS_OF_ROOT, PATH, WAITING_MOST, Client, Control
from init.pid1.loop import Loop
from init.pid1.system import Peer

GROUP = b"root:x:0:\nberth:x:1000:me\nsudo:x:27:\nusers:x:100:\nbroken\nwheel:x:many:\n"


class Desk:
    def __init__(self) -> None:
        self.system: RunningSystem = running(machine.base("quiet"), lambda argv: Program())
        self.system.tree.fill({"/etc/group": GROUP})
        self.faults: list[str] = []
        self.loop = Loop(self.system, lambda where, error: self.faults.append(f"{where}: {error}"))
        self.clients: list[Client] = []
        self.said: list[str] = []
        self.control = Control(self.system, self.loop, self.answer, self.said.append)
        self.control.open()

    def answer(self, client: Client, request) -> None:
        self.clients.append(client)
        if request["verb"] == "break":
            raise ZeroDivisionError("as asked")
        client.send({"verb": request["verb"]})
        if request["verb"] == "events":
            client.follow(lambda: None)
        else:
            client.finish()

    def send(self, data: bytes, *, uid: int = 0, groups: tuple[int, ...] = (0,)) -> Connection:
        connection = self.system.connect(PATH, data, Peer(pid=1, uid=uid, groups=groups))
        assert connection is not None
        for _ in range(4):
            self.loop.turn(0.01)
        return connection


def answer(connection: Connection) -> dict:
    return json.loads(connection.answer.splitlines()[0])


def test_a_request_is_answered_and_the_connection_closed():
    desk = Desk()
    connection = desk.send(b'{"verb": "status"}\n')
    assert answer(connection) == {"verb": "status"}
    assert connection.closed


def test_where_the_kernel_has_no_room_for_a_connection_it_waits_and_that_is_said_once():
    desk = Desk()
    accept, refused = desk.system.accept, []

    def full(descriptor: int):
        if len(refused) < 20:
            refused.append(descriptor)
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))
        return accept(descriptor)

    desk.system.accept = full  # type: ignore[method-assign]
    begun, connection = desk.system.seconds, desk.send(b'{"verb": "status"}\n')
    while not connection.closed:
        desk.loop.turn()
    assert answer(connection) == {"verb": "status"}
    assert desk.said == ["control socket: a connection can't be taken now: Too many open files in system"]
    assert desk.faults == []
    assert 20 <= desk.system.seconds - begun < 25, "one try a second"


@pytest.mark.parametrize(
    ("uid", "groups", "may"),
    [(0, (0,), True), (1000, (1000,), True), (5, (100, 27), True), (5, (100,), False), (5, (), False)],
)
def test_who_may_reboot(uid, groups, may):
    connection = Desk().send(b'{"verb": "reboot"}\n', uid=uid, groups=groups)
    assert ("code" not in answer(connection)) is may
    if not may:
        assert answer(connection)["code"] == "permission"


@pytest.mark.parametrize("verb", sorted(control.READING))
def test_everybody_may_read(verb):
    connection = Desk().send(json.dumps({"verb": verb}).encode() + b"\n", uid=5, groups=())
    assert answer(connection) == {"verb": verb}


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(lambda text: json.dumps({"verb": text}).encode())))
def test_whatever_is_sent_gets_an_answer_and_no_fault(data):
    desk = Desk()
    connection = desk.send(data.replace(b"\n", b" ") + b"\n", uid=5, groups=())
    assert isinstance(answer(connection), dict)
    assert desk.faults == []
    assert connection.closed or desk.clients


@pytest.mark.parametrize(
    "data",
    [b"[" * 60000 + b"\n", b'{"verb": 3}\n', b'{"verb": "x"' + b" " * 70000, b"\n", b"null\n", b'"verb"\n'],
    ids=["deep", "number", "long", "empty", "null", "text"],
)
def test_hostile_requests(data):
    desk = Desk()
    connection = desk.send(data)
    assert answer(connection)["code"] == "request"
    assert connection.closed
    assert desk.faults == []


def test_a_client_that_says_nothing_is_closed_in_time():
    desk = Desk()
    connection = desk.send(b'{"verb":')
    for _ in range(20):
        desk.loop.turn(1.0)
    assert connection.closed


def test_there_is_a_most_of_clients():
    desk = Desk()
    waiting = [desk.send(b'{"verb": "events"}\n', uid=5, groups=()) for _ in range(CLIENTS_MOST)]
    assert not any(connection.closed for connection in waiting)
    turned_away = desk.send(b'{"verb": "status"}\n', uid=1000, groups=(1000,))
    assert (answer(turned_away)["code"], turned_away.closed) == ("busy", True)
    # Whoever may only read locks nobody out who is root.
    assert answer(desk.send(b'{"verb": "status"}\n')) == {"verb": "status"}
    waiting += [desk.send(b'{"verb": "events"}\n') for _ in range(CLIENTS_OF_ROOT)]
    assert not any(connection.closed for connection in waiting)
    assert answer(desk.send(b'{"verb": "status"}\n'))["code"] == "busy"


def test_an_answer_that_fails_is_told_to_both_sides():
    desk = Desk()
    connection = desk.send(b'{"verb": "break"}\n')
    assert answer(connection)["code"] == "internal"
    assert connection.closed
    assert any("as asked" in fault for fault in desk.faults)
    assert answer(desk.send(b'{"verb": "status"}\n')) == {"verb": "status"}


def test_a_reader_that_is_too_slow_skips_lines_and_is_told():
    desk = Desk()
    desk.send(b'{"verb": "events"}\n')
    client = desk.clients[0]
    full = [True]
    real = desk.system.write_to

    def write_to(descriptor: int, data: bytes) -> int:
        if full[0]:
            raise BlockingIOError
        return real(descriptor, data)

    desk.system.write_to = write_to  # type: ignore[method-assign]
    line = b"x" * 1000 + b"\n"
    for _ in range(WAITING_MOST // 1000 + 50):
        client.send_line(line)
    full[0] = False
    client.send({"last": True})
    client.on_news()
    assert b"skipped" in desk.system.connections[client.descriptor].answer
