"""A tree seen through its links, as the machine will see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import BuildError
from builder.image.treeview import TreeView
from builder.rootfs.entry import Entry, Kind, Tree


class Contents:
    def path(self, sha256: str) -> Path:
        return Path("/store") / sha256

    def read(self, sha256: str) -> bytes:
        return sha256.encode()


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.SYMLINK, target=target)


def folder(path: str) -> Entry:
    return Entry(path=path, kind=Kind.DIRECTORY)


VIEW = TreeView(
    Tree(
        (
            folder(""),
            link("etc-link", "etc/alternatives/sh"),
            folder("usr"),
            folder("usr/bin"),
            Entry(path="usr/bin/dash", kind=Kind.FILE, sha256="dash"),
            Entry(path="usr/bin/hard", kind=Kind.HARDLINK, target="usr/bin/dash"),
            link("usr/bin/loop", "loop"),
            link("usr/bin/sh", "/bin/dash"),
            link("usr/bin/up", "../../usr/bin/dash"),
            folder("usr/lib"),
            link("usr/lib64", "lib"),
            Entry(path="usr/lib/ld.so", kind=Kind.FILE, sha256="ld"),
        )
    ),
    Contents(),
)


@pytest.mark.parametrize(
    "path", ["usr/bin/dash", "/bin/dash", "bin/sh", "usr/bin/up", "usr/bin/hard", "./usr//bin/dash"]
)
def test_every_way_leads_to_the_file(path: str) -> None:
    assert VIEW.read(path) == b"dash"


def test_links_on_the_way_are_told_in_order() -> None:
    assert [entry.path for entry in VIEW.links_to("lib64/ld.so")] == ["usr/lib64"]
    assert [entry.path for entry in VIEW.links_to("usr/bin/sh")] == ["usr/bin/sh"]


@pytest.mark.parametrize("path", ["usr/bin/loop", "usr/bin/none", "etc-link", "usr/bin/dash/x"])
def test_what_leads_nowhere_is_nothing(path: str) -> None:
    assert VIEW.find(path) is None
    with pytest.raises(BuildError, match="has no file"):
        VIEW.read(path)


def test_listing() -> None:
    assert list(VIEW.paths_below("usr/lib")) == ["usr/lib/ld.so"]
