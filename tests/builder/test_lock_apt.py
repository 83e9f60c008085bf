"""apt from the tools tree is the reference: Python's solver has to choose as it does, for every shipped recipe."""

from pathlib import Path

import pytest
from fakes.mirror import FakeDeb

from builder.cli.context import Context
from builder.cli.inputs import Network, open_source, ready_tools
from builder.errors import LockError, Place
from builder.fetch.store import Store
from builder.lock.apt import AptSolver
from builder.lock.archive import Archive, open_archive
from builder.lock.closure import PythonSolver, Unsolvable
from builder.lock.index import read_index
from builder.lock.recipe import check_fits, lock_from
from builder.lock.solve import solve_parts
from builder.lock.universe import Suites
from builder.progress import SilentProgress
from builder.recipe import load
from builder.recipe.model import PackageRequest

pytestmark = pytest.mark.packages
PLACE = Place(file="recipes/x.yaml", line=1)


@pytest.fixture(scope="module")
def context() -> Context:
    return Context.create(quiet=True, as_json=False)


@pytest.fixture(scope="module")
def apt(context: Context) -> AptSolver:
    return AptSolver(ready_tools(context, Network(heal=True)), context.store, "amd64")


@pytest.fixture(scope="module")
def archive(context: Context) -> Archive:
    return open_archive(open_source(context, Network()), "trixie", "amd64")


@pytest.mark.parametrize("name", ["minimal", "podman", "docker", "tools"])
def test_both_solvers_agree(name: str, apt: AptSolver, archive: Archive) -> None:
    recipe = load(name, [])
    lock = lock_from(recipe, archive, apt, SilentProgress())
    assert lock_from(recipe, archive, PythonSolver(), SilentProgress()) == lock
    check_fits(recipe, lock)


def universe(*debs: FakeDeb) -> Suites:
    return Suites([read_index("\n".join(deb.record() for deb in debs).encode(), "trixie")], "amd64")


@pytest.mark.parametrize(
    ("debs", "requests"),
    [
        ([FakeDeb("a", depends="b | c, d"), FakeDeb("b"), FakeDeb("c"), FakeDeb("d", conflicts="b")], ["a"]),
        ([FakeDeb("a", depends="b:any (>= 1) | c"), FakeDeb("b"), FakeDeb("c")], ["a"]),
        ([FakeDeb("a", depends="v (>= 2)"), FakeDeb("p", provides="v"), FakeDeb("q", provides="v (= 2)")], ["a"]),
        ([FakeDeb("a", provides="v", conflicts="v"), FakeDeb("b", depends="v")], ["a", "b"]),
        ([FakeDeb("a", depends="c | d, e"), FakeDeb("c"), FakeDeb("d"), FakeDeb("e", depends="d")], ["a"]),
    ],
)
def test_both_solvers_agree_on_what_is_tricky(debs: list[FakeDeb], requests: list[str], apt: AptSolver) -> None:
    found = universe(*debs)
    assert apt.solve(found, requests, ()) == PythonSolver().solve(found, requests, ())


def test_a_conflict_is_explained_in_words(apt: AptSolver) -> None:
    found = universe(FakeDeb("aaa", depends="ccc"), FakeDeb("ccc", conflicts="bbb"), FakeDeb("bbb"))
    with pytest.raises(Unsolvable):
        apt.solve(found, ["aaa", "bbb"], ())
    requests = [PackageRequest(name=name, place=PLACE) for name in ("aaa", "bbb")]
    with pytest.raises(LockError) as caught:
        solve_parts(apt, found, {"root": requests}, ())
    for name in ("aaa", "bbb", "ccc"):
        assert name in caught.value.message
    assert "Conflicts" in caught.value.message
    assert caught.value.place == PLACE


def test_it_works_below_a_folder_with_blanks_and_accents(apt: AptSolver, tmp_path: Path) -> None:
    elsewhere = AptSolver(apt._tools, Store(tmp_path / "ein schöner Ort"), "amd64")
    assert [package.name for package in elsewhere.solve(universe(FakeDeb("a")), ["a"], ())] == ["a"]
