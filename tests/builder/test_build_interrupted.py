"""Builds that are killed, stopped, or not alone: what there is afterwards is right, and the next build is."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.clone import TINY, Clone, Nursery, assert_equal, kill, kill_at, nursery, open_folder

__all__ = ["nursery"]
pytestmark = pytest.mark.packages

SEED = 8
BUILD = ("build", *TINY, "--offline", "--heal")


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """A clone, what it builds when nothing disturbs it, and how long that takes from scratch, in seconds."""

    clone: Clone
    right: Path
    seconds: float


def from_scratch(clone: Clone) -> None:
    """Forget all but the packages and the tools: the next build does all of its work."""
    clone.forget()
    shutil.rmtree(clone.cache / "kept", ignore_errors=True)


@pytest.fixture(scope="module")
def workshop(nursery: Nursery) -> Iterator[Workshop]:
    with open_folder() as folder:
        clone = nursery.clone(folder)
        started = time.monotonic()
        clone.build(*TINY)
        seconds = time.monotonic() - started
        shutil.copytree(clone.out, folder / "right", copy_function=shutil.move)
        yield Workshop(clone=clone, right=folder / "right", seconds=seconds)


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()


def assert_nothing_false(clone: Clone, right: Path, since: float) -> None:
    """Whatever has its final name has its final content: artifacts, and blobs that were written after `since`."""
    assert_equal(right, clone.out, only=visible(clone.out))
    for path in (clone.cache / "blobs").glob("*/*"):
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
    """At `count` instants, one at a random place of each `count`-th part of a build."""
    clone, seeded = workshop.clone, random.Random(SEED)
    killed = 0
    for part in range(count):
        from_scratch(clone)
        since = time.time()
        killed += kill_at(clone.start(*BUILD), workshop.seconds * (part + seeded.random()) / count)
        assert_nothing_false(clone, workshop.right, since)
        clone.build(*TINY)
        assert_equal(workshop.right, clone.out)
        assert_no_leftovers(clone)
    assert killed >= count // 2


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
        from_scratch(workshop.clone)
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
    from_scratch(workshop.clone)
    stopped(workshop.clone, lambda: any((workshop.clone.cache / "kept").rglob("*.json")))


def test_ctrl_c_while_the_images_are_made(workshop: Workshop):
    from_scratch(workshop.clone)
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
