"""Leaving paths out by rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.recipe.model import Exclusion
from builder.rootfs.entry import Entry, Kind, Tree
from builder.rootfs.exclude import exclude, path_glob


def tree(*paths):
    """A path that ends in a slash is a directory; `a=b` a hard link, `a->b` a symbolic one; files have ten bytes."""
    nodes = {"": Entry(path="", kind=Kind.DIRECTORY)}
    for text in paths:
        path, _, target = text.partition("=")
        path, arrow, far = path.partition("->")
        words = path.rstrip("/").split("/")
        for count in range(1, len(words)):
            parent = "/".join(words[:count])
            nodes.setdefault(parent, Entry(path=parent, kind=Kind.DIRECTORY))
        name = "/".join(words)
        if path.endswith("/"):
            nodes[name] = Entry(path=name, kind=Kind.DIRECTORY)
        elif arrow:
            nodes[name] = Entry(path=name, kind=Kind.SYMLINK, target=far)
        elif target:
            nodes[name] = Entry(path=name, kind=Kind.HARDLINK, target=target, size=10, sha256="x")
        else:
            nodes[name] = Entry(path=name, kind=Kind.FILE, size=10, sha256="x")
    return Tree(tuple(nodes[path] for path in sorted(nodes)))


def rule(pattern, *keep):
    return Exclusion(pattern=pattern, reason="why", keep=keep)


def left(result):
    return {node.path for node in result.entries if node.kind is not Kind.DIRECTORY}


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/usr/share/doc/**", "/usr/share/doc/a/b", True),
        ("/usr/share/doc/**", "/usr/share/doc", False),
        ("/usr/*/x", "/usr/a/x", True),
        ("/usr/*/x", "/usr/a/b/x", False),
        ("/usr/?", "/usr/a", True),
        ("/usr/?", "/usr//", False),
        ("/usr/[ab]", "/usr/b", True),
        ("/usr/[!ab]", "/usr/b", False),
        ("/usr/[", "/usr/[", True),
        ("/usr/a.b", "/usr/axb", False),
        ("/lib/x/**", "/usr/lib/x/y", True),
        ("/sbin/x", "/usr/sbin/x", True),
        ("/libexec/x", "/libexec/x", True),
        ("**/*.pyc", "/a/b/c.pyc", True),
    ],
)
def test_globs(pattern, path, matches):
    assert bool(path_glob(pattern).fullmatch(path)) == matches


def test_what_each_rule_saved_is_counted_once():
    given_tree = tree("usr/doc/a", "usr/doc/b", "usr/man/c", "usr/bin/d")
    result, saved = exclude(given_tree, [rule("/usr/doc/**"), rule("/usr/**/c"), rule("/usr/doc/a"), rule("/no/**")])
    assert left(result) == {"usr/bin/d"}
    assert [(one.files, one.size) for one in saved] == [(2, 20), (1, 10), (0, 0), (0, 0)]


def test_directories_go_when_a_rule_emptied_them_and_no_sooner():
    result, _ = exclude(
        tree("usr/doc/a/b", "usr/empty/", "var/x/y", "var/x/z"), [rule("/usr/doc/**"), rule("/var/x/y")]
    )
    assert [node.path for node in result.entries] == ["", "usr", "usr/empty", "var", "var/x", "var/x/z"]


def test_what_is_kept_stays():
    result, _ = exclude(tree("usr/doc/a", "usr/doc/b"), [rule("/usr/doc/**", "/usr/doc/b")])
    assert left(result) == {"usr/doc/b"}


def test_copyright_and_dpkgs_database_stay_whatever_a_rule_says():
    kept = {
        "usr/share/doc/a/copyright",
        "usr/share/doc/b",
        "usr/share/common-licenses/GPL-3",
        "usr/lib/berth/dpkg/status",
    }
    given_tree = tree(
        "usr/share/doc/a/copyright",
        "usr/share/doc/b->a",
        "usr/share/doc/a/README",
        "usr/share/common-licenses/GPL-3",
        "usr/lib/berth/dpkg/status",
    )
    result, saved = exclude(given_tree, [rule("/**")])
    assert left(result) == kept
    assert saved[0].files == 1


def test_a_hard_link_inherits_the_bytes():
    result, _ = exclude(tree("usr/a", "usr/b=usr/a", "usr/c=usr/a"), [rule("/usr/a")])
    assert [(node.path, node.kind, node.target) for node in result.entries[2:]] == [
        ("usr/b", Kind.FILE, ""),
        ("usr/c", Kind.HARDLINK, "usr/b"),
    ]
    assert result.by_path()["usr/b"].sha256 == "x"


def test_a_link_goes_with_what_it_led_to():
    before = tree(
        "usr/bin/x", "usr/bin/y->x", "usr/sbin/z->../bin/y", "etc/w->/bin/x", "etc/v->/bin/other", "usr/bin/other"
    )
    result, saved = exclude(before, [rule("/usr/bin/x")])
    assert left(result) == {"etc/v", "usr/bin/other"}
    assert (saved[0].files, saved[0].size) == (4, 10)


names = st.lists(
    st.text("ab/", min_size=1, max_size=6).map(lambda text: "d/" + text.replace("/", "/x").strip("/")), max_size=12
)


@given(names, st.lists(st.text("ab*?/", max_size=5).map(lambda text: "/d/" + text), max_size=4))
def test_nothing_is_lost_or_invented(paths, patterns):
    before = tree(*{path for path in paths if not any(other.startswith(path + "/") for other in paths)})
    after, saved = exclude(before, [rule(pattern) for pattern in patterns])
    assert set(after.entries) <= set(before.entries)
    assert len(left(before)) - len(left(after)) == sum(one.files for one in saved)
    for node in after.entries:
        assert not node.path or node.path.rpartition("/")[0] in after.by_path()
