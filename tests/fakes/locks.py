"""Small universes of packages, and locks of them, in a line of a test."""

from fakes.mirror import FakeDeb

from builder.errors import Place
from builder.lock.closure import PythonSolver
from builder.lock.index import read_index
from builder.lock.model import Lock, LockedPackage, LockedRelease
from builder.lock.solve import solve_parts
from builder.lock.universe import Suites
from builder.recipe.model import PackageRequest, Waiver

PLACE = Place(file="recipes/x.yaml", line=7)


def universe(*debs: FakeDeb, suite: str = "trixie") -> Suites:
    return Suites([read_index("\n".join(deb.record() for deb in debs).encode(), suite)], "amd64")


def waiver(package: str, depends: str) -> Waiver:
    return Waiver(package=package, depends=depends, reason="a test", place=PLACE)


def names(packages: tuple[LockedPackage, ...]) -> list[str]:
    return [package.name for package in packages]


def solved(found: Suites, *requests: str, waive: tuple[Waiver, ...] = ()) -> tuple[LockedPackage, ...]:
    return solve_parts(
        PythonSolver(), found, {"root": [PackageRequest(name=name, place=PLACE) for name in requests]}, waive
    )


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
