"""The door of SSH, in a whole life: where the kernel has no room for a log-in, and where PID 1 has a fault."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest
from fakes.life import Life, make, programs
from fakes.processes import Connection, Program

from init.formats import events
from init.pid1.system import Spawn


def of_ssh(argv: Sequence[str]) -> bool:
    return argv[0] == "/usr/sbin/sshd"


def dialling(error: Exception, times: int, asks: Sequence[float]) -> tuple[Life, list[Connection | None]]:
    """A life in which each start of sshd raises so many times, and somebody dials once each second from 10 s on."""
    system = make(does=lambda argv: Program(seconds=0.5) if of_ssh(argv) else programs(argv))
    spawn, refused, dialled = system.spawn, [], []

    def may_refuse(wanted: Spawn) -> int:
        if of_ssh(wanted.argv) and len(refused) < times:
            refused.append(wanted)
            raise error
        return spawn(wanted)

    system.spawn = may_refuse  # type: ignore[method-assign]
    for at in asks:
        system.at(at, lambda: dialled.append(system.connect("tcp:22", b"")))
    return Life(system=system), dialled


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.ENOMEM])
def test_where_there_is_no_room_for_a_log_in_the_next_one_comes_through(number):
    life, dialled = dialling(OSError(number, "no room"), 5, [10.0 + n for n in range(6)])
    assert [argv for argv in life.system.started if of_ssh(argv)], "it was started in the end"
    assert all(connection is not None and connection.closed for connection in dialled), "nobody is left waiting"
    assert life.system.said.count(b"ssh: a connection can't be taken now: no room") == 2, "once on each console"
    assert events.INIT_FAULT not in life.names()
    assert events.HEALTH_DEGRADED not in life.names()


def test_a_door_that_fails_again_and_again_is_opened_again_and_health_tells_it_meanwhile():
    life, dialled = dialling(RuntimeError("a fault"), 5, [25.0 + n / 10 for n in range(6)])
    assert [argv for argv in life.system.started if of_ssh(argv)], "it was started in the end"
    assert all(connection is not None and connection.closed for connection in dialled)
    reasons = ["ssh: failed 5 times in a row, again in 10 s; see berthctl logs init"]
    meanwhile, after = life.answers
    assert (meanwhile["health"]["state"], meanwhile["health"]["reasons"]) == ("degraded", reasons)
    assert after["health"]["state"] == "healthy"
