"""Lines, ring, files, rotation, loss."""

from __future__ import annotations

import datetime
import errno
import itertools

from fakes import machine
from fakes.processes import Program
from fakes.running import RunningSystem, running
from hypothesis import given
from hypothesis import strategies as st

from init.formats.logfile import FOLDER
from init.pid1.kernellog import parse
from init.pid1.lines import LINE_MOST, Splitter
from init.pid1.logs import Line, Logs, Ring, stamp
from init.pid1.loop import IDLE_MOST, Loop


def make() -> tuple[RunningSystem, Loop, Logs]:
    system = running(machine.base("quiet"), lambda argv: Program())
    loop = Loop(system, lambda where, error: None)
    return system, loop, Logs(system, loop)


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=8))
def test_however_a_stream_is_cut_its_lines_are_the_same(data, cuts):
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    splitter, lines = Splitter(), []
    for start, end in itertools.pairwise(places):
        lines += splitter.feed(data[start:end])
    lines += splitter.finish()
    whole = Splitter()
    assert lines == whole.feed(data) + whole.finish()


@given(st.integers(0, 5 * LINE_MOST))
def test_a_long_line_is_cut_and_nothing_is_lost(length):
    splitter = Splitter()
    lines = splitter.feed(b"x" * length) + splitter.finish()
    assert all(len(line) <= LINE_MOST for line in lines)
    assert sum(map(len, lines)) == length


def test_a_partial_line_waits_and_bytes_that_are_no_text_are_marked():
    splitter = Splitter()
    assert splitter.feed(b"one\r\ntw") == ["one"]
    assert splitter.feed(b"o\n\xff\n") == ["two", "�"]
    assert splitter.finish() == []


@given(st.lists(st.integers(0, 500), max_size=60))
def test_the_ring_is_bounded_and_keeps_the_newest(sizes):
    ring = Ring(most=2000)
    for number, size in enumerate(sizes):
        ring.add(Line(number=number, time=0, t=0, name="a", text="x" * size))
    kept = ring.newest(1000)
    assert [line.number for line in kept] == list(range(len(sizes)))[len(sizes) - len(kept) :]
    assert sum(len(line.text) + 64 for line in kept) <= 2000 or len(kept) == 1
    assert len(kept) >= min(len(sizes), 3)


@given(st.integers(0, 4_102_444_799), st.integers(0, 999))
def test_stamps_are_those_of_datetime(seconds, milliseconds):
    expected = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    assert stamp(seconds + milliseconds / 1000 + 0.0001) == f"{expected}.{milliseconds:03}Z"


def test_early_lines_come_into_the_files_and_files_are_rotated():
    system, _, store = make()
    store.say("init", "first")
    store.keep_in(FOLDER, file_most=200)
    for number in range(20):
        store.say("init", f"line {number}")
    assert system.tree.get(f"{FOLDER}/init.log").endswith(b"line 19\n")
    assert len(system.tree.get(f"{FOLDER}/init.log")) <= 200
    assert len(system.tree.get(f"{FOLDER}/init.log.1")) <= 200
    assert store.lost == 0


def test_a_full_disk_costs_the_file_not_the_line():
    system, _, store = make()
    store.keep_in(FOLDER, file_most=1000)
    store.say("web", "before")
    system.fail_at, system.fail_with = len(system.calls) + 1, errno.ENOSPC
    store.say("web", "full")
    store.say("web", "after")
    assert [line.text for line in store.ring.newest(9)] == ["before", "full", "after"]
    assert store.lost == 1
    assert system.tree.get(f"{FOLDER}/web.log").endswith(b"after\n")


def test_lines_that_are_lost_are_told_once_a_minute_and_counted():
    system, loop, store = make()
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        store.say("init", text)  # as PID 1 does, and the disk is still full

    def full(path: str, data: bytes, mode: int = 0o644) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store.on_lost = tell
    store.keep_in(FOLDER, 1000)
    system.append = full  # type: ignore[method-assign]
    for _ in range(10):
        store.say("web", "hello")
    assert told == ["lines of the logs can't be kept: No space left on device"]
    begun = system.seconds
    del system.append
    while len(told) == 1:
        loop.turn()
    assert told[1] == "11 lines of the logs could not be kept; berthctl logs shows the newest"
    assert 59 < system.seconds - begun < 61 + IDLE_MOST  # the turn that told it has waited since
    store.say("web", "there is room again")
    assert len(told) == 2


def test_a_name_is_never_a_path():
    system, _, store = make()
    store.keep_in(FOLDER, file_most=1000)
    store.say("../../etc/x", "no")
    assert system.tree.names(FOLDER) == ["_.._etc_x.log"]


def test_what_a_service_says_is_read_without_waiting():
    system, loop, store = make()
    writing = store.pipe("web")
    assert store.pipe("web") == writing
    system.pipes[0].data = b"hello\nhalf"
    loop.turn()
    assert [line.text for line in store.ring.newest(9)] == ["hello"]
    store.drain("web", finish=True)
    assert [line.text for line in store.ring.newest(9)] == ["hello", "half"]


def test_a_services_output_is_told_apart_from_what_a_probe_writes_into_its_log():
    system, loop, store = make()
    told: list[str] = []
    store.on_output = told.append
    store.pipe("web")
    store.pipe("web", "probe")
    store.say("web", "PID 1's own words")
    system.pipes[1].data = b"unhealthy: connection refused\n"
    loop.turn()
    assert told == []
    system.pipes[0].data = b"half"
    loop.turn()
    assert told == []  # a line has an end
    store.drain("web", finish=True)
    assert told == ["web"]
    assert [line.name for line in store.ring.newest(9)] == ["web"] * 3


def test_kernel_records():
    assert parse(b"6,339,5140900,-;NET: Registered\n SUBSYSTEM=x\n") == (5.1409, "NET: Registered")
    assert parse(b"12,340,5,-;a program's own") is None
    assert parse(b"nonsense") is None
    assert parse(b"6,x") is None
