"""From a lock to a tree."""

import dataclasses

import pytest
from fakes import debs
from fakes.debs import PLACE, file, link

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.progress import SilentProgress
from builder.recipe.model import BakedImage, Exclusion, PackageRequest, Waiver
from builder.rootfs.selection import select_packages
from builder.rootfs.unpack import build_tree


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def kernel(store, version):
    return debs.locked(
        store,
        f"linux-image-{version}",
        debs.deb(
            f"linux-image-{version}",
            file(f"./boot/vmlinuz-{version}", b"k"),
            file(f"./lib/modules/{version}/modules.order"),
        ),
    )


def image(*packages):
    return BakedImage(
        name="demo",
        oci=None,
        digest=None,
        packages=tuple(PackageRequest(name=name, place=PLACE) for name in packages),
        files=(),
        entrypoint=(),
        command=(),
        environment=(),
        place=PLACE,
    )


def names(packages):
    return {package.name for package in packages}


def test_one_kernel_gets_in(store):
    lock = debs.lock(kernel(store, "6.1-cloud-amd64"), kernel(store, "6.1-amd64"))
    assert names(select_packages(lock, debs.recipe(kernel="cloud"))) == {"linux-image-6.1-cloud-amd64"}
    assert names(select_packages(lock, debs.recipe(kernel="full"))) == {"linux-image-6.1-amd64"}
    with pytest.raises(BuildError, match="no kernel of the kind `full`"):
        select_packages(debs.lock(kernel(store, "6.1-cloud-amd64")), debs.recipe(kernel="full"))


def test_what_only_an_image_needs_stays_out(store):
    def locked(name, *depends):
        return debs.locked(store, name, debs.deb(name), depends=depends)

    lock = debs.lock(
        locked("a", "shared"), locked("shared"), locked("demo", "shared", "only"), locked("only"), locked("loose")
    )
    recipe = debs.recipe("a", images=(image("demo"),))
    assert names(select_packages(lock, recipe)) == {"a", "shared", "loose"}
    assert names(select_packages(lock, debs.recipe("a", "demo", images=(image("demo"),)))) == names(lock.packages)


def test_waived_needs_of_the_root_do_not_bring_an_images_package_in(store):
    lock = debs.lock(
        debs.locked(store, "a", debs.deb("a"), depends=("demo",)),
        debs.locked(store, "demo", debs.deb("demo")),
    )
    waiver = Waiver(package="a", depends="demo", reason="why", place=PLACE)
    assert names(select_packages(lock, debs.recipe("a", images=(image("demo"),), waive=(waiver,)))) == {"a"}


def test_the_whole_tree_is_remembered_beside_what_is_left(store):
    package = debs.locked(store, "a", debs.deb("a", file("./usr/share/doc/a/x", b"12345"), file("./usr/bin/a", b"1")))
    recipe = debs.recipe("a", exclude=(Exclusion(pattern="/usr/share/doc/**", reason="why"),))
    found = build_tree(debs.lock(package, kernel(store, "6.1-cloud-amd64")), recipe, store, SilentProgress())
    assert found.kernel_version == "6.1-cloud-amd64"
    assert [(one.files, one.size) for one in found.saved] == [(1, 5)]
    assert "usr/share/doc/a/x" not in found.tree.by_path()
    there = found.find("usr/share/doc/a/x")
    assert there is not None
    assert store.read(there.sha256) == b"12345"
    assert found.find("usr/share/doc/a/y") is None


def test_a_package_of_another_version_is_refused(store):
    package = dataclasses.replace(debs.locked(store, "a", debs.deb("a")), version="2.0")
    with pytest.raises(BuildError, match=r"version 1\.0, and the lock says 2\.0"):
        build_tree(debs.lock(package), debs.recipe("a"), store, SilentProgress())


def test_a_package_that_is_not_in_the_store_is_named(store):
    package = dataclasses.replace(debs.locked(store, "a", debs.deb("a")), sha256="0" * 64)
    with pytest.raises(BuildError, match="package file of a cannot be read"):
        build_tree(debs.lock(package), debs.recipe("a"), store, SilentProgress())


def test_two_kernels_are_refused(store):
    lock = debs.lock(kernel(store, "6.1-amd64"), kernel(store, "6.2-amd64"))
    with pytest.raises(BuildError, match=r"more than one kernel: 6\.1-amd64, 6\.2-amd64"):
        build_tree(lock, debs.recipe(kernel="full"), store, SilentProgress())


def test_links_of_packages_stay_as_they_are(store):
    package = debs.locked(store, "a", debs.deb("a", link("./etc/x", "/run/x")))
    tree = build_tree(debs.lock(package), debs.recipe("a"), store, SilentProgress()).tree
    assert tree.by_path()["etc/x"].target == "/run/x"
