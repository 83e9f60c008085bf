"""Whom and what a lock believes: signatures, dates, sums. Real signatures by keys that the tests make."""

import dataclasses
import hashlib
import lzma
import time
from collections.abc import Iterator
from pathlib import Path

import pysequoia
import pytest
from fakes import mirror as fake
from fakes.mirror import FakeDeb, FakeMirror, make_key, running_mirror, sign

from builder.cli.lock import archive_of
from builder.errors import BerthError, FetchError, OfflineError, RecipeError, VerificationError
from builder.fetch.download import Patience
from builder.fetch.http import Client
from builder.fetch.mirrors import Mirrors
from builder.fetch.store import Store
from builder.lock.archive import KEYS, Archive, Source, open_archive
from builder.lock.model import LockedRelease
from builder.lock.release import load_keys, verify_release
from builder.progress import SilentProgress
from builder.recipe import load
from builder.recipe.parse import SHIPPED

NOW = 1_795_500_000
TEXT = "Origin: Debian\nCodename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n " + "a" * 64 + " 5 main/x\n"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[pysequoia.Tsk, Path]:
    folder = tmp_path_factory.mktemp("keys")
    return make_key(folder), folder


def check(
    data: bytes, folder: Path, *, previous: tuple[LockedRelease, ...] = (), now: float = NOW, suite: str = "trixie"
):
    return verify_release(data, suite=suite, archive="main", keys=load_keys(folder), previous=previous, now=now)


def test_a_good_one(keys) -> None:
    key, folder = keys
    release = check(sign(key, TEXT), folder)
    assert release.locked.signers == (str(key.extract_certificate().fingerprint).upper(),)
    assert release.locked.date == 1_795_252_544
    assert release.locked.valid_until is None
    assert release.files["main/x"].size == 5
    assert not release.by_hash


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: TEXT.encode(), "not signed"),
        (lambda data: b"<html>log in</html>", "web page"),
        (lambda data: b"", "not signed"),
        (lambda data: data.replace(b"main/x", b"main/y"), "not good"),
        (lambda data: data[: len(data) // 2], "not good"),
        (lambda data: data.replace(b"-----BEGIN PGP SIGNATURE", b"-----BEGIN PGP SIGNATUR"), "not good"),
        (lambda data: b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + b"\xff" * 100, "not good"),
    ],
)
def test_altered_or_unsigned(keys, change, words: str) -> None:
    key, folder = keys
    with pytest.raises(VerificationError) as caught:
        check(change(sign(key, TEXT)), folder)
    assert words in caught.value.message
    assert "\n" not in caught.value.message  # the library's text carries a stack trace


def test_text_around_the_signed_part_is_not_read(keys) -> None:
    key, folder = keys
    data = sign(key, TEXT) + b"SHA256:\n " + b"b" * 64 + b" 5 main/evil\n"
    try:
        release = check(data, folder)
    except VerificationError:
        return
    assert "main/evil" not in release.files


def test_signed_by_another_key(keys, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other")
    with pytest.raises(VerificationError) as caught:
        check(sign(other, TEXT), keys[1])
    assert "builder/keys" in (caught.value.hint or "") + caught.value.message


def test_signed_by_a_key_that_has_expired(tmp_path: Path) -> None:
    key = pysequoia.Tsk.generate("short <short@example.org>", validity_seconds=3600)
    (tmp_path / "short.asc").write_bytes(bytes(key.extract_certificate()))
    make_key(tmp_path, "other")
    data = sign(key, TEXT)
    later = time.time() + 7200
    with pytest.raises(VerificationError):
        verify_release(data, suite="trixie", archive="main", keys=load_keys(tmp_path, now=later), now=later)


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BerthError, match="no key"):
        load_keys(tmp_path)
    (tmp_path / "x.asc").write_text("no key at all")
    with pytest.raises(BerthError, match=r"x\.asc"):
        load_keys(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Codename: trixie", "Codename: sid", "Release file of sid"),
        ("Date: Sat, 21 Nov 2026", "Valid-Until: Sun, 22 Nov 2026 09:00:00 UTC\nDate: Sat, 21 Nov 2026", "expired"),
        ("21 Nov 2026", "28 Nov 2026", "in the future"),
        ("Date: Sat, 21 Nov 2026 09:15:44 UTC", "Date: yesterday", "no readable Date"),
        ("Date: Sat, 21 Nov 2026 09:15:44 UTC\n", "", "no readable Date"),
        (" 5 main/x", " five main/x", "names no file"),
    ],
)
def test_what_is_signed_may_be_wrong_too(keys, old: str, new: str, words: str) -> None:
    with pytest.raises(VerificationError) as caught:
        check(sign(keys[0], TEXT.replace(old, new)), keys[1])
    assert words in caught.value.message


def test_older_than_the_locks(keys) -> None:
    release = check(sign(keys[0], TEXT), keys[1]).locked
    newer = dataclasses.replace(release, date=release.date + 1)
    check(sign(keys[0], TEXT), keys[1], previous=(release, dataclasses.replace(newer, suite="trixie-updates")))
    with pytest.raises(VerificationError, match="older than the lock's"):
        check(sign(keys[0], TEXT), keys[1], previous=(newer,))


def test_the_projects_own_keys() -> None:
    names = {str(key.user_ids[0]) for key in load_keys(KEYS, now=NOW)}
    assert len(names) == 3
    for words in (
        "Archive Automatic Signing Key (13/trixie)",
        "Security Archive Automatic",
        "Stable Release Key (13/trixie)",
    ):
        assert any(words in name for name in names)


# The whole way, from a server.


@pytest.fixture
def mirror() -> Iterator[FakeMirror]:
    with running_mirror() as running:
        yield running


def source_of(mirror: FakeMirror, folder: Path, store: Store, client: Client, **more) -> Source:
    return Source(
        store=store,
        mirrors=Mirrors(main=mirror.base, security=mirror.base + "-security", origin="the test"),
        progress=SilentProgress(),
        client=client,
        keys=folder,
        patience=Patience(attempts=2, first_wait=0.01),
        **more,
    )


def opened(mirror: FakeMirror, folder: Path, store: Store, **more) -> Archive:
    with Client() as client:
        return open_archive(source_of(mirror, folder, store, client, **more), "trixie", "amd64")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


INDEX = "trixie/main/binary-amd64/"


@pytest.mark.parametrize(("extended", "place"), [("", ":4:10"), ("extends: minimal\n", ":5:10")])
def test_a_suite_that_the_mirror_has_not_is_told_where_the_recipe_names_it(
    mirror: FakeMirror, keys, tmp_path: Path, extended: str, place: str
) -> None:
    mirror.publish(keys[0], [FakeDeb("a")])
    store = Store(tmp_path / "store")
    path = tmp_path / "mine.yaml"
    path.write_text(f"{extended}build:\n  architecture: amd64\n  packages: [busybox]\n  suite: trixi\n")
    with Client() as client, pytest.raises(RecipeError, match="the mirror has no suite trixi") as caught:
        archive_of(load(path, recipes=SHIPPED), source_of(mirror, keys[1], store, client), ())
    assert str(caught.value.place) == f"{path}{place}"
    assert "is trixi the suite that you mean?" in str(caught.value.hint)


def test_an_archive_is_read_once(mirror: FakeMirror, keys, store: Store) -> None:
    mirror.publish(keys[0], [FakeDeb("a"), FakeDeb("b", "2.0-1")], security=[FakeDeb("a", "1.0-1+deb13u1")])
    archive = opened(mirror, keys[1], store)
    newest = archive.universe.candidate("a")
    assert newest is not None
    assert (newest.version, newest.suite) == ("1.0-1+deb13u1", "trixie-security")
    assert [(release.suite, release.archive) for release in archive.releases] == [
        ("trixie", "main"),
        ("trixie-updates", "main"),
        ("trixie-security", "security"),
    ]
    mirror.asked.clear()
    opened(mirror, keys[1], store)
    assert sorted(path.rpartition("/")[2] for path, _ in mirror.asked) == ["InRelease"] * 3


@pytest.mark.parametrize(
    ("ending", "behaviour", "words"),
    [
        ("trixie/InRelease", fake.status(404), "404"),
        ("trixie/InRelease", fake.status(500), "500"),
        ("trixie/InRelease", fake.web_page, "web page"),
        ("trixie/InRelease", fake.never_ends, "larger than"),
        ("trixie/InRelease", fake.redirect("file:///etc/passwd"), "only http and https"),
        ("security/InRelease", fake.breaks_after(10), "in the middle"),
        ("", fake.status(403), "403"),
    ],
)
def test_a_release_file_that_cannot_be_had(  # noqa: PLR0917 - fixtures and parameters
    mirror: FakeMirror, keys, store: Store, ending: str, behaviour: fake.Behaviour, words: str
) -> None:
    mirror.publish(keys[0], [FakeDeb("a")])
    mirror.misbehave(ending, behaviour)
    with pytest.raises((FetchError, VerificationError)) as caught:
        opened(mirror, keys[1], store)
    assert words in caught.value.message
    assert caught.value.hint


def break_index(mirror: FakeMirror, change) -> None:
    for path in [path for path in mirror.files if f"dists/{INDEX}" in path]:
        mirror.files[path] = change(mirror.files[path])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-5], "bytes where"),
        (lambda data: data + b"more", "at most"),
        (lambda data: data[:-1] + b"?", "does not have the SHA-256"),
        (lambda data: b"<html>", "bytes where"),
    ],
)
def test_an_index_that_is_not_what_its_release_says(mirror: FakeMirror, keys, store: Store, change, words: str) -> None:
    mirror.publish(keys[0], [FakeDeb("a")])
    break_index(mirror, change)
    with pytest.raises((FetchError, VerificationError)) as caught:
        opened(mirror, keys[1], store)
    assert words in caught.value.message


def test_an_index_that_unpacks_to_more_than_it_says(mirror: FakeMirror, keys, store: Store) -> None:
    bomb = lzma.compress(b"\n" * 50_000_000)
    mirror.publish(keys[0], [FakeDeb("a")])
    name = hashlib.sha256(bomb).hexdigest()
    text = (
        f"Codename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n {'a' * 64} 1000 main/binary-amd64/Packages\n"
        f" {name} {len(bomb)} main/binary-amd64/Packages.xz\n"
    )
    mirror.files["/debian/dists/trixie/InRelease"] = sign(keys[0], text)
    mirror.files["/debian/dists/trixie/main/binary-amd64/Packages.xz"] = bomb
    with pytest.raises(VerificationError, match="larger than the 1000 bytes"):
        opened(mirror, keys[1], store)


def test_a_mirror_in_the_middle_of_an_update(mirror: FakeMirror, keys, store: Store) -> None:
    """The plain name is the next version's already; by hash the right one is still there."""
    mirror.publish(keys[0], [FakeDeb("a")])
    mirror.files[f"/debian/dists/{INDEX}Packages.xz"] = b"the next version's"
    assert opened(mirror, keys[1], store).universe.candidate("a")


def test_offline_is_said(mirror: FakeMirror, keys, store: Store) -> None:
    with pytest.raises(OfflineError):
        opened(mirror, keys[1], store, offline=True)
