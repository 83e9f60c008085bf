"""The tools' own lock is stale: who builds has to allow healing it, who runs a machine is not stopped by it."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes.mirror import FakeDeb, FakeMirror, make_key, running_mirror
from fakes.snapshots import running_snapshots

from builder.cli import inputs
from builder.cli.main import main
from builder.errors import Place
from builder.fetch.download import Patience
from builder.fetch.http import Client
from builder.fetch.mirrors import Mirrors
from builder.fetch.store import Store
from builder.lock.archive import Source, open_archive
from builder.lock.closure import PythonSolver
from builder.lock.file import read_lock, write_lock
from builder.lock.recipe import lock_from
from builder.progress import SilentProgress
from builder.recipe.model import PackageRequest

HEALED = Path("build/locks/tools.lock")
PLACE = Place(file="recipes/tools.yaml", line=1)


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMirror]:
    """Stand in a folder whose tools are locked, with an empty store and a mirror that has only newer ones."""
    key = make_key(tmp_path / "keys")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    asked = (PackageRequest(name="qemu-system-x86", place=PLACE),)
    build = SimpleNamespace(
        suite="trixie", architecture="amd64", kernel="none", waive=(), images=(), packages=asked
    )  # fmt: skip
    recipe = SimpleNamespace(name="tools", path=Path("recipes/tools.yaml"), build=build)
    Path("recipes").mkdir()
    Path("recipes/tools.yaml").write_text("build: {suite: trixie, architecture: amd64, packages: [qemu-system-x86]}\n")
    with running_mirror() as mirror, Client() as client:
        mirror.publish(key, [FakeDeb("qemu-system-x86", "1.0-1")], date=time.time() - 86400)
        trusting = functools.partial(Source, keys=tmp_path / "keys", patience=Patience(attempts=2, first_wait=0.01))
        monkeypatch.setattr(inputs, "Source", trusting)
        source = trusting(
            store=Store(tmp_path / "other"), progress=SilentProgress(), client=client,
            mirrors=Mirrors(main=mirror.base, security=mirror.base + "-security", origin="the test"),
        )  # fmt: skip
        write_lock(
            lock_from(recipe, open_archive(source, "trixie", "amd64"), PythonSolver(), source.progress),
            Path("recipes/tools.lock"),
        )
        mirror.publish(key, [FakeDeb("qemu-system-x86", "2.0-1")])
        monkeypatch.setenv("BERTH_MIRROR", mirror.base)
        yield mirror


def slot() -> str:
    """Make what passes for a slot's two images."""
    Path("slot").mkdir()
    for name in ("boot.img", "root.img"):
        Path("slot", name).touch()
    return "slot"


@pytest.mark.parametrize("verb", ["run", "tools", "doctor"])
def test_who_uses_the_tools_gets_newer_ones(moved: FakeMirror, verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """These tools are no programs, so it ends there; but with the newer ones, and told so."""
    main([verb, slot(), "--direct"] if verb == "run" else [verb])
    assert [package.version for package in read_lock(HEALED).packages] == ["2.0-1"]
    assert "the mirror has moved on" in capsys.readouterr().err


def test_a_build_asks_for_leave(moved: FakeMirror, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "minimal"]) == 1
    assert not HEALED.exists()
    assert "berth lock tools --update" in capsys.readouterr().err


def test_all_that_is_gone_is_said_at_once(moved: FakeMirror, capsys: pytest.CaptureFixture[str]) -> None:
    """The tools' packages and the recipe's, with one command for both and with the two that change no lock."""
    Path("recipes/own.yaml").write_text(Path("recipes/tools.yaml").read_text().replace("}", ", kernel: none}"))
    lock = replace(read_lock(Path("recipes/tools.lock")), recipe="own")
    write_lock(lock, Path("recipes/own.lock"))
    assert main(["fetch", "own"]) == 1
    said = capsys.readouterr().err
    assert said.count("qemu-system-x86 1.0-1 → 2.0-1") == 2, said
    for word in ("berth lock tools --update && berth lock own --update", "--heal", "--snapshots"):
        assert word in said


def test_a_recipe_without_a_lock_fetches_nothing(moved: FakeMirror, capsys: pytest.CaptureFixture[str]) -> None:
    Path("recipes/own.yaml").write_text(Path("recipes/tools.yaml").read_text())
    asked = len(moved.asked)
    assert main(["fetch", "own"]) == 1
    assert "berth lock own" in capsys.readouterr().err
    assert len(moved.asked) == asked


@pytest.mark.parametrize("by_flag", [True, False])
@pytest.mark.parametrize("verb", ["build", "tools"])
def test_an_archive_of_snapshots_that_is_named_has_the_old_ones(
    moved: FakeMirror, monkeypatch: pytest.MonkeyPatch, verb: str, by_flag: bool
) -> None:
    old = FakeDeb("qemu-system-x86", "1.0-1")
    words = [verb, "minimal", "--heal"] if verb == "build" else [verb]
    with running_snapshots() as archive:
        archive.put("debian", "20260101T000000Z", old.filename, old.data)
        if by_flag:
            words += ["--snapshots", archive.named.base]
        else:
            monkeypatch.setenv("BERTH_SNAPSHOTS", archive.named.base)
        main(words)
        assert archive.server.asked[-1][0].endswith(f"/20260101T000000Z/{old.filename}")
    assert not HEALED.exists()
    assert Store(Path("cache").absolute()).has(read_lock(Path("recipes/tools.lock")).packages[0].sha256)
