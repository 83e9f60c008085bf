"""From a lock to a tree."""

import dataclasses

import pytest
from fakes import debs
from fakes.debs import file, link

from builder.errors import BuildError
from builder.fetch.store import Store
from builder.progress import SilentProgress
from builder.recipe.model import Exclusion
from builder.rootfs.unpack import build_tree


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def kernel(store, version, kind):
    files = (file(f"./boot/vmlinuz-{version}", b"k"), file(f"./lib/modules/{version}/modules.order"))
    name = f"linux-image-{version}"
    return debs.locked(store, name, debs.deb(name, *files), parts=(f"kernel-{kind}",))


def test_one_kernel_gets_in_and_nothing_that_only_an_image_needs(store):
    demo = debs.locked(store, "demo", debs.deb("demo", file("./usr/bin/demo")), parts=("image-demo",))
    both = debs.locked(store, "both", debs.deb("both", file("./usr/bin/both")), parts=("image-demo", "root"))
    lock = debs.lock(kernel(store, "6.1-cloud", "cloud"), kernel(store, "6.1", "full"), demo, both)
    for kind, version in (("cloud", "6.1-cloud"), ("full", "6.1")):
        found = build_tree(lock, debs.recipe(kernel=kind), store, SilentProgress())
        assert found.kernel_version == version
        paths = found.tree.by_path()
        assert [path for path in paths if path.startswith("boot/")] == [f"boot/vmlinuz-{version}"]
        assert "usr/bin/both" in paths
        assert "usr/bin/demo" not in paths


def test_the_whole_tree_is_remembered_beside_what_is_left(store):
    package = debs.locked(store, "a", debs.deb("a", file("./usr/share/doc/a/x", b"12345"), file("./usr/bin/a", b"1")))
    recipe = debs.recipe("a", exclude=(Exclusion(pattern="/usr/share/doc/**", reason="why"),))
    found = build_tree(debs.lock(package, kernel(store, "6.1-cloud-amd64", "cloud")), recipe, store, SilentProgress())
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
    lock = debs.lock(kernel(store, "6.1-amd64", "full"), kernel(store, "6.2-amd64", "full"))
    with pytest.raises(BuildError, match=r"more than one kernel: 6\.1-amd64, 6\.2-amd64"):
        build_tree(lock, debs.recipe(kernel="full"), store, SilentProgress())


def test_links_of_packages_stay_as_they_are(store):
    package = debs.locked(store, "a", debs.deb("a", link("./etc/x", "/run/x")))
    tree = build_tree(debs.lock(package), debs.recipe("a"), store, SilentProgress()).tree
    assert tree.by_path()["etc/x"].target == "/run/x"
