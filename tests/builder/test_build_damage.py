"""A full disk, and files that are no longer what they were: told in a sentence, and nothing false comes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.clone import TINY, Clone, Nursery, artifacts, assert_equal, nursery, open_folder
from fakes.mirror import running_mirror

from builder.lock.file import read_lock
from builder.lock.model import LockedPackage

__all__ = ["nursery"]
pytestmark = pytest.mark.packages

BUILD = ("build", *TINY, "--offline", "--heal")


@pytest.fixture(scope="module")
def built(nursery: Nursery) -> Iterator[Clone]:
    """A clone that has built; `right` beside it holds what came of it."""
    with open_folder() as folder:
        clone = nursery.clone(folder)
        clone.build(*TINY)
        shutil.copytree(clone.out, right(clone))
        yield clone


def right(clone: Clone) -> Path:
    return clone.root.parent / "right"


def on_a_full_disk(clone: Clone, *words: str, where: Path, free: int, content: Path | None = None) -> list[str]:
    """Build with little room at one place: it has to fail in a sentence. Return what new files are there then."""
    conditions: dict[str, Any] = {"small_disk": str(where), "free": free, "content": str(content) if content else None}
    done = clone.berth(*BUILD, *words, conditions=conditions)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "No space left on device" in done.stderr or "MB left" in done.stderr
    assert "\n  try: " in done.stderr
    left: list[str] = json.loads(done.stdout.rpartition("left on the disk: ")[2])
    return left


@pytest.mark.parametrize("free", [16 << 10, 20 << 20])
def test_no_room_in_the_store(nursery: Nursery, built: Clone, free: int):
    with open_folder() as folder:
        clone = nursery.clone(folder)
        content = clone.cache.rename(folder / "content")
        left = on_a_full_disk(clone, where=clone.cache, free=free, content=content)
        assert [name for name in left if name.startswith(("scratch/", "partial/")) or "tmp" in name] == []
        assert not (clone.out / "minimal.iso").exists()


@pytest.mark.parametrize("free", [100 << 10, 80 << 20])
def test_no_room_for_the_images(built: Clone, free: int):
    steps = built.root / "build" / "steps"
    left = on_a_full_disk(built, "--out", str(built.root.parent / "elsewhere"), where=steps, free=free)
    assert [name for name in left if not name.endswith(".lock")] == []
    assert list((built.root.parent / "elsewhere").glob("minimal.*")) == []


@pytest.mark.parametrize("free", [0, 60 << 20, 200 << 20])
def test_no_room_for_the_artifacts(built: Clone, free: int):
    """What an earlier build made stays as it was."""
    out = built.root.parent / "small"
    content = built.root.parent / "earlier"
    content.mkdir(exist_ok=True)
    (content / "minimal.iso").write_bytes(b"an earlier build's")
    left = on_a_full_disk(built, "--out", str(out), where=out, free=free, content=content)
    assert set(left) <= {".minimal.lock"}


def packages(clone: Clone) -> dict[str, LockedPackage]:
    healed = clone.root / "build" / "locks" / "minimal.lock"
    return read_lock(healed if healed.exists() else clone.root / "recipes" / "minimal.lock").by_name()


def damage(path: Path) -> bytes:
    """Turn one bit in the middle of a file, without touching other names of its content. Return what it was."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :])
    return data


def test_a_damaged_package_is_named_and_fetched_again(built: Clone):
    package = packages(built)["crun"]
    path = built.cache / "blobs" / package.sha256[:2] / package.sha256
    data = damage(path)
    done = built.berth(*BUILD)
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert f"crun {package.version}" in done.stderr
    assert package.sha256 in done.stderr
    with running_mirror() as mirror:
        mirror.files[f"/debian/{package.filename}"] = data
        mirror.files[f"/debian-security/{package.filename}"] = data
        built.forget()
        done = built.berth("build", *TINY, "--mirror", mirror.base, "--heal")
        assert done.returncode == 0, done.stderr
        assert mirror.times_asked(package.filename) == 1
    assert_equal(right(built), built.out)


def test_a_package_is_missing_and_no_mirror_is_known(built: Clone, tmp_path: Path):
    """Whoever has no mirror is told so, and not that he forbade to ask one."""
    package = packages(built)["crun"]
    path = built.cache / "blobs" / package.sha256[:2] / package.sha256
    data = path.read_bytes()
    path.unlink()
    program = (
        "import sys; from pathlib import Path; from builder.cli import inputs, main; from builder.fetch import mirrors;"
        "inputs.find_mirrors = lambda given: mirrors.find_mirrors(given, environment={'HOME': '/nonexistent'}, "
        "apt=Path('/nonexistent')); sys.exit(main.main(sys.argv[1:]))"
    )
    clone = Clone(root=built.root, cache=built.cache, program=("-c", program))
    for heal in ((), ("--heal",)):
        done = clone.berth("build", *TINY, *heal)
        assert done.returncode == 1
        assert "1 packages of minimal are not in the store, and no Debian mirror is known" in done.stderr
        assert "BERTH_MIRROR=" in done.stderr
        assert "offline" not in done.stderr
    path.write_bytes(data)
    assert clone.berth("build", *TINY, "--heal").returncode == 0  # nothing is missing: nobody has to be asked


def test_a_damaged_unpacked_file_is_named_and_made_again(built: Clone):
    manifest = json.loads((right(built) / "minimal.manifest.json").read_text())
    entry = next(each for each in manifest["entries"] if each["path"] == "usr/bin/crun")
    path = built.cache / "blobs" / entry["sha256"][:2] / entry["sha256"]
    damage(path)
    built.forget()
    done = built.berth(*BUILD)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stderr
    assert_equal(right(built), built.out)


def test_damaged_notes_of_stages_are_worth_nothing(built: Clone):
    notes = list((built.cache / "kept").rglob("*.json"))
    assert len(notes) > 50
    for path in notes:
        damage(path)
    built.forget()
    built.build(*TINY)
    assert_equal(right(built), built.out)


@pytest.mark.parametrize("name", ["root.img", "boot.img", "slot.json"])
def test_a_damaged_image_of_an_earlier_build_is_named_and_made_again(built: Clone, name: str):
    built.build(*TINY)
    [folder] = (built.root / "build" / "steps").glob("slot-*")
    damage(folder / name)
    shutil.rmtree(built.out)
    done = built.berth(*BUILD)
    assert done.returncode == 0, done.stderr
    assert str(folder) in done.stderr
    assert_equal(right(built), built.out)


def test_a_damaged_tool_is_told_with_its_cure_which_mends_it(built: Clone):
    [tree] = (built.root / "build" / "tools").iterdir()
    program = tree / "usr" / "bin" / "mkfs.erofs"
    program.unlink()
    program.touch(0o755)
    built.forget()
    done = built.berth(*BUILD)
    assert done.returncode == 1
    assert "mkfs.erofs" in done.stderr
    assert "\n  try: run `berth tools`" in done.stderr
    done = built.berth("tools", "--offline", "--json")
    assert done.returncode == 0, done.stderr
    assert str(program) in done.stderr
    built.build(*TINY)
    assert_equal(right(built), built.out)


@pytest.mark.parametrize("kind", ["iso", "manifest.json"])
def test_a_damaged_or_deleted_artifact_is_made_again(built: Clone, kind: str):
    built.build(*TINY)
    path = artifacts(built.out)[kind]
    damage(path)
    built.build(*TINY)
    assert_equal(right(built), built.out)
    path.unlink()
    built.build(*TINY)
    assert_equal(right(built), built.out)
