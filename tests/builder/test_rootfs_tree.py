"""Laying packages over one another, as dpkg would."""

import itertools

import pytest
from fakes import debs
from fakes.debs import file, folder, hard, link
from hypothesis import given
from hypothesis import strategies as st

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.hardlinks import relink
from builder.rootfs.tree import Diversion, merge


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def in_every_order(packages, **more):
    trees = {merge(order, **more) for order in itertools.permutations(packages)}
    assert len(trees) == 1
    return trees.pop().by_path()


def test_the_tree_is_sorted_and_complete(store):
    tree = merge([debs.package(store, "a", file("./usr/share/x/y", b"1")), debs.package(store, "b", file("./etc/z"))])
    paths = [node.path for node in tree.entries]
    assert paths == sorted(set(paths))
    assert paths[0] == ""
    assert {"usr", "usr/share", "usr/share/x", "etc"} <= set(paths)
    assert {tree.by_path()[name].target for name in ("bin", "sbin", "lib", "lib64")} == {
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
    }


def test_a_file_of_two_packages_is_an_error(store):
    packages = [debs.package(store, name, file("./usr/x", name.encode())) for name in ("a", "b")]
    with pytest.raises(BuildError, match="a and b both bring `/usr/x`"):
        merge(packages)


@pytest.mark.parametrize(
    ("replaces", "wins"),
    [
        ("a", True),
        ("c, a (<< 2)", True),
        ("a (<< 1)", False),
        ("a (>= 1.0)", True),
        ("a:any (<= 1.0)", True),
        ("c", False),
    ],
)
def test_replaces_decides_with_its_version(store, replaces, wins):
    one = debs.package(store, "a", file("./usr/x", b"a"))
    two = debs.package(store, "b", file("./usr/x", b"b"), Replaces=replaces)
    if wins:
        assert in_every_order([one, two])["usr/x"].origin == "b"
    else:
        with pytest.raises(BuildError):
            merge([one, two])


def test_two_that_replace_each_other_are_an_error(store):
    one = debs.package(store, "a", file("./usr/x", b"a"), Replaces="b")
    two = debs.package(store, "b", file("./usr/x", b"b"), Replaces="a")
    with pytest.raises(BuildError):
        merge([one, two])


def test_merged_usr_makes_two_names_one(store):
    one = debs.package(store, "a", folder("./lib/"), file("./lib/x", b"a"))
    two = debs.package(store, "b", folder("./usr/"), folder("./usr/lib/"), file("./usr/lib/x", b"b"))
    with pytest.raises(BuildError, match="both bring `/usr/lib/x`"):
        merge([one, two])


def test_the_links_of_base_files_and_ours_are_one(store):
    base = debs.package(store, "base-files", link("./bin", "usr/bin"), link("./lib64", "usr/lib64"))
    other = debs.package(store, "a", folder("./lib64/"), file("./lib64/ld.so", b"x"))
    found = in_every_order([base, other])
    assert found["lib64"].kind is Kind.SYMLINK
    assert found["usr/lib64/ld.so"].origin == "a"


def test_shared_folders_keep_the_unusual_owner(store):
    usual = debs.package(store, "a", folder("./var/x/"))
    unusual = debs.package(store, "b", folder("./var/x/", 0o2775, gid=43))
    base = debs.package(store, "base-files", folder("./tmp/", 0o1777))
    other = debs.package(store, "c", folder("./tmp/", 0o700, uid=5))
    found = in_every_order([usual, unusual, base, other])
    assert (found["var/x"].mode, found["var/x"].gid) == (0o2775, 43)
    assert (found["tmp"].mode, found["tmp"].uid) == (0o1777, 0)


def test_a_link_to_a_folder_stays_and_takes_in_what_lies_below(store):
    one = debs.package(store, "a", folder("./usr/real/"), link("./usr/alias", "real"))
    two = debs.package(store, "b", folder("./usr/alias/"), file("./usr/alias/x", b"1"))
    found = in_every_order([one, two])
    assert found["usr/alias"].kind is Kind.SYMLINK
    assert found["usr/real/x"].origin == "b"


def test_a_file_below_another_packages_file_is_an_error(store):
    one = debs.package(store, "a", file("./usr/x", b"1"))
    two = debs.package(store, "b", folder("./usr/x/"), file("./usr/x/y", b"1"))
    with pytest.raises(BuildError):
        merge([one, two])


def test_links_in_a_circle(store):
    one = debs.package(store, "a", link("./usr/x", "y"), link("./usr/y", "x"))
    two = debs.package(store, "b", folder("./usr/x/"), file("./usr/x/f"))
    with pytest.raises(BuildError, match="circle"):
        merge([one, two])


def test_a_diversion_keeps_both(store):
    diverter = debs.package(store, "a", file("./usr/bin/x", b"new"))
    diverted = debs.package(store, "b", file("./usr/bin/x", b"old"))
    rule = Diversion(package="a", path="usr/bin/x", to="usr/bin/x.distrib")
    found = in_every_order([diverter, diverted], diversions=[rule])
    assert (found["usr/bin/x"].origin, found["usr/bin/x.distrib"].origin) == ("a", "b")
    assert "usr/bin/x.distrib" not in merge([diverted], [rule]).by_path()


def test_the_first_name_of_a_hard_link_is_the_file(store):
    found = merge([debs.package(store, "a", file("./usr/z", b"1", 0o755), hard("./usr/a", "./usr/z"))]).by_path()
    assert (found["usr/a"].kind, found["usr/a"].size, found["usr/a"].mode) == (Kind.FILE, 1, 0o755)
    assert (found["usr/z"].kind, found["usr/z"].target) == (Kind.HARDLINK, "usr/a")


def test_a_hard_link_outlives_its_file_that_another_package_replaced(store):
    one = debs.package(store, "a", file("./usr/x", b"old"), hard("./usr/y", "./usr/x"), hard("./usr/z", "./usr/x"))
    two = debs.package(store, "b", file("./usr/x", b"new"), Replaces="a")
    found = in_every_order([one, two])
    assert store.read(found["usr/x"].sha256) == b"new"
    assert store.read(found["usr/y"].sha256) == b"old"
    assert (found["usr/z"].kind, found["usr/z"].target) == (Kind.HARDLINK, "usr/y")


@given(st.data())
def test_relink_gives_every_link_an_earlier_file(data):
    names = data.draw(st.lists(st.text("abc/", min_size=1, max_size=4), unique=True, min_size=1, max_size=8))
    owner = data.draw(st.sampled_from(names))
    nodes = [
        Entry(
            path=name,
            kind=Kind.FILE if name == owner else Kind.HARDLINK,
            target="" if name == owner else owner,
            sha256="x",
        )
        for name in names
    ]
    result = relink(data.draw(st.permutations(nodes)))
    assert [node.path for node in result] == sorted(names)
    assert [node.kind for node in result] == [Kind.FILE] + [Kind.HARDLINK] * (len(names) - 1)
    assert {node.target for node in result[1:]} <= {result[0].path}
    assert relink(result) == result
    assert Tree(result).by_path().keys() == set(names)
