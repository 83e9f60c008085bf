"""From the initramfs' files to the root's: decisions, on the fake kernel, and a real Python whose files change."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import machine
from fakes.processes import Program
from fakes.recording import Call
from fakes.running import RunningSystem, running
from fakes.tree import Link
from hypothesis import given
from hypothesis import strategies as st

from init.pid1 import passage
from init.pid1.loop import Loop

ROOT = Path(__file__).parents[2]
PYTHON = "/usr/bin/python3.13"
MAPS = """\
00400000-00404000 r-xp 00000000 00:02 17    /usr/bin/python3.13 (deleted)
00604000-00605000 r--p 00004000 00:02 17    /usr/bin/python3.13 (deleted)
00605000-00607000 rw-p 00005000 00:02 17    /usr/bin/python3.13 (deleted)
00700000-00710000 rw-p 00000000 00:00 0     [heap]
7f00000000-7f00002000 r--p 00000000 00:02 18    /lib/ld.so (deleted)
7f00002000-7f00003000 rw-p 00002000 00:02 18    /lib/ld.so (deleted)
7f10000000-7f10002000 r--p 00000000 fd:00 9     /usr/lib/libz.so.1
7f20000000-7f20002000 rw-s 00000000 00:01 33    /memfd:x (deleted)
7f30000000-7f30002000 rw-s 00000000 00:02 34    /run/shared (deleted)
"""
EXE, RELRO, DATA, LOADER, LOADER_DATA = 0x400000, 0x604000, 0x605000, 0x7F00000000, 0x7F00002000


class Passing:
    """A machine whose PID 1 has come up, on the fake kernel."""

    def __init__(self) -> None:
        self.system = running(machine.installed(), lambda _: Program())
        self.system.tree.fill({"/proc/self/maps": MAPS.encode(), PYTHON: b"x", "/lib/ld.so": b"x"})
        self.system.tree.fill({"/proc/self/exe": Link("/lib/ld.so (deleted)")})
        self.up = True
        self.said: list[str] = []
        self.loop = Loop(self.system, lambda where, error: pytest.fail(f"{where}: {error}"))
        self.passage = passage.Passage(self.system, self.loop, self.said.append, lambda: self.up)
        self.passage.begin()

    def go(self, seconds: float) -> RunningSystem:
        def end() -> None:
            self.loop.finished = True

        self.loop.finished = False
        self.loop.after("end", seconds, end)
        self.loop.run()
        return self.system


def test_what_cannot_have_been_written_to_is_mapped_from_the_root_and_the_rest_is_given_back():
    passing = Passing()
    passing.system.started_by_kernel.add(LOADER_DATA)
    system = passing.go(10.0)
    assert system.mapped_over == [(EXE, PYTHON, True), (RELRO, PYTHON, False), (LOADER, "/lib/ld.so", False)]
    assert system.freed == {DATA: ((0, 0x7000),)}
    assert passing.said == ["PID 1 runs from the root's files: 28 KiB of the initramfs given back"]


def test_it_begins_once():
    passing = Passing()
    passing.passage.begin()
    passing.go(10.0)
    passing.passage.begin()
    passing.go(10.0)
    assert len(passing.said) == 1
    assert [call.name for call in passing.system.calls].count("apart") == 1


def test_another_file_of_the_same_name_is_not_taken_for_it():
    passing = Passing()
    passing.system.differing.add(PYTHON)
    system = passing.go(10.0)
    assert [path for _, path, _ in system.mapped_over] == ["/lib/ld.so"]
    assert DATA not in system.freed


def test_a_drive_that_never_answers_keeps_a_child_waiting_and_pid_1_as_it_is():
    passing = Passing()
    passing.system.hangs.add(("is_same", str(EXE)))
    assert passing.go(100.0).mapped_over == []


def test_nothing_of_it_is_done_on_the_way_down():
    passing = Passing()
    passing.up = False
    assert passing.go(100.0).mapped_over == []


FORK = {"/proc/120/maps": MAPS.encode(), "/proc/120/exe": Link("/lib/ld.so (deleted)")}


def test_what_a_fork_runs_from_is_given_back_once_it_has_ended():
    passing = Passing()
    passing.system.tree.fill(FORK)
    assert passing.go(10.0).freed == {DATA: (), LOADER_DATA: ()}
    del passing.system.tree.nodes["/proc/120/exe"]
    assert passing.go(40.0).freed == {DATA: ((0, 0x7000),), LOADER_DATA: ((0, 0x3000),)}


def test_a_fork_of_after_the_passage_holds_only_what_it_maps():
    passing = Passing()
    lines = [line for line in MAPS.splitlines() if "rw-p" in line]
    passing.system.tree.fill({**FORK, "/proc/120/maps": "\n".join(lines).encode()})
    assert passing.go(10.0).freed == {DATA: ((0, 0x5000),), LOADER_DATA: ((0, 0x2000),)}


def test_a_process_that_became_another_program_is_nobodys_concern():
    passing = Passing()
    passing.system.tree.fill({**FORK, "/proc/120/exe": Link("/usr/bin/crun")})
    assert passing.go(10.0).freed[DATA] == ((0, 0x7000),)


@pytest.mark.parametrize("name", ["read_link", "read", "names"])
def test_where_it_cannot_be_told_who_runs_from_them_nothing_goes_until_it_can(name: str):
    passing = Passing()
    system = passing.system
    system.tree.fill(FORK)
    begin, seen = system.begin, iter(range(1, 100))

    def fails_first(call: Call) -> None:
        begin(call)
        if system.mapped_over and call.name == name and str(call.arguments[0]).startswith("/proc") and next(seen) < 3:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    system.begin = fails_first  # type: ignore[method-assign]
    assert passing.go(1.5).freed == {}
    assert passing.go(100.0).freed[DATA] == ()


RANGES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10)), max_size=6)


@given(RANGES, RANGES)
def test_exactly_what_moved_and_is_not_left_is_free(moved: list[tuple[int, int]], left: list[tuple[int, int]]):
    def mappings(ranges: list[tuple[int, int]]) -> list[passage.Mapping]:
        return [
            passage.Mapping(start=0, end=size, mode="r--p", offset=at, file=("0", "1"), path="/x")
            for at, size in ranges
        ]

    def covered(ranges: list[tuple[int, int]]) -> set[int]:
        return {byte for at, size in ranges for byte in range(at, at + size)}

    free = passage.free_ranges(mappings(moved), mappings(left))
    assert {byte for low, high in free for byte in range(low, high)} == covered(moved) - covered(left)


# A Python that was started by the loader, as `/init` is, whose own file is then another one of the same bytes.
PASSES = """
import os, sys
sys.path[0] = sys.argv[1]
from init.pid1 import passage
from init.pid1.linux.kernel import Kernel
interpreter, kernel, moved = sys.argv[2], Kernel(), []
os.rename(interpreter + ".other", interpreter)
maps = lambda: open("/proc/self/maps").read()
before = [m for m in passage.held(maps()) if m.path == interpreter]
for m in before:
    if m.movable and kernel.is_same(m.start, m.end, m.path, m.offset):
        kernel.map_over(m.start, m.end, m.path, m.offset, executable=m.mode[2] == "x")
        moved.append(m)
left = [m for m in passage.held(maps()) if m.path == interpreter]
free = passage.free_ranges([*moved, *left], [m for m in left if not m.writable])
kept = os.open(f"/proc/self/map_files/{left[0].start:x}-{left[0].end:x}", os.O_RDONLY) if os.geteuid() == 0 else 0
blocks = os.fstat(kept).st_blocks
try:
    own = [(m.start, m.end) for m in left if m.writable]
    kernel.free_pages(left[0].start, left[0].end, own=own, free=free)
    given = (blocks - os.fstat(kept).st_blocks) * 512
    said = "given back" if given == sum(high - low for low, high in free) else f"{given} of {free}"
except PermissionError:
    said = "only root may"
import json, decimal, email.message  # what runs now runs from the other file
assert json.loads("[1.5]") == [1.5] and sum(range(1000)) == 499500
print(len(before) > len(left) > 0, any(m.mode[2] == "x" for m in left), said)
"""


def loader_of(interpreter: Path) -> str:
    maps = subprocess.run([interpreter, "-c", "print(open('/proc/self/maps').read())"], capture_output=True, check=True)
    return next(word for word in maps.stdout.decode().split() if "/ld-linux" in word or "/ld-" in word)


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder in memory, where a file's pages can be punched out."""
    folder = Path("/dev/shm") / f"berth-test-{os.getpid()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_a_real_python_runs_on_from_another_file_and_the_first_ones_memory_is_given_back(in_memory: Path):
    real = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    interpreter = in_memory / real.name
    for name in (interpreter, Path(f"{interpreter}.other")):
        shutil.copy(real, name)
    library = sysconfig.get_path("stdlib")
    done = subprocess.run(
        [loader_of(real), interpreter, "-c", PASSES, ROOT, interpreter],
        env={"PYTHONHOME": f"{Path(library).parents[1]}:{Path(library).parents[1]}", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split(maxsplit=2)[:2] == ["True", "False"], done.stderr
    assert done.stdout.split(maxsplit=2)[2].strip() == ("given back" if os.geteuid() == 0 else "only root may")


def test_other_bytes_are_not_the_same(tmp_path: Path):
    program = """
import ctypes, mmap, os, sys
from init.pid1.linux.kernel import Kernel
first = os.open(sys.argv[1], os.O_RDONLY)
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
at = libc.mmap(None, 8192, 1, 2, first, 0)
for other in sys.argv[2:]:
    print(Kernel().is_same(at, at + 8192, other, 0), ctypes.string_at(at, 5000) == b"a" * 5000)
"""
    for name, text in (("first", b"a" * 5000), ("same", b"a" * 5000), ("other", b"a" * 4999 + b"b"), ("short", b"a")):
        (tmp_path / name).write_bytes(text)
    names = [tmp_path / name for name in ("first", "other", "short", "same")]
    done = subprocess.run([sys.executable, "-c", program, *names], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False", "True", "True", "True"]
