"""What a mirror has dropped comes from an archive of snapshots, where one is named; two real servers play them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pysequoia
import pytest
from fakes import mirror as fake
from fakes.mirror import FakeDeb, make_key, running_mirror
from fakes.snapshots import FakeSnapshots, running_snapshots
from fakes.stalelock import BEFORE, Notes, Scene, moves, versions

from builder.errors import FetchError, UsageError, VerificationError
from builder.fetch.http import Client
from builder.fetch.packages import FilesGone
from builder.fetch.snapshots import DAY, Snapshots, find_snapshots
from builder.lock.file import read_lock
from builder.lock.select import for_build

SIGNED = time.time() - 3 * DAY
GONE = "crun_1.21-1_amd64.deb"
NEWER = FakeDeb("crun", "1.22-1", depends="libc6")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[pysequoia.Tsk, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder), folder


@pytest.fixture
def archive() -> Iterator[FakeSnapshots]:
    with running_snapshots() as running:
        yield running


@pytest.fixture
def scene(tmp_path: Path, key, archive: FakeSnapshots) -> Iterator[Scene]:
    """A lock, an archive that copied the mirror hours after its Release file was signed, and a mirror without crun."""
    with running_mirror() as mirror, Client() as client:
        mirror.publish(key[0], BEFORE, date=SIGNED)
        made = Scene(mirror, key[0], key[1], tmp_path, Notes(), client)
        made.lock()
        archive.keep(mirror, SIGNED + DAY / 4)
        moves(made, NEWER)
        yield made


def test_what_is_gone_comes_from_the_archive_and_the_lock_stays(scene: Scene, archive: FakeSnapshots) -> None:
    lock = scene.ensure(heal=False, snapshots=archive.named)
    assert lock == read_lock(scene.path)
    for package in for_build(lock, "full").packages:
        assert scene.store.verify(package.sha256)
    assert [GONE in path for path, _ in archive.server.asked] == [True] * len(archive.server.asked)
    assert scene.mirror.times_asked(GONE) == 1
    assert any("1 of these" in note and archive.named.base in note for note in scene.progress.said)


def test_the_copy_of_the_releases_date_is_asked_first(scene: Scene, archive: FakeSnapshots, key) -> None:
    with running_mirror() as before:
        before.publish(key[0], BEFORE, date=SIGNED - DAY)
        archive.keep(before, SIGNED - DAY / 2)
    scene.ensure(heal=False, snapshots=archive.named)
    asked, answered = (path for path, _ in archive.server.asked)
    instant = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(int(SIGNED)))
    assert asked.endswith(f"/archive/debian/{instant}/pool/main/c/crun/{GONE}")
    assert answered == archive.leads_to(asked)


def test_security_has_an_archive_of_its_own() -> None:
    urls = Snapshots(base="http://a.example").urls("security", [1795252544], "pool/updates/main/c/c/c_1%3a2+b~1.deb")
    assert urls == (
        "http://a.example/archive/debian-security/20261121T091544Z/pool/updates/main/c/c/c_1%253a2+b~1.deb",
        "http://a.example/archive/debian-security/20261122T091544Z/pool/updates/main/c/c/c_1%253a2+b~1.deb",
    )


def test_healing_comes_after_the_archive_even_for_a_lock_that_was_healed(scene: Scene, archive: FakeSnapshots) -> None:
    healed = scene.ensure()
    assert versions(healed)["crun"] == "1.22-1"
    asked = len(scene.mirror.asked)
    assert scene.ensure(snapshots=archive.named) == read_lock(scene.path)
    assert [path for path, _ in scene.mirror.asked[asked:]] == [f"/debian/pool/main/c/crun/{GONE}"]
    # What neither has any more is healed as ever, with what was healed before.
    archive.server.files.clear()
    scene.store.remove(read_lock(scene.path).by_name()["crun"].sha256)
    assert scene.ensure(snapshots=archive.named) == healed


def test_it_is_never_asked_for_what_the_mirror_has_nor_for_indexes(scene: Scene, archive: FakeSnapshots) -> None:
    moves(scene)
    scene.mirror.files[f"/debian/pool/main/c/crun/{GONE}"] = FakeDeb("crun", "1.21-1").data
    scene.ensure(heal=False, snapshots=archive.named)
    assert archive.server.asked == []


def test_an_archive_is_not_asked_where_the_mirror_lies_or_fails(scene: Scene, archive: FakeSnapshots) -> None:
    for behaviour, kind in ((fake.status(500), FetchError), (_altered, VerificationError)):
        scene.mirror.misbehave(GONE, behaviour)
        with pytest.raises(kind):
            scene.ensure(snapshots=archive.named)
    assert archive.server.asked == []


def test_gone_from_both_places(scene: Scene, archive: FakeSnapshots) -> None:
    archive.server.files.clear()
    with pytest.raises(FilesGone) as caught:
        scene.ensure(heal=False, snapshots=archive.named)
    assert caught.value.message.startswith("neither the mirror nor the archive of snapshots at ")
    for words in (archive.named.base, "What the mirror has instead", "crun 1.21-1 → 1.22-1"):
        assert words in caught.value.message
    assert "--snapshots" not in (caught.value.hint or "")
    assert all(GONE in path for path, _ in archive.server.asked)  # though indexes were read meanwhile
    assert versions(scene.ensure(snapshots=archive.named))["crun"] == "1.22-1"


def test_who_named_none_is_told_of_this_way_out(scene: Scene) -> None:
    with pytest.raises(FilesGone) as caught:
        scene.ensure(heal=False)
    assert "--snapshots URL or BERTH_SNAPSHOTS" in (caught.value.hint or "")


def _altered(handler, body: bytes) -> None:
    fake.answer(handler, 200, FakeDeb("crun", "1.21-1").data[:-1] + b"?")


@pytest.mark.parametrize(
    ("behaviour", "kind", "words"),
    [
        (_altered, VerificationError, "SHA-256"),
        (fake.web_page, FetchError, "web page"),
        (fake.status(503), FetchError, "503"),
        (fake.never_ends, FetchError, "larger than"),
    ],
)
def test_an_archive_that_lies_or_fails(scene: Scene, archive: FakeSnapshots, behaviour, kind, words) -> None:
    """That is told with both places, and nothing else is taken instead: the user asked for the very file."""
    archive.server.misbehave(GONE, behaviour)
    with pytest.raises(kind) as caught:
        scene.ensure(heal=True, snapshots=archive.named)
    for part in (words, f"{scene.mirror.base}/pool/main/c/crun/{GONE}", archive.named.base.replace(" ", "%20")):
        assert part.replace("%20", " ") in caught.value.message.replace("%20", " ")
    assert not scene.store.has(read_lock(scene.path).by_name()["crun"].sha256)
    assert not scene.healed.exists()


def test_an_archive_that_nobody_serves(scene: Scene, archive: FakeSnapshots) -> None:
    with running_mirror() as closed:
        base = closed.base
    with pytest.raises(FetchError) as caught:
        scene.ensure(snapshots=Snapshots(base=base))
    assert base in caught.value.message
    assert scene.mirror.base in caught.value.message


def test_who_names_an_archive() -> None:
    assert find_snapshots(environment={}) is None
    assert find_snapshots(environment={"BERTH_SNAPSHOTS": ""}) is None
    assert find_snapshots(environment={"BERTH_SNAPSHOTS": "http://a.example/"}) == Snapshots(base="http://a.example")
    assert find_snapshots("https://b.example/x", environment={"BERTH_SNAPSHOTS": "http://a.example"}) == Snapshots(
        base="https://b.example/x"
    )
    for given, variables in (("a.example", {}), ("", {}), (None, {"BERTH_SNAPSHOTS": "file:///x"})):
        with pytest.raises(UsageError, match="not the address of an archive of snapshots") as caught:
            find_snapshots(given, environment=variables)
        assert "--snapshots https" in (caught.value.hint or "")
