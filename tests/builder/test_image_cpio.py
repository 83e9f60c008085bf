"""The archive that the kernel unpacks, read back by a reader of its own."""

from __future__ import annotations

import stat

import pytest
from fakes.newc import read
from hypothesis import given
from hypothesis import strategies as st

from builder.image import cpio

NAMES = st.lists(st.text("abc-.é", min_size=1, max_size=4), min_size=1, max_size=3)


@given(st.dictionaries(NAMES.map("/".join), st.binary(max_size=9), max_size=6))
def test_what_goes_in_comes_out(files: dict[str, bytes]) -> None:
    leaves = {path: data for path, data in files.items() if not any(other.startswith(path + "/") for other in files)}
    nodes = cpio.with_parents(cpio.file(path, data) for path, data in leaves.items())
    assert read(cpio.archive(nodes)) == list(nodes)
    seen: set[str] = set()
    for node in nodes:
        parent = node.path.rpartition("/")[0]
        assert not parent or parent in seen
        seen.add(node.path)


def test_a_device_node_keeps_its_numbers() -> None:
    console = cpio.Node(path="dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    assert console in read(cpio.archive(cpio.with_parents([console])))


def test_two_nodes_at_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two different nodes at a"):
        cpio.with_parents([cpio.file("a", b"1"), cpio.file("a", b"2")])
