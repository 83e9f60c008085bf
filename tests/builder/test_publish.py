"""Publishing, seen by a machine's own updater: whatever happens to the publisher, it sees a whole release."""

from __future__ import annotations

import datetime
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.bundles import bundle, numbered
from fakes.published import Published
from fakes.repositories import CLASS, CutError, MemoryFiles, Reader, keys, now, publisher

from builder.artifact.unbundle import Bundle, read_bundle
from builder.errors import InputError, RepositoryError
from builder.repository import rotation
from builder.repository.folder import Folder, locked
from builder.repository.publish import Publisher
from builder.repository.state import read_state
from init.formats import offer
from init.updater.errors import RefusedError

RELEASES = {number: numbered(number) for number in (1, 2, 3)}
CLONE = Path(__file__).resolve().parents[2]
FALLING = CLONE / "tests/fakes/falling.py"
DAY = datetime.timedelta(days=1)


class Desk:
    """A publisher's desk: bundles, keys, a repository in memory, and machines that read it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = keys(folder / "keys")
        self.files = MemoryFiles()
        self.root = (self.keys / "root.json").read_bytes()
        self.readers = 0

    def bundle(self, number: int, made: Published | None = None) -> Bundle:
        return read_bundle(bundle(self.folder / "bundles", made or RELEASES[number]))

    def publish(self, number: int, channel: str = "stable", **how):
        return self.publisher(**how).publish(self.bundle(number), channel)

    def publisher(self, *, at: datetime.datetime | None = None, **how) -> Publisher:
        self.files.now = (at or now()).timestamp()
        return publisher(self.files, self.keys, at=at, **how)

    def reader(self, root: bytes | None = None) -> Reader:
        """A machine that was never here before."""
        self.readers += 1
        return Reader(files=self.files, root=root or self.root, kept=self.folder / f"kept-{self.readers}")

    def sees(self, number: int, reader: Reader | None = None) -> None:
        reader = reader or self.reader()
        one = reader.look()
        assert one.version == f"v{number}"
        assert reader.fetch(one) == (RELEASES[number].boot, RELEASES[number].root)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_release_is_published_and_a_machine_takes_it(desk: Desk) -> None:
    outcome = desk.publish(1)
    assert (outcome.changed, [one.sequence for one in outcome.offers]) == (True, [1])
    desk.sees(1)


def test_what_a_release_before_has_is_not_stored_again(desk: Desk) -> None:
    desk.publish(1)
    stored = desk.publish(2).stored
    assert stored.new < stored.image // 4
    desk.sees(2)


def test_the_same_bundle_again_changes_nothing_and_says_what_expires(desk: Desk) -> None:
    began = now()
    desk.publish(1, at=began)
    before = dict(desk.files.files)
    outcome = desk.publish(1, at=began + DAY)
    assert (outcome.changed, outcome.notes) == (False, ())
    assert "timestamp expires in 5 days" in desk.publish(1, at=began + 25 * DAY).notes[0]
    assert "timestamp has expired" in desk.publish(1, at=began + 31 * DAY).notes[0]
    assert desk.files.files == before


def changes_of(desk: Desk, number: int) -> Iterator[MemoryFiles]:
    """Publish again and again, cut off one step later each time; yield what is there then."""
    before = desk.files
    for last in range(1, 10_000):
        desk.files = before.copy()
        desk.files.last = last
        try:
            desk.publish(number, keep=1, at=now() + 3 * DAY)
        except CutError:
            yield desk.files
        else:
            assert last > 8
            return


def test_a_publisher_that_is_cut_off_anywhere_leaves_the_old_release_or_the_new_one(desk: Desk) -> None:
    """And the next publisher arrives. Old files are swept in the same run: three days went by."""
    desk.publish(1)
    desk.publish(3)
    known = desk.reader()
    known.look()
    seen = set()
    for files in changes_of(desk, 2):
        files.last = 0
        one = desk.reader().look()
        number = int(one.version[1:])
        desk.sees(number)
        seen.add(number)
        desk.publish(2, at=now() + 3 * DAY)
        desk.sees(2)
    assert seen == {2, 3}


def test_a_reader_at_any_instant_of_publishing_sees_one_whole_release(desk: Desk) -> None:
    """It read the timestamp before, or it reads it now: what either leads to is there."""
    desk.publish(1)
    desk.publish(3)
    kept = desk.reader()
    old = kept.look()

    def look() -> None:
        assert kept.fetch(old) == (RELEASES[3].boot, RELEASES[3].root)
        desk.sees(int(desk.reader().look().version[1:]))

    desk.files.seen = look
    desk.publish(2, keep=1)
    assert desk.reader().look().version == "v2"


@pytest.mark.parametrize(
    "roles", [("timestamp",), ("snapshot", "targets"), ("root",), ("root", "timestamp", "targets")]
)
def test_a_reader_at_any_instant_of_a_rotation_trusts_what_it_finds(desk: Desk, roles: tuple[str, ...]) -> None:
    desk.publish(1)
    before = desk.reader()
    before.look()
    for _ in range(2):  # two roots at once
        rotation.rotate(desk.keys, roles, now=now(), passphrase=lambda _: b"")

    def look() -> None:
        desk.sees(1)
        desk.sees(1, before)

    desk.files.seen = look
    desk.publisher().refresh()
    assert "metadata/3.root.json" in desk.files.files
    desk.files.seen = lambda: None
    desk.publish(2)
    desk.sees(2)
    desk.sees(2, before)
    desk.sees(2, desk.reader((desk.keys / "root.json").read_bytes()))


def test_a_release_goes_from_channel_to_channel_under_its_sequence_without_a_byte(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2, "beta")
    stored = {path for path in desk.files.files if path.startswith(("packs/", "indexes/"))}
    assert desk.reader().look().version == "v1"
    desk.publisher().promote(CLASS, 2, "stable")
    assert (desk.reader().look().sequence, desk.reader().look(channel="beta").sequence) == (2, 2)
    desk.sees(2)
    assert {path for path in desk.files.files if path.startswith(("packs/", "indexes/"))} == stored
    assert not desk.publisher().promote(CLASS, 2, "stable").changed


def test_a_bundle_that_is_on_another_channel_is_promoted(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2, "beta")
    assert [one.sequence for one in desk.publish(2).offers] == [2]
    assert desk.reader().look().sequence == 2


def test_an_older_release_is_not_promoted_over_a_newer_one(desk: Desk) -> None:
    desk.publish(1, "beta")
    desk.publish(2)
    with pytest.raises(RepositoryError, match="never go back"):
        desk.publisher().promote(CLASS, 1, "stable")
    with pytest.raises(InputError, match="there is no release"):
        desk.publisher().promote(CLASS, 9, "stable")


def test_an_older_bundle_is_a_newer_release_and_it_is_said(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2)
    outcome = desk.publish(1)
    assert [one.sequence for one in outcome.offers] == [3]
    assert any("same slot as release 1" in note for note in outcome.notes)
    desk.sees(1)


def test_a_withdrawn_release_is_offered_no_more_and_its_sequence_is_not_given_again(desk: Desk) -> None:
    desk.publish(1)
    desk.publish(2)
    desk.publisher().withdraw(CLASS, 2)
    desk.sees(1)
    assert [one.sequence for one in desk.publish(3).offers] == [3]
    for sequence in (1, 3):
        desk.publisher().withdraw(CLASS, sequence)
    with pytest.raises(RefusedError, match="no release"):
        desk.reader().look()
    assert [one.sequence for one in desk.publish(1).offers] == [4]


def test_old_releases_go_when_so_many_are_kept_and_their_files_a_day_later(desk: Desk) -> None:
    for number in (1, 2, 3):
        desk.publish(number, keep=2)
    state = read_state(desk.files, desk.publisher().private.roots)
    assert sorted(one.sequence for one in state.releases().values()) == [2, 3]
    first = offer.release_target(CLASS, "stable", 1).removesuffix("1.json")
    assert len([path for path in desk.files.files if path.startswith(f"targets/{first}")]) == 3
    later = now() + 2 * DAY
    swept = desk.publisher(at=later).refresh().swept
    assert swept.files > 3
    assert len([path for path in desk.files.files if path.startswith(f"targets/{first}")]) == 2
    desk.sees(3)


def test_what_is_not_the_repositorys_is_never_swept(desk: Desk) -> None:
    strange = {"metadata/notes.txt": b"x", "packs/README": b"x", "index.html": b"x", "targets/a/b.json": b"x"}
    desk.files.files.update(strange)
    desk.publish(1)
    desk.publish(2, keep=1, at=now() + 5 * DAY)
    assert strange.items() <= desk.files.files.items()


def test_lost_packs_are_stored_again_by_the_same_bundle(desk: Desk) -> None:
    desk.publish(1)
    lost = [path for path in desk.files.files if path.startswith("packs/")][:2]
    for path in lost:
        del desk.files.files[path]
    outcome = desk.publish(1)
    assert outcome.changed
    assert [one.sequence for one in outcome.offers] == [1]
    desk.sees(1)


def test_only_what_is_due_is_signed_again(desk: Desk) -> None:
    desk.publish(1)
    held = set(desk.files.files)
    desk.publisher(at=now() + DAY).refresh()
    assert set(desk.files.files) == held  # the timestamp alone
    desk.publisher(at=now() + 50 * DAY).refresh()
    new = {path.partition(".")[2] for path in set(desk.files.files) - held}
    assert new == {"snapshot.json"}


def test_who_renews_from_cron_needs_no_key_that_is_kept_elsewhere(desk: Desk) -> None:
    desk.publish(1)
    (desk.keys / "targets.pem").rename(desk.folder / "away.pem")
    outcome = desk.publisher(at=now() + 200 * DAY).refresh()
    assert any("targets expires in" in note for note in outcome.notes)


def test_a_repository_that_was_lost_is_newer_than_its_like(desk: Desk) -> None:
    """Machines remember versions; whoever publishes into an empty folder has forgotten them."""
    desk.publish(1)
    desk.publish(2)
    machine = desk.reader()
    machine.look()
    desk.files.files.clear()
    later = now() + DAY
    made = desk.publisher(at=later).publish(desk.bundle(3), "stable", sequence=7)
    assert [one.sequence for one in made.offers] == [7]
    assert machine.look().sequence == 7
    with pytest.raises(InputError, match="at 7 already"):
        desk.publisher().publish(desk.bundle(1), "stable", sequence=7)


def test_another_publishers_repository_is_left_alone(desk: Desk, tmp_path: Path) -> None:
    desk.publish(1)
    before = dict(desk.files.files)
    stranger = keys(tmp_path / "stranger")
    with pytest.raises(RepositoryError, match="other keys"):
        publisher(desk.files, stranger).publish(desk.bundle(2), "stable")
    assert desk.files.files == before


def test_under_an_expired_root_nothing_is_signed(desk: Desk) -> None:
    desk.publish(1)
    before = dict(desk.files.files)
    with pytest.raises(RepositoryError, match="the root expired"):
        desk.publish(2, at=now() + 800 * DAY)
    changed = {path for path in desk.files.files if desk.files.files[path] != before.get(path)}
    assert not any(path.startswith("metadata/") for path in changed)
    rotation.rotate(desk.keys, (), now=now() + 800 * DAY, passphrase=lambda _: b"")
    assert desk.publish(2, at=now() + 800 * DAY).changed


def test_two_publishers_do_not_meet(tmp_path: Path) -> None:
    with locked(tmp_path / "www"), pytest.raises(RepositoryError, match="another `berth publish`"):  # noqa: SIM117
        with locked(tmp_path / "www"):
            pass
    with locked(tmp_path / "www") as files:
        files.write("packs/00/x", b"x")
    (tmp_path / "www/packs/00/.y.part").write_bytes(b"of a killed publisher")
    with locked(tmp_path / "www") as files:
        assert files.names("packs") == ["packs/00/x"]


def test_a_folder_is_a_repository(desk: Desk, tmp_path: Path) -> None:
    with locked(tmp_path / "www") as files:
        publisher(files, desk.keys).publish(desk.bundle(1), "stable")
    files = Folder(tmp_path / "www")
    desk.files.files = {path: files.read(path) or b"" for path in files.names(".") if path != ".lock"}
    desk.sees(1)


@pytest.mark.long
def test_kill_9_at_any_file_leaves_the_old_release_or_the_new_one(desk: Desk, tmp_path: Path) -> None:
    """The verb itself, in a process that ends in the middle of a real folder; at some instants of many."""
    www = tmp_path / "www"
    words = {
        number: ["publish", str(bundle(tmp_path / "bundles", RELEASES[number])), "--repo", str(www), "--keys",
                 str(desk.keys), "--quiet"] for number in (1, 2)
    }  # fmt: skip

    def berth(number: int, last: int) -> int:
        program = [sys.executable, str(FALLING), "main", str(last), str(tmp_path / "note"), *words[number]]
        done = subprocess.run(
            program,
            env={**os.environ, "PYTHONPATH": str(CLONE)},
            start_new_session=True,
            capture_output=True,
            check=False,
        )
        return done.returncode

    def sees() -> int:
        files = Folder(www)
        desk.files.files = {path: files.read(path) or b"" for path in files.names(".")}
        number = int(desk.reader().look().version[1:])
        desk.sees(number)
        return number

    assert berth(1, 0) == 0
    before = tmp_path / "before"
    shutil.copytree(www, before)
    assert berth(2, 0) == 0
    things = len((tmp_path / "note").read_text().splitlines())
    found = []
    for last in sorted({*range(things - 1, things - 24, -4), things // 2}):
        shutil.rmtree(www)
        shutil.copytree(before, www)
        assert berth(2, last) == -signal.SIGKILL
        found.append(sees())
        assert berth(2, 0) == 0
        assert sees() == 2
        assert not list(www.rglob("*.part"))
    assert found == sorted(found)  # first the old one, from some instant on the new one
    assert set(found) == {1, 2}


# Bundles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["head", "boot", "root", "cut", "empty", "text"])
def test_a_damaged_bundle_is_refused_before_anything_is_written(desk: Desk, at: str) -> None:
    path = bundle(desk.folder / "bundles", RELEASES[1])
    data = bytearray(path.read_bytes())
    read = read_bundle(path)
    match at:
        case "head":
            data[0] ^= 1
        case "boot":
            data[read.boot.offset + 600] ^= 1
        case "root":
            data[read.root.offset + 5000] ^= 1
        case "cut":
            del data[len(data) // 2 :]
        case "empty":
            data.clear()
        case "text":
            data[:] = b"no bundle" * 1000
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged|cut off|not an update bundle|cannot be read"):
        desk.publisher().publish(read_bundle(path), "stable")
    assert not desk.files.files


def test_a_name_that_is_no_channel_is_refused(desk: Desk) -> None:
    with pytest.raises(InputError, match="a channel is named"):
        desk.publish(1, "../up")
