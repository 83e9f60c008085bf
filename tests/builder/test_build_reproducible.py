"""A build's bytes depend on its inputs alone: not on who builds, where, when, with what rights or on which host."""

from __future__ import annotations

import filecmp
import json
import os

import pytest
from fakes.clone import CHEAP, KINDS, NOBODY, Clone, Nursery, artifacts, assert_equal, nursery, open_folder

__all__ = ["nursery"]
pytestmark = pytest.mark.packages

# Everything else than what the first build had.
OTHERWISE = {"umask": 0o077, "one_processor": True, "isolated": True, "user": NOBODY}
ELSEWHERE = {
    "PATH": "/nonexistent", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "12345",
    "PYTHONUTF8": "0", "SOURCE_DATE_EPOCH": "1", "USER": "somebody", "COLUMNS": "10",
}  # fmt: skip


def test_a_stranger_without_rights_network_and_host_tools_gets_the_same_bytes(nursery: Nursery):
    """One long story, for its first build is slow: cold, then from a warm cache, then with nothing to do."""
    first = nursery.base
    with open_folder() as folder:
        clone = nursery.clone(folder, tools=False, owner=NOBODY)
        scratch = clone.root / "tmp"
        scratch.mkdir()
        scratch.chmod(0o777)
        clone.build(*CHEAP, conditions=OTHERWISE, extra={**ELSEWHERE, "TMPDIR": str(scratch)})
        assert_equal(first.out, clone.out)
        assert_same_owners_and_modes(first, clone)
        assert (clone.out / "minimal.iso").stat().st_uid == (NOBODY if os.geteuid() == 0 else os.getuid())
        assert list(scratch.iterdir()) == []
        assert_only_artifacts(clone)

        conditions = {"user": NOBODY}
        clone.build(*CHEAP, "--out", str(clone.root / "warm"), conditions=conditions)
        assert_equal(first.out, clone.root / "warm")

        before = [path.stat().st_mtime_ns for path in artifacts(clone.out).values()]
        assert clone.build(*CHEAP, conditions=conditions)["format"] == "berth.build/1"
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
@pytest.mark.parametrize("recipe", ["minimal", "podman", "docker"])
def test_a_shipped_recipe_as_it_is(nursery: Nursery, recipe: str):
    """The real compression and the full kernel, twice, with nothing in common but the packages."""
    with open_folder() as folder:
        first = Clone(root=nursery.clone(folder / "first").root, cache=nursery.base.cache)
        done = first.berth("build", recipe, "--heal", "--out", str(folder / "one"))
        assert done.returncode == 0, done.stderr
        second = nursery.clone(
            folder / "second", tools=False, owner=NOBODY, recipe=recipe, kernel="full",
            healed=first.root / "build" / "locks",
        )  # fmt: skip
        scratch = second.root / "tmp"
        scratch.mkdir()
        scratch.chmod(0o777)
        two = second.root / "two"
        second.build(recipe, "--out", str(two), conditions=OTHERWISE, extra={**ELSEWHERE, "TMPDIR": str(scratch)})
        names = sorted(path.name for path in (folder / "one").glob(f"{recipe}.*"))
        assert len(names) == len(KINDS)
        for name in names:
            assert filecmp.cmp(folder / "one" / name, two / name, shallow=False), name
