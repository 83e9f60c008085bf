"""The faults of the emulator after which a guest is started again: exactly those, once, and told in any case."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ROOT / "qemu-tests"
FAULT = "Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\nRIP: 0010:sched_clock_tick+0x1/0x80"
TEST = """
from machine import Machine


class Guest(Machine):
    def __init__(self, *said):
        self.console, self.seen, self.started, self._session = list(said), [], 0, None

    def start(self):
        self.started += 1
        self.console = []


def test_one():
    for lines in {cases!r}:
        guest = Guest(*lines)
        assert guest._restarted_after_fault() is {again}
        assert guest.started == {again}


def test_two():
    assert not Guest("all is well")._restarted_after_fault()
"""


def run(folder: Path, *said: str, again: bool, workers: int) -> str:
    """Run two tests, one with guests that said this, with the plug-in of the real ones; return what pytest shows."""
    (folder / "test_it.py").write_text(TEST.format(cases=[each.splitlines() for each in said], again=again))
    words = ("-q", "-n", str(workers), "-p", "retries", "-c", os.devnull, f"--rootdir={folder}", str(folder))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{PARTS}:{ROOT}", "PYTEST_ADDOPTS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_it_is_told_by_a_run_that_passes(tmp_path: Path, workers: int) -> None:
    said = run(tmp_path, FAULT, again=True, workers=workers)
    assert "or iotlb_to_section): started once more (1): test_it.py::test_one" in said


def test_nothing_else_is_tried_again(tmp_path: Path) -> None:
    others = ("", "Oops: 0000 [#1]\nsched_clock_tick", "Oops: int3: 0000\nschedule+0x1", "sched_clock_tick\nOops: int3")
    assert "once more" not in run(tmp_path, *others, again=False, workers=0)
