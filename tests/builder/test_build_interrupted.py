"""Builds that are killed, stopped, or not alone: what there is afterwards is right, and the next build is."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fakes.clone import ROOT, TINY, Clone, Nursery, assert_equal, kill, kill_at, nursery, open_folder

__all__ = ["nursery"]
pytestmark = pytest.mark.packages

SEED = 8
SPREAD = 0.1  # of what helping threads do: which of two keeps the same bytes first is chance
BUILD = ("build", *TINY, "--offline", "--heal")


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """A clone, what its store holds before the first build, and what it builds when nothing disturbs it."""

    clone: Clone
    packages: frozenset[Path]
    right: Path


def falling(clone: Clone, thread: str, number: int, note: Path) -> Clone:
    """Return the clone whose `berth` is killed at the `number`-th thing that a `thread` does, `main` or `other`."""
    return replace(clone, program=(str(ROOT / "tests" / "fakes" / "falling.py"), thread, str(number), str(note)))


def instant(done: tuple[tuple[str, float], ...], share: float) -> tuple[str, int]:
    """Return the thing that an undisturbed build did when that share of its time was over: thread, and number."""
    before = [thread for thread, second in done if second <= done[-1][1] * share] or [done[0][0]]
    thread = before[-1]
    whole = sum(one == thread for one, _ in done)
    return thread, min(before.count(thread), int(whole * (1 - SPREAD)) if thread == "other" else whole)


def from_scratch(workshop: Workshop) -> None:
    """Forget all but the packages and the tools: the next build does all of its work."""
    workshop.clone.forget()
    shutil.rmtree(workshop.clone.cache / "kept", ignore_errors=True)
    for path in blobs(workshop.clone) - workshop.packages:
        path.unlink()


def blobs(clone: Clone) -> frozenset[Path]:
    return frozenset((clone.cache / "blobs").glob("*/*"))


@pytest.fixture(scope="module")
def workshop(nursery: Nursery) -> Iterator[Workshop]:
    with open_folder() as folder:
        clone = nursery.clone(folder)
        packages = blobs(clone)
        clone.build(*TINY)
        shutil.copytree(clone.out, folder / "right", copy_function=shutil.move)
        yield Workshop(clone=clone, packages=packages, right=folder / "right")


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()


def assert_nothing_false(clone: Clone, right: Path, since: float) -> None:
    """Whatever has its final name has its final content: artifacts, and blobs that were written after `since`."""
    assert_equal(right, clone.out, only=visible(clone.out))
    for path in blobs(clone):
        if path.stat().st_ctime > since:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


def assert_no_leftovers(clone: Clone) -> None:
    """Nothing half-made is anywhere, under any name."""
    assert {path.name for path in clone.out.glob(".*")} <= {".minimal.lock", ".minimal.build.json"}
    steps = clone.root / "build" / "steps"
    assert [path.name for path in steps.glob(".*") if path.is_dir()] == []
    assert list((clone.cache / "scratch").iterdir()) == []
    notes = [path for path in (clone.cache / "kept").rglob("*") if path.is_file()]
    assert [path.name for path in notes if path.suffix != ".json"] == []
    assert [path.name for path in (clone.root / "build" / "tools").glob(".unpacking*")] == []


@pytest.mark.parametrize("count", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_after_kill_9_the_next_build_is_right(workshop: Workshop, count: int):
    """At `count` instants, one at a random place of each `count`-th part of a build.

    A part is so much time of an undisturbed build; the kill comes at the thing that was done then, by its number, so
    that it comes on any machine, however busy.
    """
    clone, seeded = workshop.clone, random.Random(SEED)
    note = clone.root / "build" / "done"
    from_scratch(workshop)
    falling(clone, "main", 0, note).build(*TINY)
    done = tuple((line.split()[0], float(line.split()[1])) for line in note.read_text().splitlines())
    for part in range(count):
        from_scratch(workshop)
        since = time.time()
        thread, number = instant(done, (part + seeded.random()) / count)
        with falling(clone, thread, number, note).start(*BUILD) as process:
            _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, f"not killed at {number} of {thread}: {err}"
        assert_nothing_false(clone, workshop.right, since)
        clone.build(*TINY)
        assert_equal(workshop.right, clone.out)
        assert_no_leftovers(clone)


def test_kill_9_while_the_tools_are_unpacked(nursery: Nursery, workshop: Workshop):
    with open_folder() as folder:
        clone = nursery.clone(folder, tools=False)
        process = clone.start(*BUILD)
        wait_for(lambda: any((clone.root / "build" / "tools").glob(".unpacking*/usr/bin/*")))
        kill_at(process, 0.3)
        assert [path.name for path in (clone.root / "build" / "tools").iterdir() if path.name[0] != "."] == []
        clone.build(*TINY)
        assert_equal(workshop.right, clone.out)
        assert_no_leftovers(clone)


def test_three_builds_at_once_two_of_them_in_one_folder(nursery: Nursery, workshop: Workshop):
    """They share one store, in which nothing is unpacked yet."""
    with open_folder() as folder:
        other = Clone(root=nursery.clone(folder).root, cache=workshop.clone.cache)
        from_scratch(workshop)
        running = [clone.start(*BUILD) for clone in (workshop.clone, workshop.clone, other)]
        for process in running:
            out, err = process.communicate()
            assert process.returncode == 0, out + err
            assert "Traceback" not in err
        for clone in (workshop.clone, other):
            assert_equal(workshop.right, clone.out)
            assert_no_leftovers(clone)


def wait_for(what: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def stopped(clone: Clone, when: Callable[[], bool]) -> None:
    """Press Ctrl-C, which the terminal sends to the whole process group, and look at what remains."""
    process = clone.start(*BUILD)
    wait_for(when)
    kill(process, signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 130, out + err
    assert "Traceback" not in err, err
    assert err.rstrip().endswith("berth: stopped; nothing is half-written"), err
    assert visible(clone.out) == set()
    assert_no_leftovers(clone)


def test_ctrl_c_while_packages_are_unpacked(workshop: Workshop):
    from_scratch(workshop)
    stopped(workshop.clone, lambda: any((workshop.clone.cache / "kept").rglob("*.json")))


def test_ctrl_c_while_the_images_are_made(workshop: Workshop):
    from_scratch(workshop)
    steps = workshop.clone.root / "build" / "steps"
    stopped(workshop.clone, lambda: any(steps.glob(".slot-*.new/root.img")))


def test_ctrl_c_while_the_artifacts_are_written(workshop: Workshop):
    workshop.clone.build(*TINY)
    shutil.rmtree(workshop.clone.out)
    stopped(workshop.clone, lambda: any(workshop.clone.out.glob(".minimal.new/*")))


def test_ctrl_c_while_the_tools_are_unpacked(nursery: Nursery):
    with open_folder() as folder:
        clone = nursery.clone(folder, tools=False)
        stopped(clone, lambda: any((clone.root / "build" / "tools").glob(".unpacking*/usr/bin/*")))
