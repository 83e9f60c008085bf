"""A tools tree holds what its packages bring, and nothing is written beside it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import debs
from fakes.debs import file, folder, hard, link

from builder.cli import main as cli
from builder.errors import BuildError, ToolError
from builder.fetch.store import Store
from builder.lock.file import read_lock
from builder.progress import SilentProgress
from builder.tools import listing, tree
from builder.tools.call import Tools
from builder.tools.tree import _unpack_one, discard, tools_key, tools_tree

ROOT = Path(__file__).parents[2]
DEADLINE = 60  # seconds


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def unpacked(store: Store, tmp_path: Path, *packages: tuple[str, bytes]) -> Path:
    lock = debs.lock(*(debs.locked(store, name, data) for name, data in packages))
    return tools_tree(lock, store, tmp_path / "work" / "tools", SilentProgress()).root


def outside(tmp_path: Path) -> list[str]:
    return sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")
        if "store" not in path.parts and path.relative_to(tmp_path).parts[:2] != ("work", "tools")
    )  # fmt: skip


@pytest.mark.parametrize("owned", [file("./x/owned", b"1"), folder("./x/owned/"), link("./x/owned", "y")])
def test_no_package_writes_through_anothers_links_out_of_the_tree(
    store: Store, tmp_path: Path, owned: debs.Item
) -> None:
    links = debs.deb("a", folder("./p/"), folder("./p/q/"), link("./p/q/r", "/"), link("./x", "p/q/r/../.."))
    through = debs.deb("b", owned)
    # the second package is unpacked into a tree that has the links already, however the processes are timed
    root = tmp_path / "work" / "tree"
    root.mkdir(parents=True)
    _one_by_one(store, root, ("a", links))
    before = outside(tmp_path)
    with pytest.raises(BuildError, match=r"package b 1\.0 cannot be unpacked: its `/x/owned`.*out of the tree"):
        _one_by_one(store, root, ("b", through))
    assert outside(tmp_path) == before
    assert "work/owned" not in before


def test_a_hard_link_is_no_way_out_either(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "work" / "tree"
    root.mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    _one_by_one(store, root, ("a", debs.deb("a", folder("./p/"), link("./p/q", "/"), link("./x", "p/q/../.."))))
    with pytest.raises(BuildError, match="out of the tree"):
        _one_by_one(store, root, ("b", debs.deb("b", file("./x/secret", b"1"), hard("./y", "./x/secret"))))
    assert (tmp_path / "secret").read_text() == "s"


def test_links_within_the_tree_are_followed(store: Store, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    _one_by_one(store, root, ("a", debs.deb("a", folder("./usr/share/"), link("./usr/lib/d", "/usr/share"))))
    _one_by_one(
        store, root, ("b", debs.deb("b", file("./usr/lib/d/f", b"12", 0o755), hard("./bin/g", "./usr/lib/d/f")))
    )
    assert (root / "usr/share/f").read_bytes() == b"12"
    assert os.path.samefile(root / "usr/share/f", root / "usr/bin/g")
    assert (root / "usr/share/f").stat().st_mode & 0o777 == 0o755


def test_a_whole_tree_is_unpacked(store: Store, tmp_path: Path) -> None:
    root = unpacked(
        store, tmp_path, ("a", debs.deb("a", file("./bin/a", b"a", 0o755))), ("b", debs.deb("b", file("./etc/b", b"b")))
    )
    found = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    assert found == [listing.NAME, "usr", "usr/bin", "usr/bin/a"]


def _one_by_one(store: Store, root: Path, *packages: tuple[str, bytes]) -> None:
    for name, data in packages:
        _unpack_one(debs.locked(store, name, data), store, root)


def test_of_documentation_only_copyright_texts_are_unpacked(store: Store, tmp_path: Path) -> None:
    brought = (
        file("./usr/share/doc/a/copyright", b"GPL"),
        file("./usr/share/doc/a/NEWS", b"new"),
        file("./bin/a", b"1"),
    )
    root = unpacked(store, tmp_path, ("a", debs.deb("a", *brought)))
    assert [path.name for path in (root / "usr/share/doc/a").iterdir()] == ["copyright"]


def test_a_tree_is_on_the_disk_before_it_has_its_name(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work" / "tools"
    synced: list[set[str]] = []
    really = tree.sync_around

    def sync_around(place: Path) -> None:
        synced.append({str(path.relative_to(folder)).partition("/")[2] for path in folder.rglob("*")})
        assert [path for path in folder.iterdir() if path.name[0] != "."] == []
        really(place)

    monkeypatch.setattr(tree, "sync_around", sync_around)
    root = unpacked(store, tmp_path, ("a", debs.deb("a", file("./bin/a", b"a", 0o755))))
    assert [sorted(each) for each in synced] == [["", listing.NAME, "usr", "usr/bin", "usr/bin/a"]]
    assert root.is_dir()


def test_a_tree_goes_that_nobody_used_for_a_month_once_another_comes(store: Store, tmp_path: Path) -> None:
    a, b, c = ((name, debs.deb(name, file(f"./bin/{name}", b"x"))) for name in "abc")
    old, used = unpacked(store, tmp_path, a), unpacked(store, tmp_path, b)
    foreign = old.parent / "notes"
    foreign.mkdir()
    for path in (old, used, foreign):
        os.utime(path, (0, 0))
    assert unpacked(store, tmp_path, b) == used
    new = unpacked(store, tmp_path, c)
    assert set(old.parent.iterdir()) == {used, new, foreign}


def _edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("harm", "named"),
    [
        (lambda root: _edit(root / "usr/bin/a", lambda _: b""), "usr/bin/a"),
        (lambda root: _edit(root / "usr/bin/a", lambda data: bytes([data[0] ^ 1, *data[1:]])), "usr/bin/a"),
        (lambda root: (root / "usr/bin/a").chmod(0o644), "usr/bin/a"),
        (lambda root: (root / "usr/bin/a").unlink(), "usr/bin/a"),
        (lambda root: shutil.rmtree(root / "usr/bin"), "usr/bin"),
        (lambda root: (root / "usr/lib/l").unlink(), "usr/lib/l"),
        (lambda root: (root / "usr/bin/b").write_bytes(b"b"), "usr/bin/b"),
        (lambda root: (root / listing.NAME).unlink(), listing.NAME),
        (lambda root: _edit(root / listing.NAME, lambda data: data[:-1]), listing.NAME),
        (lambda root: _edit(root / listing.NAME, lambda _: b""), listing.NAME),
    ],
)
def test_a_damaged_tree_is_taken_away_and_unpacked_anew(
    store: Store, tmp_path: Path, harm: Callable[[Path], object], named: str
) -> None:
    package = ("a", debs.deb("a", file("./bin/a", b"abc", 0o755), link("./lib/l", "/bin/a")))
    root = unpacked(store, tmp_path, package)
    assert listing.damage(root) is None
    harm(root)
    found = listing.damage(root)
    assert found is not None
    assert found.startswith(named)
    discard(root)
    assert list(root.parent.iterdir()) == []
    assert unpacked(store, tmp_path, package) == root
    assert listing.damage(root) is None


UNPACK = """
import os, sys
from pathlib import Path
from fakes import debs
from builder.fetch.store import Store
from builder.lock.file import read_lock
from builder.progress import SilentProgress
from builder.tools.tree import tools_tree
here = Path(sys.argv[1])
store = Store(here / "store")
packages = [debs.locked(store, name, debs.deb(name, debs.file(f"./bin/{name}", b"x"))) for name in ("one", "two")]
slow = store.path(packages[1].sha256)
slow.unlink()
os.mkfifo(slow)
try:
    tools_tree(debs.lock(*packages), store, here / "tools", SilentProgress())
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_while_one_process_unpacks_and_the_others_are_idle(tmp_path: Path, number: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", UNPACK, str(tmp_path)], stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )  # fmt: skip
    end = time.monotonic() + DEADLINE
    while not any((tmp_path / "tools").glob(".unpacking*/usr/bin/one")):
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=DEADLINE)
    assert said == ""
    assert process.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    if number == signal.SIGINT:
        assert list((tmp_path / "tools").iterdir()) == []


@pytest.mark.parametrize("script", ["exit 127", "kill -SEGV $$", None])
def test_a_program_that_may_be_damaged_is_told_with_the_cure(tmp_path: Path, script: str | None) -> None:
    """What the loader says of an empty program, what a half-written one does; and a loader that is empty itself."""
    loader, program = tmp_path / "usr/lib64/ld-linux-x86-64.so.2", tmp_path / "usr/bin/a"
    for path in (loader, program):
        path.parent.mkdir(parents=True)
    program.touch()
    loader.write_text(f"#!/bin/sh\n{script}\n" if script else "")
    loader.chmod(0o755)
    with pytest.raises(ToolError) as raised:
        Tools(root=tmp_path, key="k").run("a")
    assert "run `berth tools`" in (raised.value.hint or "")
    with pytest.raises(ToolError, match="no program `b`") as raised:
        Tools(root=tmp_path, key="k").run("b")
    assert "run `berth tools`" in (raised.value.hint or "")


def test_the_links_of_base_files_stand_for_what_is_there(store: Store, tmp_path: Path) -> None:
    """Whichever is unpacked first."""
    program = ("a", debs.deb("a", folder("./usr/"), folder("./usr/bin/"), file("./bin/a", b"1", mode=0o755)))
    base = (
        "base-files",
        debs.deb("base-files", folder("./usr/bin/"), link("./bin", "usr/bin"), link("./lib", "usr/lib")),
    )
    for order in ((program, base), (base, program)):
        root = tmp_path / order[0][0]
        root.mkdir()
        _one_by_one(store, root, *order)
        assert (root / "usr/bin/a").read_bytes() == b"1"


def test_a_damaged_tree_stays_where_nothing_can_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lock = read_lock(ROOT / "recipes/tools.lock")
    program = tmp_path / "build/tools" / tools_key(lock)[:32] / "usr/sbin/mkfs.erofs"
    program.parent.mkdir(parents=True)
    program.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "empty"))
    assert cli.main(["tools", "--offline"]) == 1
    assert program.exists()
    said = capfd.readouterr().err
    assert "is not as it was unpacked" in said
    assert f"{len(lock.packages)} packages" in said


def test_a_worker_that_the_kernel_kills_is_told(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_unpack_one", _die)
    with pytest.raises(BuildError, match="a process that unpacks the tools was killed"):
        unpacked(store, tmp_path, ("a", debs.deb("a", file("./bin/a", b"1"))))


def _die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
