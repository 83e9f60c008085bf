"""A build's bytes depend on its inputs alone: not on who builds, where, when, with what rights or on which host."""

from __future__ import annotations

import filecmp
import json
import os
from pathlib import Path

import pytest
from fakes.clone import KINDS, NOBODY, ROOT, Clone, Nursery, artifacts, assert_equal, nursery, open_folder

__all__ = ["nursery"]
pytestmark = pytest.mark.packages

# Everything else than what the first build had.
OTHERWISE = {"umask": 0o077, "one_processor": True, "isolated": True, "user": NOBODY}
ELSEWHERE = {
    "PATH": "/nonexistent", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "12345",
    "PYTHONUTF8": "0", "SOURCE_DATE_EPOCH": "1", "USER": "somebody", "COLUMNS": "10",
}  # fmt: skip


def shipped(nursery: Nursery, recipe: str) -> Clone:
    """Build a recipe as it is, where this user works: the build that the tests in QEMU boot. Return its clone."""
    here = Clone(root=ROOT, cache=nursery.base.cache)
    done = here.berth("build", recipe, "--heal")
    assert done.returncode == 0, done.stderr
    return here


def strange(nursery: Nursery, folder: Path, recipe: str) -> Clone:
    """Build the same with nothing in common but the packages, and return where."""
    clone = nursery.clone(
        folder, tools=False, owner=NOBODY, recipe=recipe, kernel="full", healed=ROOT / "build" / "locks"
    )
    scratch = clone.root / "tmp"
    scratch.mkdir()
    scratch.chmod(0o777)
    clone.build(recipe, conditions=OTHERWISE, extra={**ELSEWHERE, "TMPDIR": str(scratch)})
    assert list(scratch.iterdir()) == []
    return clone


def test_a_stranger_without_rights_network_and_host_tools_gets_the_same_bytes(nursery: Nursery):
    """One long story, for its first build is slow: cold, then from a warm cache, then with nothing to do."""
    first = shipped(nursery, "minimal")
    with open_folder() as folder:
        clone = strange(nursery, folder, "minimal")
        assert_equal(first.out, clone.out)
        assert_same_owners_and_modes(first, clone)
        # An ordinary user's other id is one in a namespace: from here the file is who runs the tests'.
        assert (clone.out / "minimal.iso").stat().st_uid == (NOBODY if os.geteuid() == 0 else os.getuid())
        assert_only_artifacts(clone)

        conditions = {"user": NOBODY}
        clone.build("minimal", "--out", str(clone.root / "warm"), conditions=conditions)
        assert_equal(first.out, clone.root / "warm")

        before = [path.stat().st_mtime_ns for path in artifacts(clone.out).values()]
        assert clone.build("minimal", conditions=conditions)["format"] == "berth.build/1"
        assert [path.stat().st_mtime_ns for path in artifacts(clone.out).values()] == before


def assert_same_owners_and_modes(one: Clone, other: Clone) -> None:
    ours, theirs = (json.loads((clone.out / "minimal.manifest.json").read_text())["entries"] for clone in (one, other))
    facts = ("path", "kind", "mode", "uid", "gid", "device", "xattrs")
    mine = [[entry.get(fact) for fact in facts] for entry in ours]
    assert mine == [[entry.get(fact) for fact in facts] for entry in theirs]
    assert {entry.get("uid", 0) for entry in ours} > {0}
    assert {entry["mode"] for entry in ours if "mode" in entry} > {"0755", "0644", "0640", "0700"}


def assert_only_artifacts(clone: Clone) -> None:
    names = {path.name for path in clone.out.iterdir()}
    assert {name for name in names if not name.startswith(".")} == {path.name for path in artifacts(clone.out).values()}
    assert {name for name in names if name.startswith(".")} == {".minimal.lock", ".minimal.build.json"}
    assert list((clone.cache / "scratch").iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["podman", "docker"])
def test_the_other_recipes_too(nursery: Nursery, recipe: str):
    first = shipped(nursery, recipe)
    with open_folder() as folder:
        one, two = (clone.root / "build" / "out" / recipe for clone in (first, strange(nursery, folder, recipe)))
        names = sorted(path.name for path in one.glob(f"{recipe}.*"))
        assert len(names) == len(KINDS)
        for name in names:
            assert filecmp.cmp(one / name, two / name, shallow=False), name
