"""A mirror, a lock of what it has, and a mirror that has moved on since."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pysequoia
from fakes.mirror import FakeDeb, FakeMirror

from builder.errors import Place
from builder.fetch.download import Patience
from builder.fetch.http import Client
from builder.fetch.mirrors import Mirrors
from builder.fetch.store import Store
from builder.lock.archive import Source, open_archive
from builder.lock.closure import PythonSolver
from builder.lock.ensure import ensure_packages
from builder.lock.file import write_lock
from builder.lock.model import Lock
from builder.lock.recipe import lock_from
from builder.lock.select import for_build
from builder.progress import SilentProgress
from builder.recipe.model import PackageRequest, Waiver

PLACE = Place(file="recipes/small.yaml", line=4)
KERNEL = "linux-image-6.12.{}+deb13-amd64"
CLOUD = "linux-image-6.12.{}+deb13-cloud-amd64"


def kernel(number: int) -> list[FakeDeb]:
    """Return both kernels: a new version has another name, which only the metapackage's dependency tells."""
    version = f"6.12.{number}-1"
    needs = "kmod, initramfs-tools | linux-initramfs-tool"
    return [
        FakeDeb("linux-image-amd64", version, depends=f"{KERNEL.format(number)} (= {version})"),
        FakeDeb("linux-image-cloud-amd64", version, depends=f"{CLOUD.format(number)} (= {version})"),
        FakeDeb(KERNEL.format(number), version, depends=needs),
        FakeDeb(CLOUD.format(number), version, depends=needs),
    ]


BEFORE = [
    *kernel(118),
    FakeDeb("kmod", "34.2-2", depends="libc6 (>= 2.38), libkmod2"),
    FakeDeb("libkmod2", "34.2-2", depends="libc6 (>= 2.38)"),
    FakeDeb("libc6", "2.41-12"),
    FakeDeb("openssh-server", "1:10.0p1-7", depends="libcrypt1, libssl3t64 (>= 3.5.0)"),
    FakeDeb("libcrypt1", "1:4.4.38-1", depends="libc6"),
    FakeDeb("libssl3t64", "3.5.4-1", depends="libc6"),
    FakeDeb("crun", "1.21-1", depends="libc6"),
    FakeDeb("busybox-static", "1:1.37.0-6"),
    FakeDeb("unrelated", "1.0-1"),
]


def moved_on(*new: FakeDeb) -> list[FakeDeb]:
    """Return the archive after an update: a new version takes the place of the old one."""
    names = {deb.name for deb in new}
    return [deb for deb in BEFORE if deb.name not in names] + list(new)


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, message: str) -> None:
        self.said.append(message)


@dataclasses.dataclass
class Scene:
    """A mirror, a store, and the recipe `small` in a folder of its own."""

    mirror: FakeMirror
    key: pysequoia.Tsk
    keys: Path
    folder: Path
    progress: Notes
    client: Client

    @property
    def path(self) -> Path:
        return self.folder / "recipes" / "small.lock"

    @property
    def healed(self) -> Path:
        return self.folder / "build" / "locks" / "small.lock"

    @property
    def store(self) -> Store:
        return Store(self.folder / "store")

    def source(self, **more) -> Source:
        base = self.mirror.base
        return Source(
            store=self.store, mirrors=Mirrors(main=base, security=base + "-security", origin="the test"),
            progress=self.progress, client=self.client, keys=self.keys,
            patience=Patience(attempts=2, first_wait=0.01), **more,
        )  # fmt: skip

    def lock(self) -> Lock:
        lock = self.solve(recipe())
        write_lock(lock, self.path)
        return lock

    def solve(self, wanted: SimpleNamespace, previous: Lock | None = None) -> Lock:
        source = self.source()
        archive = open_archive(source, wanted.build.suite, wanted.build.architecture)
        return lock_from(wanted, archive, PythonSolver(), source.progress, previous=previous)

    def ensure(self, *, heal: bool = True, kernel: str = "full", **more) -> Lock:
        return ensure_packages(
            self.path, self.source(**more), select=lambda lock: for_build(lock, kernel),
            heal_into=self.healed if heal else None,
        )  # fmt: skip


def recipe(
    *extra: str,
    waive: tuple[str, ...] = ("initramfs-tools",),
    images: bool = True,
    baked: tuple[str, ...] = ("busybox-static",),
):
    def asked(*names: str) -> tuple[PackageRequest, ...]:
        return tuple(PackageRequest(name=name, place=PLACE) for name in names)

    waivers = tuple(Waiver(package="linux-image-*", depends=name, reason="a test", place=PLACE) for name in waive)
    demo = SimpleNamespace(name="demo", packages=asked(*baked), place=PLACE)
    build = SimpleNamespace(
        suite="trixie", architecture="amd64", kernel="full", waive=waivers, images=(demo,) if images else (),
        packages=asked("openssh-server", "kmod", "crun", *extra),
    )  # fmt: skip
    return SimpleNamespace(name="small", given="small", sets=(), path=Path("recipes/small.yaml"), build=build)


def moves(scene: Scene, *new: FakeDeb, drop: tuple[str, ...] = (), **more) -> None:
    scene.mirror.publish(scene.key, [deb for deb in moved_on(*new) if deb.name not in drop], **more)


def versions(lock: Lock) -> dict[str, str]:
    return {package.name: package.version for package in lock.packages}
