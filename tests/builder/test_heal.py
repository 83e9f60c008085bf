"""A lock outlives the mirror: played with a real server whose archive moves on, signed by the test's own key."""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pysequoia
import pytest
from fakes import mirror as fake
from fakes.mirror import FakeDeb, make_key, running_mirror
from fakes.stalelock import BEFORE, CLOUD, KERNEL, PLACE, Notes, Scene, kernel, moved_on, moves, recipe, versions

from builder.errors import FetchError, LockError, OfflineError, VerificationError
from builder.fetch.http import Client
from builder.fetch.packages import FilesGone, fetch_lock
from builder.lock.closure import problems
from builder.lock.file import read_lock, write_lock
from builder.lock.model import Lock
from builder.lock.recipe import check_fits
from builder.lock.select import for_build, root_packages
from builder.recipe.model import Waiver

pytestmark = pytest.mark.long  # real servers


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[pysequoia.Tsk, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder), folder


@pytest.fixture
def scene(tmp_path: Path, key) -> Iterator[Scene]:
    with running_mirror() as mirror, Client() as client:
        mirror.publish(key[0], BEFORE, date=time.time() - 86400)
        made = Scene(mirror, key[0], key[1], tmp_path, Notes(), client)
        made.lock()
        yield made


def moved(old: Lock, new: Lock) -> dict[str, tuple[str | None, str | None]]:
    before, after = versions(old), versions(new)
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }


def test_nothing_is_gone(scene: Scene) -> None:
    lock = scene.ensure()
    assert lock == read_lock(scene.path)
    assert not scene.healed.exists()
    assert scene.progress.said == []
    for package in for_build(lock, "full").packages:
        assert scene.store.has(package.sha256)
    # The kernel that is not built is not fetched.
    assert not scene.store.has(lock.by_name()["linux-image-cloud-amd64"].sha256)


def test_a_mirror_that_moved_on_without_taking_away_changes_nothing(scene: Scene) -> None:
    moves(scene, FakeDeb("libssl3t64", "3.5.5-1", depends="libc6"), keep_old_files=True)
    assert scene.ensure() == read_lock(scene.path)


def test_a_library_in_a_newer_version_is_all_that_moves(scene: Scene) -> None:
    old = read_lock(scene.path)
    text = scene.path.read_bytes()
    moves(scene, FakeDeb("libssl3t64", "3.5.5-1", depends="libc6"), FakeDeb("unrelated", "2.0-1"))
    new = scene.ensure()
    assert moved(old, new) == {"libssl3t64": ("3.5.4-1", "3.5.5-1")}
    assert scene.path.read_bytes() == text
    assert read_lock(scene.healed) == new
    assert any("libssl3t64: 3.5.4-1 → 3.5.5-1" in note and str(scene.healed) in note for note in scene.progress.said)
    assert new.epoch > old.epoch


def test_a_kernel_whose_package_has_another_name(scene: Scene) -> None:
    old = read_lock(scene.path)
    moves(scene, *kernel(119), drop=tuple(deb.name for deb in kernel(118)[2:]))
    new = scene.ensure()
    # Only what is fetched can be found to be gone: the other kernel is healed when it is built.
    assert set(moved(old, new)) == {"linux-image-amd64", KERNEL.format(118), KERNEL.format(119)}
    assert KERNEL.format(119) in {package.name for package in root_packages(new, "full")}
    both = scene.ensure(kernel="cloud")
    assert set(moved(new, both)) == {"linux-image-cloud-amd64", CLOUD.format(118), CLOUD.format(119)}
    assert both.healed_from == new.healed_from
    assert scene.ensure() == both


def test_a_library_with_a_new_dependency_and_a_kernel_and_a_tool_at_once(scene: Scene) -> None:
    old = read_lock(scene.path)
    moves(
        scene, *kernel(119), FakeDeb("libssl3t64", "3.6.0-1", depends="libc6, libjitterentropy3 | libother"),
        FakeDeb("libjitterentropy3", "3.6.3-1", depends="libc6 (>= 2.41)"), FakeDeb("crun", "1.22-1", depends="libc6"),
        FakeDeb("busybox-static", "1:1.37.0-7"), drop=tuple(deb.name for deb in kernel(118)[2:]),
    )  # fmt: skip
    new = scene.ensure()
    changed = moved(old, new)
    assert changed["libssl3t64"] == ("3.5.4-1", "3.6.0-1")
    assert changed["libjitterentropy3"] == (None, "3.6.3-1")
    assert changed["crun"] == ("1.21-1", "1.22-1")
    assert changed["busybox-static"] == ("1:1.37.0-6", "1:1.37.0-7")
    assert not {"openssh-server", "libc6", "kmod", "libcrypt1"} & set(changed)
    waive = [Waiver(package=w.package, depends=w.depends, reason="", place=PLACE) for w in new.waived]
    assert problems(root_packages(new, "full"), waive) == []


def test_a_new_version_that_wants_a_newer_one_of_what_is_still_there(scene: Scene) -> None:
    """The old libc6 can still be had, so it is pinned at first; the pin has to go."""
    old = read_lock(scene.path)
    moves(scene, FakeDeb("libc6", "2.41-13"), FakeDeb("crun", "1.22-1", depends="libc6 (>= 2.41-13)"))
    libc = next(deb for deb in BEFORE if deb.name == "libc6")
    scene.mirror.files[f"/debian/{libc.filename}"] = libc.data
    assert moved(old, scene.ensure()) == {"libc6": ("2.41-12", "2.41-13"), "crun": ("1.21-1", "1.22-1")}


def test_a_new_version_that_needs_less(scene: Scene) -> None:
    moves(scene, FakeDeb("openssh-server", "1:10.0p1-8", depends="libssl3t64"))
    new = scene.ensure()
    assert "libcrypt1" not in versions(new)


def test_a_healed_lock_is_used_again_and_heals_again(scene: Scene) -> None:
    moves(scene, FakeDeb("crun", "1.22-1", depends="libc6"))
    first = scene.ensure()
    asked = len(scene.mirror.asked)
    assert scene.ensure() == first
    assert len(scene.mirror.asked) == asked
    moves(scene, FakeDeb("crun", "1.23-1", depends="libc6"))
    for path in list((scene.store.root / "blobs").rglob("*")):
        if path.is_file():
            path.unlink()
    second = scene.ensure()
    assert versions(second)["crun"] == "1.23-1"
    assert second.healed_from == first.healed_from


def test_a_healed_lock_is_for_one_lock_only(scene: Scene) -> None:
    moves(scene, FakeDeb("crun", "1.22-1", depends="libc6"))
    scene.ensure()
    moves(scene, FakeDeb("crun", "1.23-1", depends="libc6"))
    fresh = scene.lock()
    assert scene.ensure() == fresh
    scene.healed.write_text("{ not a lock")
    assert scene.ensure() == fresh


def test_without_leave_to_heal_it_says_what_is_gone_what_there_is_instead_and_the_command(scene: Scene) -> None:
    moves(scene, FakeDeb("crun", "1.22-1"), *kernel(119), drop=tuple(deb.name for deb in kernel(118)[2:]))
    with pytest.raises(FilesGone) as caught:
        scene.ensure(heal=False)
    for words in ("crun 1.21-1 → 1.22-1", f"{KERNEL.format(118)} 6.12.118-1 → no package of this name"):
        assert words in caught.value.message
    assert "libssl3t64" not in caught.value.message
    assert f"what {scene.path} names" in caught.value.message
    assert f"berth lock {scene.path.with_suffix('.yaml')} --update" in (caught.value.hint or "")
    assert not scene.healed.exists()


def test_what_cannot_be_healed_is_explained(scene: Scene) -> None:
    moves(scene, FakeDeb("crun", "1.22-1", depends="gone"))
    with pytest.raises(LockError) as caught:
        scene.ensure()
    assert "crun" in caught.value.message
    assert "gone" in caught.value.message
    assert not scene.healed.exists()


def test_healing_verifies_as_locking_does(scene: Scene, tmp_path: Path) -> None:
    stranger = make_key(tmp_path / "stranger")
    moves(scene, FakeDeb("crun", "1.22-1", depends="libc6"))
    scene.mirror.publish(stranger, moved_on(FakeDeb("crun", "1.22-1")))
    with pytest.raises(VerificationError, match="not good"):
        scene.ensure()


def test_an_older_mirror_is_not_healed_against(scene: Scene) -> None:
    moves(scene, FakeDeb("crun", "1.20-1", depends="libc6"), date=time.time() - 3 * 86400)
    with pytest.raises(VerificationError, match="older than the lock's"):
        scene.ensure()


def test_a_mirror_that_lists_what_it_does_not_have(scene: Scene) -> None:
    scene.mirror.misbehave("crun_1.21-1_amd64.deb", fake.status(404))
    with pytest.raises(FetchError, match=r"lists .*crun.* and does not have it"):
        scene.ensure()


def test_an_address_that_is_no_mirror(scene: Scene) -> None:
    scene.mirror.files.clear()
    with pytest.raises(FetchError, match="InRelease"):
        scene.ensure()


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (fake.replaced(b"x" * 10), FetchError, "10 bytes where"),
        (fake.web_page, FetchError, "web page"),
        (fake.status(500), FetchError, "500"),
        (fake.breaks_after(5), FetchError, "crun 1.21-1"),
        (fake.never_ends, FetchError, "larger than"),
        (fake.redirect("file:///etc/passwd"), FetchError, "only http and https"),
        (lambda handler, body: fake.answer(handler, 200, body[:-1] + b"?"), VerificationError, "SHA-256"),
    ],
)
def test_a_package_that_is_not_what_the_lock_says(scene: Scene, behaviour, kind, words: str) -> None:
    scene.mirror.misbehave("crun_1.21-1_amd64.deb", behaviour)
    with pytest.raises(kind) as caught:
        scene.ensure()
    assert words in caught.value.message
    assert not scene.healed.exists()
    assert not scene.store.has(read_lock(scene.path).by_name()["crun"].sha256)
    scene.mirror.behaves.clear()
    scene.ensure()


def test_offline_names_exactly_what_is_missing(scene: Scene) -> None:
    lock = scene.ensure()
    assert scene.ensure(offline=True) == lock
    gone = lock.by_name()["crun"]
    scene.store.remove(gone.sha256)
    with pytest.raises(OfflineError) as caught:
        scene.ensure(offline=True)
    assert "1 packages" in caught.value.message
    assert f"crun 1.21-1 ({gone.size} bytes, SHA-256 {gone.sha256})" in caught.value.message
    assert "libc6" not in caught.value.message


def test_a_damaged_file_of_the_store_is_said_and_fetched_again(scene: Scene) -> None:
    package = scene.ensure().by_name()["crun"]
    path = scene.store.path(package.sha256)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    scene.ensure()
    assert any("crun 1.21-1" in note and "damaged" in note for note in scene.progress.said)
    assert scene.store.read(package.sha256)
    path.chmod(0o600)
    path.write_bytes(b"")
    with pytest.raises(OfflineError, match="crun"):
        scene.ensure(offline=True)


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(scene: Scene) -> None:
    lock = read_lock(scene.path)
    huge = dataclasses.replace(lock, packages=tuple(dataclasses.replace(p, size=10**18) for p in lock.packages))
    asked = len(scene.mirror.asked)
    with pytest.raises(FetchError, match="MB left"):
        fetch_lock(huge, scene.store, scene.source().mirrors, scene.progress, client=scene.client)
    assert len(scene.mirror.asked) == asked


def test_no_mirror_known(scene: Scene) -> None:
    with pytest.raises(FetchError) as caught:
        fetch_lock(read_lock(scene.path), scene.store, None, scene.progress)
    assert "BERTH_MIRROR" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (recipe("unrelated"), "does not have unrelated"),
        (recipe(waive=()), "`waive` changed"),
    ],
)
def test_a_lock_must_fit_its_recipe(scene: Scene, changed, words: str) -> None:
    lock = read_lock(scene.path)
    check_fits(recipe(), lock)
    check_fits(recipe(images=False), lock)
    with pytest.raises(LockError) as caught:
        check_fits(changed, lock)
    assert words in caught.value.message
    assert "berth lock small" in (caught.value.hint or "")


def test_a_package_that_a_list_no_longer_names_is_not_taken_from_the_lock(scene: Scene) -> None:
    """Neither into the root nor into a baked image; a whole image may go, or be made of files alone."""
    lock = scene.solve(recipe("unrelated", baked=("busybox-static", "crun")))
    for less, words in (
        (recipe(baked=("busybox-static", "crun")), "the recipe no longer asks for unrelated"),
        (recipe("unrelated"), "the image demo no longer asks for crun"),
    ):
        with pytest.raises(LockError, match=words) as caught:
            check_fits(less, lock)
        assert str(caught.value.place) == "recipes/small.yaml:4"
        assert "berth lock small" in (caught.value.hint or "")
    check_fits(recipe("unrelated", baked=()), lock)
    check_fits(recipe("unrelated", images=False), lock)


def test_a_lock_that_is_added_to_names_the_release_files_of_what_stays(scene: Scene) -> None:
    """Such a version is in no index of today: it is told, and an archive of snapshots is asked by its own date."""
    old = read_lock(scene.path)
    moves(scene, FakeDeb("crun", "1.22-1", depends="libc6"))
    new = scene.solve(recipe("unrelated"), previous=old)
    assert moved(old, new) == {"unrelated": (None, "1.0-1")}
    assert [release for release in new.releases if release.suite == new.by_name()["crun"].suite] == [
        next(one for one in releases if one.suite == "trixie") for releases in (new.releases, old.releases)
    ]
    (note,) = [said for said in scene.progress.said if "no longer lists" in said]
    assert "crun 1.21-1" in note
    assert "libc6" not in note
    assert "berth lock small --update" in note
    write_lock(new, scene.path)
    assert read_lock(scene.path) == new
    # Nothing stays at its version where nothing is there to stay, or nothing has moved.
    for previous in (None, dataclasses.replace(old, suite="bookworm")):
        scene.progress.said.clear()
        assert versions(scene.solve(recipe("unrelated"), previous=previous))["crun"] == "1.22-1"
        assert scene.progress.said == []
    fresh = scene.solve(recipe())
    assert len(scene.solve(recipe("unrelated"), previous=fresh).releases) == len(fresh.releases)


def test_a_conflict_that_comes_of_the_locks_own_versions_says_so(scene: Scene) -> None:
    old = read_lock(scene.path)
    moves(scene, FakeDeb("crun", "1.22-1"), FakeDeb("shim", depends="crun (>= 1.22)"), FakeDeb("bad", depends="gone"))
    with pytest.raises(LockError, match=r"there is crun 1\.21-1") as caught:
        scene.solve(recipe("shim"), previous=old)
    assert "the lock, which holds crun at 1.21-1 (the mirror has 1.22-1)" in caught.value.message
    assert (caught.value.hint or "").endswith("berth lock small --update")
    assert caught.value.place == PLACE
    assert versions(scene.solve(recipe("shim")))["crun"] == "1.22-1"
    with pytest.raises(LockError, match="gone") as caught:
        scene.solve(recipe("bad"), previous=old)
    assert "--update" not in (caught.value.hint or "")


def test_a_waiver_without_work_is_told(scene: Scene) -> None:
    scene.solve(recipe(waive=("initramfs-tools", "dracut")))
    assert ["dracut" in note for note in scene.progress.said] == [True]
