"""A tools tree holds what its packages bring, and nothing is written beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import debs
from fakes.debs import file, folder, hard, link

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.progress import SilentProgress
from builder.tools.tree import _unpack_one, tools_tree


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
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == ["usr", "usr/bin", "usr/bin/a"]


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
