"""A whole life of PID 1 with call n failing: it goes on, and what went wrong is said.

Whatever call of the running half fails, once, the machine goes on: it is asked for its status and answers, it starts
its container, and at the end it is off with its state unmounted, or read-only where the unmount was what failed.
"""

from __future__ import annotations

import errno
import fnmatch
import functools

import pytest
from fakes.life import Life, make
from fakes.recording import Call

from init.formats import events
from init.pid1.state import PLACE
from init.pid1.system import Spawn


@functools.cache
def whole(kind: str) -> tuple[Life, int]:
    """A life as it should be, and its first call after the early half, whose own test is `test_early`."""
    life = Life(system=make(kind=kind))
    calls = life.system.calls
    return life, next(number for number, call in enumerate(calls, start=1) if call.name == "open_signals")


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "fail_with", "part", "parts"),
    [
        *(("disk", errno.EIO, part, 4) for part in range(4)),  # every call
        *(("iso", errno.EIO, part, 4) for part in range(4)),
        ("disk", errno.EAGAIN, 1, 5),  # a sample: these two are taken apart from EIO in few places
        ("disk", errno.ENOMEM, 3, 5),
    ],
)
def test_any_one_call_may_fail_and_it_is_said(kind, fail_with, part, parts):
    """Each call fails once. Nothing is lost by it, or it is said, or a row of `HARMLESS` says why not."""
    expected, first = whole(kind)
    for number in range(first + part, len(expected.system.calls) + 1, parts):
        life = Life(system=make(kind=kind, fail_at=number, fail_with=fail_with))
        call = life.system.failed
        assert call is not None, number
        failed = str(call)
        assert life.system.powered == "poweroff", failed
        assert PLACE not in life.system.mounted or PLACE in life.system.frozen or kind == "iso", failed
        assert life.answers, failed
        names = life.names()
        for name in (
            events.CONTAINER_STARTED,
            events.CONTAINER_HEALTHY,
            *((events.BOOT_GOOD,) if kind == "disk" else ()),
            events.SHUTDOWN_BEGUN,
            events.SHUTDOWN_CLEAN,
        ):
            assert name in names, (failed, names)
        lost = effects(expected) - effects(life)
        assert not lost or said_of(life) - said_of(expected) or harmless(call), f"{failed}; lost: {sorted(lost)}"


CHANGING = (
    "add_entropy", "allow_open_files", "feed_watchdog", "listen_datagrams", "listen_local", "listen_tcp", "load_module",
    "make_folder", "make_link", "map_over", "mount", "power", "remove", "rename", "replace", "set_hostname", "set_link",
    "set_mode", "set_owner", "set_time", "signal_all", "sync", "unmount", "write",
)  # fmt: skip


def effects(life: Life) -> set[str]:
    """Return what changed something, and the events; no numbers of descriptors, and no time of day."""
    found = set(life.names())
    for call in life.system.calls:
        if call is life.system.failed:
            continue
        if call.name == "spawn" and isinstance(call.arguments[0], Spawn):
            found.add(f"spawn {call.arguments[0].argv}")
        elif call.name == "write_blocks":
            found.add(f"write_blocks {call.arguments[:2]}")
        elif call.name == "feed_watchdog":
            found.add(call.name)
        elif call.name in CHANGING:
            found.add(str(call))
    return found | {f"log {line}" for line in logged(life)}


def logged(life: Life) -> set[str]:
    """Return the lines of all logs, with their file, without their two times."""
    appended = [call for call in life.system.calls if call.name == "append" and call is not life.system.failed]
    return {
        f"{call.arguments[0]} {line.split(' ', 2)[-1]}"
        for call in appended
        for line in bytes(call.arguments[1]).decode().splitlines()  # type: ignore[call-overload]
    }


def said_of(life: Life) -> set[str]:
    """Return what people can read: consoles, logs, and that the machine is not well."""
    console = {line.rpartition("] ")[2] for line in life.system.said.decode().splitlines()}
    return console | logged(life) | {name for name in life.names() if name in (events.INIT_FAULT,)}


HARMLESS = {
    ("write", "/sys/fs/cgroup/berth/*/cgroup.kill"): "what it would end is ended by its session instead",
}


def harmless(call: Call) -> str | None:
    """Return why it does not matter that a call fails of which nothing is said; None where it does."""
    path = f"{call.arguments[0]}" if call.arguments else ""
    for (name, pattern), why in HARMLESS.items():
        if call.name == name and fnmatch.fnmatchcase(path, pattern):
            return why
    return None
