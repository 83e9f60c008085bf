"""The dynamic linker's cache, read back by the rules of the loader."""

import struct

import pytest
from fakes import debs
from fakes.debs import file, link
from hypothesis import given
from hypothesis import strategies as st

from builder.fetch.store import Store
from builder.rootfs.tree import merge
from builder.stages.draft import Draft
from builder.stages.ldcache import compare, encode, folders, soname


def entries(data):
    """Return (kind, name, path) of a cache, as the loader reads it."""
    magic, count, length, endian, extensions = struct.unpack_from("<20sIIB3xI", data)
    assert (magic, endian, extensions) == (b"glibc-ld.so.cache1.1", 2, 0)
    assert len(data) == 48 + 24 * count + length
    rows = []
    for number in range(count):
        kind, key, value, unused, capability = struct.unpack_from("<iIIIQ", data, 48 + 24 * number)
        assert (unused, capability) == (0, 0)
        rows.append((kind, *(data[at : data.index(b"\0", at)].decode() for at in (key, value))))
    return rows


def looked_up(data, name):
    """Search by halves, as `_dl_cache_lookup` does."""
    rows = entries(data)
    left, right = 0, len(rows) - 1
    while left <= right:
        middle = (left + right) // 2
        order = compare(name, rows[middle][1])
        if order == 0:
            return rows[middle][2]
        if order < 0:
            left = middle + 1
        else:
            right = middle - 1
    return None


@given(
    st.dictionaries(
        st.from_regex(r"lib[a-z]{1,3}[0-9.-]{0,4}\.so(\.[0-9]{1,3}){0,2}", fullmatch=True),
        st.text("/ab", min_size=1),
        max_size=30,
    )
)
def test_the_loader_finds_each_library(libraries):
    data = encode(libraries, 0x0303)
    assert {name: looked_up(data, name) for name in libraries} == libraries
    assert looked_up(data, "libnone.so") is None
    assert encode(dict(sorted(libraries.items())), 0x0303) == encode(
        dict(sorted(libraries.items(), reverse=True)), 0x0303
    )


@pytest.mark.parametrize(
    ("one", "two", "order"),
    [
        ("liba.so.9", "liba.so.10", -1),
        ("liba.so.10", "liba.so.10", 0),
        ("liba.so.1", "libb.so.1", -1),
        ("liba1.so", "liba.so", 1),  # a digit sorts above everything else
        ("libc.so.6", "libc.so", 1),
        ("libz.so.01", "libz.so.1", 0),
    ],
)
def test_the_loaders_order(one, two, order):
    assert compare(one, two) == order
    assert compare(two, one) == -order


@given(st.text("ab09.", max_size=6), st.text("ab09.", max_size=6), st.text("ab09.", max_size=6))
def test_the_order_is_total(one, two, three):
    assert compare(one, two) == -compare(two, one)
    if compare(one, two) <= 0 and compare(two, three) <= 0:
        assert compare(one, three) <= 0


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"\x7fELF" + bytes(200), b"text"])
def test_what_is_no_library_has_no_name(data):
    assert soname(data) == ""


def test_folders_are_those_of_the_configuration_and_the_loaders_own(tmp_path):
    store = Store(tmp_path / "store")
    package = debs.package(
        store,
        "libc6",
        file("./etc/ld.so.conf.d/b.conf", b"# no\n/opt/x\n/lib/t\n"),
        file("./etc/ld.so.conf.d/a.conf", b"/usr/y/\n"),
        file("./etc/ld.so.conf.d/c.txt", b"/never\n"),
        link("./usr/lib/t/x.so", "y"),
    )
    assert folders(Draft(merge([package]), store), "t") == ["usr/y", "opt/x", "usr/lib/t", "usr/lib"]
