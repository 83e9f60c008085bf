"""Checking a repository: each fault is found, told with its cure, and nothing else is."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.bundles import bundle, numbered
from fakes.forger import Forged, Looker
from fakes.repositories import no_passphrase, now, publisher

from builder.artifact.unbundle import read_bundle
from builder.cli import main as cli
from builder.errors import RepositoryError
from builder.fetch.download import Patience
from builder.repository.check import Findings, check
from builder.repository.server import Server
from builder.repository.signing import KeyFolder
from builder.repository.source import FolderSource, WebSource
from builder.repository.state import read_state, target_file_path

pytestmark = pytest.mark.long  # real servers

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    made = Forged(folder)
    made.publish(1)
    made.publish(2, "beta")
    made.publish(3)
    return folder


@pytest.fixture
def forged(template: Path, tmp_path: Path) -> Forged:
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return Forged(tmp_path)


def findings(forged: Forged, *, trusted: bytes | None = None, at: datetime.datetime | None = None) -> Findings:
    return check(FolderSource(forged.folder), trusted=trusted or forged.root, now=at or now())


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def newest(forged: Forged, channel: str) -> Path:
    """The offer that machines are given."""
    state = read_state(forged.files, KeyFolder.open(forged.keys, no_passphrase).roots)
    path = f"minimal-amd64/{channel}.json"
    return forged.folder / target_file_path(path, state.targets[path])


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_sound_repository_has_no_fault_and_all_its_files_are_led_to(forged: Forged) -> None:
    found = findings(forged)
    assert found.faults == []
    assert {role.role for role in found.roles} == {"root", "timestamp", "snapshot", "targets"}
    versions = {path: offer.version for path, offer in found.offers.items() if path.count("/") == 1}
    assert versions == {"minimal-amd64/stable.json": "v3", "minimal-amd64/beta.json": "v2"}
    there = {path for path in forged.files.names(".") if path != ".lock"}
    assert found.wanted <= there
    assert {path.partition("/")[0] for path in there - found.wanted} == {"metadata", "targets"}  # states of before


FAULTS: dict[str, tuple[Callable[[Forged], object], str, str]] = {
    "no timestamp": (lambda f: (f.folder / "metadata/timestamp.json").unlink(), "is missing", "--refresh"),
    "no root": (lambda f: (f.folder / "metadata/1.root.json").unlink(), "is missing", "roots/"),
    "an altered timestamp": (
        lambda f: f.alter(f.path("timestamp"), b'"version": 1', b'"version": 2'), "bad signature", "",
    ),
    "an altered snapshot": (lambda f: flip(f.folder / f.path("snapshot")), "not what was signed", ""),
    "altered targets": (lambda f: flip(f.folder / f.path("targets")), "not what was signed", ""),
    "junk": (lambda f: (f.folder / "metadata/timestamp.json").write_bytes(b"{" * 4000), "is not TUF metadata", ""),
    "an expired snapshot": (
        lambda f: f.sign("snapshot", lambda signed: setattr(signed, "expires", now() - DAY)), "expired", "--refresh",
    ),
    "an altered offer": (lambda f: flip(newest(f, "stable")), "not what was signed", ""),
    "no offer": (lambda f: newest(f, "beta").unlink(), "is missing", "--refresh"),
    "an altered pack": (lambda f: flip(one(f.folder, "packs/*/*")), "altered: its hash", "delete it"),
    "a short pack": (lambda f: os.truncate(one(f.folder, "packs/*/*"), 5), "altered: its hash", "delete it"),
    "no pack": (lambda f: one(f.folder, "packs/*/*").unlink(), "is missing", "again"),
    "an altered index": (lambda f: flip(one(f.folder, "indexes/*")), "altered", "delete it"),
    "no index": (lambda f: one(f.folder, "indexes/*").unlink(), "is missing", "again"),
    "another role's key": (lambda f: f.sign("targets", lambda _: None, by=[f.key("timestamp")]), "bad signature", ""),
    "a root of too few": (
        lambda f: (f.rotate("root"), f.refresh(), f.alter("metadata/2.root.json", b'"version": 2', b'"version": 3')),
        "", "roots/",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_with_its_cure(forged: Forged, fault: str) -> None:
    damage, message, cure = FAULTS[fault]
    damage(forged)
    faults = findings(forged).faults
    assert faults
    assert any(message in each.message and cure in each.cure for each in faults), faults
    assert all(each.path and each.cure for each in faults)


def test_all_faults_are_told_at_once(forged: Forged) -> None:
    packs = sorted(forged.folder.glob("packs/*/*"))
    for path in packs[:3]:
        flip(path)
    newest(forged, "beta").unlink()
    assert len(findings(forged).faults) == 4


def test_another_repository_is_not_the_one_that_machines_trust(forged: Forged, tmp_path: Path) -> None:
    [fault] = findings(forged, trusted=Forged(tmp_path / "stranger").root).faults
    assert "other keys made it" in fault.message


def test_roots_are_followed_from_any_that_machines_were_given(forged: Forged) -> None:
    first = forged.root
    forged.rotate("root", "timestamp")
    second = (forged.keys / "root.json").read_bytes()
    forged.rotate("targets")
    forged.refresh()
    for trusted in (first, second, (forged.keys / "root.json").read_bytes()):
        found = findings(forged, trusted=trusted)
        assert found.faults == []
        assert next(role.version for role in found.roles if role.role == "root") == 3
    (forged.folder / "metadata/1.root.json").unlink()
    assert [fault.message for fault in findings(forged, trusted=second).faults] == ["is missing"]


def test_a_channel_that_offers_an_older_release_than_it_has_is_a_fault(forged: Forged) -> None:
    def swap(signed) -> None:
        newest = "minimal-amd64/stable.json"
        older = signed.targets["minimal-amd64/stable/1.json"]
        data = next((forged.folder / "targets/minimal-amd64/stable").glob("*.1.json")).read_bytes()
        target = forged.folder / f"targets/minimal-amd64/{older.hashes['sha256']}.stable.json"
        target.write_bytes(data)
        signed.targets[newest].hashes, signed.targets[newest].length = older.hashes, older.length

    forged.sign("targets", swap)
    assert any("offers 1, while 3" in fault.message for fault in findings(forged).faults)


def test_a_release_that_is_not_whole_in_itself_is_a_fault(forged: Forged) -> None:
    """Its images are signed, and say other things of each other than the offer does: no machine would boot it."""
    path = newest(forged, "stable")
    offered = json.loads(path.read_bytes())
    offered["root_hash"] = "0" * 64
    data = json.dumps(offered).encode()

    def change(signed) -> None:
        from tuf.api.metadata import TargetFile  # noqa: PLC0415 - what the forger works with

        target = TargetFile.from_data("minimal-amd64/stable.json", data, ["sha256"])
        (path.parent / f"{target.hashes['sha256']}.stable.json").write_bytes(data)
        signed.targets["minimal-amd64/stable.json"] = target

    forged.sign("targets", change)
    assert any("not whole in itself" in fault.message for fault in findings(forged).faults)


def test_a_fault_can_be_cured_as_it_is_told(forged: Forged, tmp_path: Path) -> None:
    """An altered pack: deleted, and the bundles published again."""
    path = one(forged.folder, "packs/*/*")
    flip(path)
    [fault] = findings(forged).faults
    path.unlink()
    needed = re.findall(r"minimal-amd64/(\d) on (\w+)", fault.cure)
    assert needed
    for number, channel in needed:
        made = read_bundle(bundle(tmp_path / "again", numbered(int(number))))
        publisher(forged.files, forged.keys).publish(made, channel)
    found = findings(forged)
    assert found.faults == []
    assert {(offer.version, offer.sequence) for offer in found.offers.values()} == {("v1", 1), ("v2", 2), ("v3", 3)}


def test_a_lost_offer_is_written_anew_from_its_other_copy(forged: Forged) -> None:
    newest(forged, "stable").unlink()
    flip(newest(forged, "beta"))
    forged.refresh()
    assert findings(forged).faults == []
    for path in forged.folder.glob("targets/minimal-amd64/**/*.json"):
        if b'"beta"' in path.read_bytes():
            path.unlink()
    outcome = publisher(forged.files, forged.keys).refresh()
    assert len([note for note in outcome.notes if "was lost" in note]) == 2
    assert findings(forged).faults == []


def test_a_lost_timestamp_is_signed_anew_and_no_release_is_forgotten(forged: Forged, tmp_path: Path) -> None:
    machine = Looker(kept=tmp_path / "kept")
    assert machine.look(forged).sequence == 3
    before = findings(forged).offers
    (forged.folder / "metadata/timestamp.json").unlink()
    (forged.folder / "metadata/1.root.json").unlink()
    later = now() + DAY
    forged.refresh(at=later)
    found = findings(forged, at=later)
    assert found.faults == []
    assert found.offers == before
    assert machine.look(forged).sequence == 3


@pytest.mark.parametrize("left", [0.0, 0.5, 1.0], ids=["empty", "truncated", "flipped"])
@pytest.mark.parametrize("by", ["refresh", "publish"])
def test_a_damaged_timestamp_is_signed_anew_as_a_lost_one(forged: Forged, tmp_path: Path, left: float, by: str) -> None:
    machine = Looker(kept=tmp_path / "kept")
    assert machine.look(forged).sequence == 3
    before = findings(forged).offers
    path = forged.folder / "metadata/timestamp.json"
    whole = path.read_bytes()
    path.write_bytes(
        whole.replace(b'"version": ', b'"version": 9', 1) if left == 1.0 else whole[: int(len(whole) * left)]
    )
    assert path.read_bytes() != whole
    (fault,) = findings(forged).faults
    assert (fault.path, fault.cure) == ("metadata/timestamp.json", "berth publish --refresh")
    later = now() + DAY
    if by == "refresh":
        forged.refresh(at=later)
    else:
        made = read_bundle(bundle(tmp_path / "again", numbered(3)))
        publisher(forged.files, forged.keys, at=later).publish(made, "stable")
    found = findings(forged, at=later)
    assert found.faults == []
    assert found.offers == before
    assert machine.look(forged).sequence == 3


def test_a_damaged_timestamp_heals_nothing_with_other_keys(forged: Forged, tmp_path: Path) -> None:
    other = Forged(tmp_path / "other")
    (forged.folder / "metadata/timestamp.json").write_bytes(b"{")
    (forged.folder / "metadata/1.root.json").unlink()
    with pytest.raises(RepositoryError, match="signature"):
        publisher(forged.files, other.keys).refresh()


@pytest.mark.parametrize("role", ["snapshot", "targets"])
@pytest.mark.parametrize("harm", [flip, Path.unlink], ids=["flipped", "lost"])
def test_the_cure_for_damaged_metadata_that_has_no_copy_works(
    forged: Forged, tmp_path: Path, role: str, harm: Callable[[Path], None]
) -> None:
    machine = Looker(kept=tmp_path / "kept")
    assert machine.look(forged).sequence == 3
    harm(forged.folder / forged.path(role))
    (fault,) = findings(forged).faults
    assert "delete timestamp.json, the snapshots and the targets in metadata/" in fault.cure
    for pattern in ("timestamp.json", "*.snapshot.json", "*.targets.json"):
        for path in (forged.folder / "metadata").glob(pattern):
            path.unlink()
    later = now() + DAY
    made = read_bundle(bundle(tmp_path / "again", numbered(3)))
    publisher(forged.files, forged.keys, at=later).publish(made, "stable", sequence=4)
    assert findings(forged, at=later).faults == []
    assert machine.look(forged).sequence == 4


def test_a_web_server_can_be_asked(forged: Forged) -> None:
    server = Server(forged.folder, "127.0.0.1", 0, lambda *_: None, lambda: None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    source = WebSource(f"http://127.0.0.1:{server.port}")
    try:
        assert check(source, trusted=forged.root, now=now()).faults == []
        flip(one(forged.folder, "packs/*/*"))
        assert len(check(source, trusted=forged.root, now=now()).faults) == 1
    finally:
        source.close()
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_that_stumbles_is_asked_again(forged: Forged) -> None:
    stumbled: set[str] = set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            data = forged.files.read(path)
            if path.startswith("packs/") and path not in stumbled:
                stumbled.add(path)
                self.send_error(503)
            elif data is None:
                self.send_error(404)
            else:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        source = WebSource(f"http://127.0.0.1:{server.server_address[1]}", Patience(first_wait=0.0))
        assert check(source, trusted=forged.root, now=now()).faults == []
        source.close()
        server.shutdown()
        thread.join()
    assert stumbled


def test_the_verb_ends_with_1_where_there_is_a_fault(forged: Forged, capsys: pytest.CaptureFixture[str]) -> None:
    where, root = str(forged.folder), str(forged.keys / "root.json")
    assert cli.main(["repo", "check", where, "--root", root]) == 0
    assert "no fault" in capsys.readouterr().out
    flip(one(forged.folder, "packs/*/*"))
    assert cli.main(["repo", "check", where, "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["valid"], len(facts["faults"])) == ("berth.repo/1", False, 1)
    assert {(one["sequence"], one["newest"]) for one in facts["releases"]} == {(1, False), (2, True), (3, True)}
    assert 29 <= facts["roles"]["timestamp"]["days_left"] <= 30
    assert cli.main(["repo", "check", str(forged.folder / "absent")]) == 2
    assert cli.main(["repo", "check", "http://127.0.0.1:1/"]) == 1
    assert cli.main(["repo", "check", "ftp://x/"]) == 1
