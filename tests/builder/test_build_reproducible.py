"""A build's bytes depend on its inputs alone: not on who builds, where, when, with what rights or on which host."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.clone import CHEAP, NOBODY, Clone, Nursery, artifacts, assert_equal, nursery, open_folder

__all__ = ["nursery"]
pytestmark = pytest.mark.packages

# Everything else than what the first build had.
OTHERWISE = {"umask": 0o077, "one_processor": True, "isolated": True, "user": NOBODY}
ELSEWHERE = {
    "PATH": "/nonexistent", "TZ": "Pacific/Kiritimati", "LC_ALL": "C", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "12345",
    "PYTHONUTF8": "0", "SOURCE_DATE_EPOCH": "1", "USER": "somebody", "COLUMNS": "10",
}  # fmt: skip


@pytest.fixture(scope="module")
def stranger(nursery: Nursery) -> Iterator[Clone]:
    """A clone that belongs to another user, with nothing but the packages."""
    with open_folder() as folder:
        clone = nursery.clone(folder, tools=False, owner=NOBODY)
        (clone.root / "tmp").mkdir(mode=0o777)
        (clone.root / "tmp").chmod(0o777)
        clone.build(*CHEAP, conditions=OTHERWISE, extra={**ELSEWHERE, "TMPDIR": str(clone.root / "tmp")})
        yield clone


def test_another_user_without_rights_network_and_host_tools_gets_the_same_bytes(nursery: Nursery, stranger: Clone):
    assert_equal(nursery.base.out, stranger.out)
    assert (stranger.out / "minimal.iso").stat().st_uid == (NOBODY if os.geteuid() == 0 else os.getuid())


def test_every_owner_and_mode_is_the_same(nursery: Nursery, stranger: Clone):
    ours, theirs = (json.loads((clone.out / "minimal.manifest.json").read_text()) for clone in (nursery.base, stranger))
    facts = ("path", "kind", "mode", "uid", "gid", "device", "xattrs")
    mine = [[entry.get(fact) for fact in facts] for entry in ours["entries"]]
    assert mine == [[entry.get(fact) for fact in facts] for entry in theirs["entries"]]
    assert {entry.get("uid", 0) for entry in ours["entries"]} > {0}
    assert {entry["mode"] for entry in ours["entries"] if "mode" in entry} > {"0755", "0644", "0640", "0700"}


def test_nothing_but_artifacts_is_left_where_they_are(stranger: Clone):
    names = {path.name for path in stranger.out.iterdir()}
    assert {name for name in names if not name.startswith(".")} == {
        "minimal.iso", "minimal.raw", "minimal.qcow2", "minimal.bundle", "minimal.spdx.json", "minimal.manifest.json"
    }  # fmt: skip
    assert {name for name in names if name.startswith(".")} == {".minimal.lock", ".minimal.build.json"}
    assert list((stranger.cache / "scratch").iterdir()) == []
    assert list((stranger.root / "tmp").iterdir()) == []


def test_a_warm_cache_gives_the_same_bytes(nursery: Nursery, stranger: Clone, tmp_path: Path):
    """First what the steps and the store kept is put together anew, then nothing has changed at all."""
    conditions = {"user": NOBODY}
    stranger.build(*CHEAP, "--out", str(stranger.root / "warm"), conditions=conditions)
    assert_equal(nursery.base.out, stranger.root / "warm")
    before = [path.stat().st_mtime_ns for path in artifacts(stranger.out).values()]
    assert stranger.build(*CHEAP, conditions=conditions)["format"] == "berth.build/1"
    assert [path.stat().st_mtime_ns for path in artifacts(stranger.out).values()] == before


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["minimal", "podman", "docker"])
def test_a_shipped_recipe_as_it_is(nursery: Nursery, recipe: str):
    """The real compression and the full kernel, twice."""
    with open_folder() as folder:
        first = Clone(root=nursery.clone(folder / "first").root, cache=nursery.base.cache)
        done = first.berth("build", recipe, "--heal", "--out", str(folder / "one"))
        assert done.returncode == 0, done.stderr
        second = Clone(root=nursery.clone(folder / "second").root, cache=nursery.base.cache)
        if (first.root / "build/locks").is_dir():
            shutil.copytree(first.root / "build/locks", second.root / "build/locks", dirs_exist_ok=True)
        second.build(
            recipe, "--out", str(folder / "two"), conditions={"one_processor": True, "umask": 0o077}, extra=ELSEWHERE
        )
        for path in sorted((folder / "one").glob(f"{recipe}.*")):
            assert path.read_bytes() == (folder / "two" / path.name).read_bytes(), path.name
