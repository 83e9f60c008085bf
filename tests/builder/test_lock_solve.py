"""Versions, relations, the Python solver, the index reader and the lock file: all pure."""

import dataclasses
from pathlib import Path

import pytest
from fakes.mirror import FakeDeb
from hypothesis import event, given
from hypothesis import strategies as st

from builder.errors import LockError, Place, VerificationError
from builder.lock.apt import reachable, render_index
from builder.lock.closure import PythonSolver, Unsolvable, close, problems, reach
from builder.lock.depends import conflict_between, is_waived, parse_group, split_groups
from builder.lock.difference import compare_locks
from builder.lock.file import parse_lock, read_lock, render_lock, write_lock
from builder.lock.index import checked_filename, read_index
from builder.lock.model import Lock, LockedPackage, LockedPart, LockedRelease, LockedWaiver
from builder.lock.select import for_build, image_packages, packages_of, root_packages
from builder.lock.solve import solve_parts
from builder.lock.universe import Pinned, Suites
from builder.lock.version import order, satisfies
from builder.recipe.model import PackageRequest, Waiver

PLACE = Place(file="recipes/x.yaml", line=7)


def universe(*debs: FakeDeb, suite: str = "trixie") -> Suites:
    return Suites([read_index("\n".join(deb.record() for deb in debs).encode(), suite)], "amd64")


def waiver(package: str, depends: str) -> Waiver:
    return Waiver(package=package, depends=depends, reason="a test", place=PLACE)


def names(packages: tuple[LockedPackage, ...]) -> list[str]:
    return [package.name for package in packages]


# Versions: every line ascends, as `dpkg --compare-versions` says.

ASCENDING = [
    "0~~",
    "0~~a",
    "0~",
    "0",
    "0a",
    "0+",
    "0.1~rc1",
    "0.1",
    "0.1-0+deb1",
    "0.1-1~bpo1",
    "0.1-1",
    "0.1-1+b1",
    "0.1-1+b10",
    "0.1a",
    "0.1.1",
    "0.9",
    "0.10",
    "6.12.118-1",
    "6.12.119-1",
    "20240101",
    "1:0",
    "1:0-0~",
    "2:0",
]


def test_versions_stand_in_order() -> None:
    ascending = [version for version in ASCENDING if version != "1:0-0~"]
    assert sorted(ascending, key=order) == ascending
    assert order("1:0-0~") < order("1:0")


@pytest.mark.parametrize(("one", "other"), [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.00", "1.0"), ("1.a", "1.a0")])
def test_versions_that_are_equal(one: str, other: str) -> None:
    assert order(one) == order(other)


VERSIONS = st.from_regex(r"\A([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,4})?\Z")


@given(VERSIONS, VERSIONS, VERSIONS)
def test_the_order_is_total(one: str, other: str, third: str) -> None:
    assert (order(one) < order(other)) + (order(other) < order(one)) + (order(one) == order(other)) == 1
    if order(one) <= order(other) <= order(third):
        assert order(one) <= order(third)
    assert satisfies(one, "<=", other) is (satisfies(one, "<<", other) or satisfies(one, "=", other))
    assert satisfies(one, ">=", other) is not satisfies(one, "<<", other)
    assert satisfies(one, ">>", other) is not satisfies(one, "<=", other)


@given(VERSIONS)
def test_a_tilde_sorts_before_the_end(version: str) -> None:
    assert order(version + "~") < order(version) < order(version + "+")


# Relations


def test_relations_are_read() -> None:
    (one, other) = parse_group("libc6:any (>= 2.39) | libc0.1 (<< 3)")
    assert (one.name, one.qualifier, one.operator, one.version) == ("libc6", "any", ">=", "2.39")
    assert str(other) == "libc0.1 (<< 3)"
    assert parse_group("a (< 1)")[0].operator == "<="
    assert split_groups(" a ,\n b  (= 1) | c,, ") == ("a", "b (= 1) | c")
    with pytest.raises(ValueError, match="not a relation"):
        parse_group("a b")


def test_waivers_are_by_name_and_pattern() -> None:
    waive = [waiver("linux-image-*", "initramfs-tools"), waiver("a", "b")]
    assert is_waived("linux-image-6.12.1-amd64", "initramfs-tools (>= 1) | linux-initramfs-tool", waive)
    assert is_waived("a", "c | b", waive)
    assert not is_waived("ab", "b", waive)


# The index


def test_an_index_is_read() -> None:
    found = universe(FakeDeb("a", depends="b (>= 1), c | d", provides="v (= 3)", conflicts="e"), FakeDeb("b"))
    package = found.candidate("a")
    assert package is not None
    assert package.depends == ("b (>= 1)", "c | d")
    assert names(found.providers("v")) == ["a"]
    assert found.candidate("c") is None
    assert found.names() == {"a", "b"}


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", "a//b", "pool/a.deb?x", "pool/\x1b[2Ja.deb", "a\\b"]
)
def test_file_names_stay_in_the_archive(name: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        checked_filename(name)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Version: 1.0-1\n", ""),
        ("Size: ", "Size: x"),
        ("SHA256: ", "SHA256: 12"),
        ("Filename: pool", "Filename: /pool"),
        ("Size: ", "Size: -"),
    ],
)
def test_a_record_that_cannot_be_used(old: str, new: str) -> None:
    index = read_index(FakeDeb("a").record().replace(old, new).encode(), "trixie")
    with pytest.raises(VerificationError, match="a"):
        index.packages("a")


def test_an_index_that_is_none() -> None:
    with pytest.raises(VerificationError):
        read_index(b"<html>", "trixie")
    assert read_index(b"", "trixie").records == {}


@given(st.binary(max_size=300))
def test_any_bytes_are_an_index_or_refused(data: bytes) -> None:
    try:
        index = read_index(b"Package: a\n" + data, "trixie")
        for name in index.records:
            index.packages(name)
    except VerificationError:
        pass


# Solving


def test_the_newest_version_among_suites_is_taken() -> None:
    main = read_index(FakeDeb("a", "1.0-1").record().encode(), "trixie")
    updates = read_index(FakeDeb("a", "1.0-1").record().encode(), "trixie-updates")
    security = read_index(FakeDeb("a", "1.0-1+deb13u2").record().encode(), "trixie-security")
    both = Suites([main, updates, security], "amd64").candidate("a")
    assert both is not None
    assert both.suite == "trixie-security"
    same = Suites([main, updates], "amd64").candidate("a")
    assert same is not None
    assert same.suite == "trixie"
    assert Suites([main], "arm64").candidate("a") is None


def test_a_closure() -> None:
    found = universe(
        FakeDeb("a", depends="b, v"),
        FakeDeb("b", depends="c | d"),
        FakeDeb("c"),
        FakeDeb("d"),
        FakeDeb("p", provides="v"),
    )
    solution = close(found, ["a"], [])
    assert names(solution) == ["a", "b", "c", "p"]
    assert problems(solution, []) == []
    assert names(close(found, ["a"], [waiver("a", "b")])) == ["a", "p"]


def test_what_is_chosen_anyway_meets_an_alternative() -> None:
    found = universe(FakeDeb("a", depends="c | d, e"), FakeDeb("c"), FakeDeb("d"), FakeDeb("e", depends="d"))
    assert names(close(found, ["a"], [])) == ["a", "d", "e"]


def test_a_conflict_makes_it_take_the_other_alternative() -> None:
    found = universe(
        FakeDeb("a", depends="b | c, d"),
        FakeDeb("b"),
        FakeDeb("c"),
        FakeDeb("d", depends="e | f"),
        FakeDeb("e", conflicts="b"),
        FakeDeb("f", conflicts="b"),
    )
    assert names(close(found, ["a"], [])) == ["a", "c", "d", "e"]


def test_a_package_may_conflict_with_what_it_provides_itself() -> None:
    found = universe(FakeDeb("a", provides="v", conflicts="v"), FakeDeb("b", provides="v", conflicts="v"))
    assert names(close(found, ["a"], [])) == ["a"]
    with pytest.raises(Unsolvable) as caught:
        close(found, ["a", "b"], [])
    assert caught.value.blame == {"a", "b"}


def test_versioned_provides() -> None:
    found = universe(FakeDeb("a", depends="v (>= 2)"), FakeDeb("p", provides="v"), FakeDeb("q", provides="v (= 2)"))
    assert names(close(found, ["a"], [])) == ["a", "q"]
    package, other = found.candidate("p"), FakeDeb("x", conflicts="v (<< 9)")
    assert package is not None
    assert conflict_between(universe(other).candidate("x"), package) is None  # type: ignore[arg-type]


def solved(found: Suites, *requests: str, waive: tuple[Waiver, ...] = ()) -> tuple[LockedPackage, ...]:
    return solve_parts(
        PythonSolver(), found, {"root": [PackageRequest(name=name, place=PLACE) for name in requests]}, waive
    )


@pytest.mark.parametrize(
    ("debs", "requests", "words"),
    [
        ([FakeDeb("podman")], ["podmann"], ["no package podmann", "did you mean podman?"]),
        ([FakeDeb("mawk", provides="awk")], ["awk"], ["virtual", "mawk"]),
        ([FakeDeb("a", depends="b (>= 2)"), FakeDeb("b")], ["a"],
         ["a (asked for by the recipe) needs b (>= 2)", "b 1.0-1"]),
        ([FakeDeb("a", depends="c"), FakeDeb("c", depends="gone")], ["a"],
         ["c (needed by a) needs gone", "no such package"]),
        ([FakeDeb("a", conflicts="b"), FakeDeb("b")], ["a", "b"], ["a (asked", "b (asked", "refuse to be together"]),
        ([FakeDeb("a", depends="c"), FakeDeb("c", conflicts="b"), FakeDeb("b")], ["a", "b"],
         ["c (needed by a)", "refuse"]),
        ([FakeDeb("a", depends="b"), FakeDeb("b", depends="systemd"), FakeDeb("systemd")], ["a"],
         ["systemd is needed by b is needed by a", "{package: b, depends: systemd"]),
        ([FakeDeb("systemd")], ["systemd"], ["systemd", "take it out"]),
    ],
)  # fmt: skip
def test_what_has_no_answer_is_explained_by_names(debs: list[FakeDeb], requests: list[str], words: list[str]) -> None:
    with pytest.raises(LockError) as caught:
        solved(universe(*debs), *requests)
    text = f"{caught.value.message} {caught.value.hint}"
    for word in words:
        assert word in text
    assert caught.value.place == PLACE


def test_parts() -> None:
    found = universe(
        FakeDeb("busybox", depends="libc6"), FakeDeb("busybox-static", conflicts="busybox"), FakeDeb("libc6"),
        FakeDeb("linux-image-amd64", depends="linux-image-1"), FakeDeb("linux-image-1", depends="kmod"),
        FakeDeb("kmod"),
        FakeDeb("linux-image-cloud-amd64", depends="linux-image-1-cloud"),
        FakeDeb("linux-image-1-cloud", depends="kmod"),
    )  # fmt: skip
    parts = {
        "root": ["busybox", "kmod"],
        "kernel-full": ["linux-image-amd64"],
        "kernel-cloud": ["linux-image-cloud-amd64"],
        "image-demo": ["busybox-static"],
    }
    requests = {part: [PackageRequest(name=name, place=PLACE) for name in given] for part, given in parts.items()}
    packages = solve_parts(PythonSolver(), found, requests, ())
    lock = make_lock(packages, parts=tuple(LockedPart(name=key, requests=tuple(value)) for key, value in parts.items()))
    assert names(root_packages(lock, "full")) == ["busybox", "kmod", "libc6", "linux-image-1", "linux-image-amd64"]
    assert names(root_packages(lock, "none")) == ["busybox", "kmod", "libc6"]
    assert names(image_packages(lock, "demo")) == ["busybox-static"]
    assert "linux-image-amd64" not in for_build(lock, "cloud").by_name()
    assert {"linux-image-cloud-amd64", "busybox-static"} <= set(for_build(lock, "cloud").by_name())
    with pytest.raises(LockError, match="no part image-other"):
        packages_of(lock, "image-other")


def test_pins_lie_over_a_universe() -> None:
    old = universe(FakeDeb("a", "1.0-1", provides="v")).candidate("a")
    assert old is not None
    pinned = Pinned(universe(FakeDeb("a", "2.0-1"), FakeDeb("b", provides="v")), {"a": old})
    assert pinned.candidate("a") == old
    assert names(pinned.providers("v")) == ["a", "b"]


DEBS = st.lists(
    st.builds(
        FakeDeb,
        name=st.sampled_from("abcdefgh"),
        depends=st.lists(
            st.sampled_from(["a", "b | c", "d (>= 1)", "e (>> 1.0-1)", "v", "f | v", "g", "h"]), max_size=3
        ).map(", ".join),
        provides=st.sampled_from(["", "v", "v (= 2), w"]),
        conflicts=st.sampled_from(["", "", "", "a", "v", "g"]),
    ),
    max_size=8,
    unique_by=lambda deb: deb.name,
)  # fmt: skip


@given(DEBS, st.lists(st.sampled_from("abcdefgh"), max_size=3))
def test_an_answer_is_right_and_nothing_is_superfluous(debs: list[FakeDeb], requests: list[str]) -> None:
    found = universe(*debs)
    try:
        solution = close(found, requests, [])
    except Unsolvable as failure:
        event(failure.message)
        return
    assert problems(solution, []) == []
    assert set(requests) <= set(names(solution))
    assert set(names(solution)) <= set(reachable(found, requests, []))
    assert set(reach(solution, requests, [])) <= set(names(solution))
    assert close(found, requests, []) == solution


def test_what_apt_is_shown() -> None:
    found = universe(FakeDeb("a", depends="b:any (>= 1) | c:any, d"), FakeDeb("b"))
    text = render_index(reachable(found, ["a"], []).values(), [waiver("a", "d")])
    assert "Depends: b (>= 1) | c\n" in text
    assert text.count("Package: ") == 2
    assert len(read_index(text.encode(), "x").records) == 2


# The file


def make_lock(packages: tuple[LockedPackage, ...], **more) -> Lock:
    release = LockedRelease(
        suite="trixie", archive="main", date=1795252544, valid_until=None, sha256="0" * 64, signers=("AB",)
    )
    values = {
        "recipe": "x",
        "suite": "trixie",
        "architecture": "amd64",
        "epoch": 1795252544,
        "releases": (release,),
        **more,
    }
    return Lock(packages=packages, **values)


def sample() -> Lock:
    packages = solved(universe(FakeDeb("a", depends="b (>= 1)"), FakeDeb("b", provides="v")), "a")
    return make_lock(
        packages, parts=(LockedPart(name="root", requests=("a",)),), waived=(LockedWaiver(package="a", depends="z"),)
    )


def test_a_lock_is_read_as_it_was_written(tmp_path: Path) -> None:
    lock = sample()
    write_lock(lock, tmp_path / "deep" / "x.lock")
    assert read_lock(tmp_path / "deep" / "x.lock") == lock
    text = (tmp_path / "deep" / "x.lock").read_text()
    assert text == render_lock(lock)
    assert text.endswith("}\n")
    assert sum('"name": "b"' in line for line in text.splitlines()) == 1
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.lock"]


TEXTS = st.text(max_size=10)


@given(
    st.lists(TEXTS, max_size=3),
    st.integers(1, 2**40),
    st.sampled_from(["", "f" * 64]),
    st.none() | st.integers(0, 2**32),
)
def test_any_lock_survives_its_file(groups: list[str], size: int, healed: str, until: int | None) -> None:
    base = sample()
    packages = tuple(
        dataclasses.replace(p, size=size, depends=tuple(groups), conflicts=tuple(groups)) for p in base.packages
    )
    releases = tuple(dataclasses.replace(release, valid_until=until) for release in base.releases)
    lock = dataclasses.replace(base, packages=packages, releases=releases, healed_from=healed)
    assert parse_lock(render_lock(lock), "x.lock") == lock


@pytest.mark.parametrize(
    ("old", "new", "words", "line"),
    [
        ('"berth.lock/1"', '"berth.lock/9"', "format", 2),
        ('"recipe": "x"', '"recipe": 3', "`recipe` is of a wrong type", 3),
        ('"size": ', '"size": "1", "sise": ', "`size` is of a wrong type", 16),
        ('{"name": "b"', '{"color": "red", "name": "b"', "`color` is not known", 0),
        ('"name": "b", ', "", "`name` is missing", 15),
        ('{"name": "a"', '{"name": "b"', "twice or out of order", 16),
        ("pool/main/b/b", "../../b/b", "leaves the archive", 17),
        ('"2026-11-21T09:15:44Z"', '"soon"', "no moment", 13),
        ('"parts": ["root"]', '"parts": ["attic"]', "does not have", 16),
        ('"archive": "main"', '"archive": "attic"', "neither", 13),
        ('"epoch": ', '"epoch": 1, "epoch": ', "stands twice", 0),
        ("{\n", "[\n", "not JSON", 2),
        ('"requests": ["a"]', '"requests": [1]', "list of texts", 8),
    ],
)
def test_reading_is_strict(old: str, new: str, words: str, line: int) -> None:
    text = render_lock(sample())
    assert old in text
    with pytest.raises(LockError) as caught:
        parse_lock(text.replace(old, new, 1), "x.lock")
    assert words in caught.value.message
    assert caught.value.place is not None
    assert caught.value.place.file == "x.lock"
    if line:
        assert abs(caught.value.place.line - line) <= 2


@given(st.binary(max_size=200))
def test_any_bytes_are_a_lock_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.lock"
    path.write_bytes(data)
    with pytest.raises(LockError):
        read_lock(path)


def test_no_lock_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LockError) as caught:
        read_lock(tmp_path / "podman.lock")
    assert caught.value.hint == "make it: berth lock podman"


def test_a_difference() -> None:
    old = make_lock(solved(universe(FakeDeb("a", depends="b"), FakeDeb("b"), FakeDeb("c", content=b"1")), "a", "c"))
    new = make_lock(
        solved(universe(FakeDeb("a", "1.1-1", depends="d"), FakeDeb("d"), FakeDeb("c", content=b"22")), "a", "c")
    )
    difference = compare_locks(old, new)
    assert [(change.kind, change.name, change.old, change.new) for change in difference.changes] == [
        ("upgraded", "a", "1.0-1", "1.1-1"),
        ("removed", "b", "1.0-1", None),
        ("rebuilt", "c", "1.0-1", "1.0-1"),
        ("added", "d", None, "1.0-1"),
    ]
    assert difference.growth == sum(p.size for p in new.packages) - sum(p.size for p in old.packages)
    assert difference.download == sum(p.size for p in new.packages)
    assert compare_locks(new, new).changes == ()
    assert [change.name for change in difference.of("added")] == ["d"]
    assert compare_locks(new, old).of("downgraded")[0].name == "a"


# The locks that are shipped

SHIPPED = sorted((Path(__file__).parent.parent.parent / "recipes").glob("*.lock"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_lock_is_whole(path: Path) -> None:
    lock = read_lock(path)
    assert render_lock(lock) == path.read_text()
    waive = [Waiver(package=w.package, depends=w.depends, reason="", place=PLACE) for w in lock.waived]
    together = {part.name for part in lock.parts if not part.name.startswith("image-")}
    for group in [together, *({part.name} for part in lock.parts if part.name.startswith("image-"))]:
        members = packages_of(lock, *group)
        assert problems(members, waive) == []
        asked = [name for part in lock.parts if part.name in group for name in part.requests]
        assert set(reach(members, asked, waive)) == set(names(members))
    assert "systemd" not in lock.by_name()
    assert {signer for release in lock.releases for signer in release.signers}
