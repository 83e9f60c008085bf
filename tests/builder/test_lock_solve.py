"""The Python solver and the index reader: all pure."""

import pytest
from fakes.locks import PLACE, make_lock, names, solved, universe, waiver
from fakes.mirror import FakeDeb
from hypothesis import event, given
from hypothesis import strategies as st

from builder.errors import LockError, VerificationError
from builder.lock.apt import reachable, render_index
from builder.lock.closure import PythonSolver, Unsolvable, close, problems, reach
from builder.lock.depends import conflict_between
from builder.lock.index import checked_filename, read_index
from builder.lock.model import LockedPart
from builder.lock.select import for_build, image_packages, packages_of, root_packages
from builder.lock.solve import solve_parts
from builder.lock.universe import Pinned, Suites
from builder.recipe.model import PackageRequest

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
