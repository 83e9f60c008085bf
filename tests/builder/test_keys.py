"""Keys of a repository: made once, never written over, replaced by as many as have to sign, whatever interrupts it."""

from __future__ import annotations

import datetime
import json
import shutil
import stat
from pathlib import Path

import pytest
from fakes.repositories import keys as make_keys
from fakes.repositories import no_passphrase, now

from builder.cli import main as cli
from builder.errors import InputError, RepositoryError
from builder.repository import keys, rotation, trust
from builder.repository.keys import load_key
from builder.repository.signing import KeyFolder

ROLES = ("targets", "snapshot", "timestamp")


def rotate(folder: Path, *roles: str, **how):
    return rotation.rotate(folder, roles, now=now(), passphrase=no_passphrase, **how)


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*.pem")}


def usable(folder: Path) -> None:
    """Each role's key at hand is the one that the newest root names."""
    private = KeyFolder.open(folder, no_passphrase)
    for role in ROLES:
        assert private.signers(role, [private.newest])
    assert not list(folder.glob("next-*"))


def test_private_keys_are_their_owners_alone_and_never_written_over(tmp_path: Path) -> None:
    folder = make_keys(tmp_path / "keys", root_keys=3, threshold=2)
    assert sorted(path.name for path in folder.glob("*.pem")) == [
        "root-1.pem", "root-2.pem", "root-3.pem", "snapshot.pem", "targets.pem", "timestamp.pem",
    ]  # fmt: skip
    assert modes(folder) == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(RepositoryError, match="never written over"):
        make_keys(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    usable(folder)


def test_root_keys_that_were_put_away_are_not_missed_when_made_again(tmp_path: Path) -> None:
    """The folder of somebody who is careful has no root key in it."""
    folder = make_keys(tmp_path / "keys")
    for path in folder.glob("*.pem"):
        path.unlink()
    with pytest.raises(RepositoryError, match="never written over"):
        make_keys(folder)


@pytest.mark.parametrize(("count", "threshold"), [(1, 2), (2, 0), (0, 0), (10, 1)])
def test_numbers_that_do_not_fit_are_refused(tmp_path: Path, count: int, threshold: int) -> None:
    with pytest.raises(InputError):
        make_keys(tmp_path / "keys", root_keys=count, threshold=threshold)
    assert not (tmp_path / "keys").exists()


def test_a_rotation_needs_as_many_old_root_keys_as_the_threshold_says(tmp_path: Path) -> None:
    folder = make_keys(tmp_path / "keys", root_keys=3, threshold=2)
    stick = tmp_path / "stick"
    stick.mkdir()
    away = [Path(shutil.move(path, stick)) for path in sorted(folder.glob("root-*.pem"))]
    before = sorted(folder.rglob("*"))
    with pytest.raises(RepositoryError, match="0 signed, 2 of"):
        rotate(folder, "timestamp")
    with pytest.raises(RepositoryError, match="too few"):
        rotate(folder, "timestamp", others=away[:1])
    with pytest.raises(RepositoryError, match="too few"):
        rotate(folder, "timestamp", others=[away[0], away[0]])  # twice the same is one
    assert [path for path in sorted(folder.rglob("*")) if path.name not in (".lock", "retired")] == before
    old = load_key(folder / "timestamp.pem", no_passphrase)
    root = rotate(folder, "timestamp", others=away[1:]).signed
    assert root.version == 2
    assert keys.public(old).keyid not in root.roles["timestamp"].keyids
    assert set(root.keys) >= {keyid for role in root.roles.values() for keyid in role.keyids}
    assert keys.public(old).keyid not in root.keys  # it is gone from the list of keys, too
    usable(folder)


def test_new_root_keys_may_be_more_and_more_may_have_to_sign(tmp_path: Path) -> None:
    folder = make_keys(tmp_path / "keys")
    root = rotate(folder, "root", root_keys=3, threshold=2).signed
    assert (len(root.roles["root"].keyids), root.roles["root"].threshold) == (3, 2)
    assert len(list((folder / "retired").glob("root-*.pem"))) == 1
    rotate(folder, "root", root_keys=2, threshold=1)
    assert sorted(path.name for path in folder.glob("root-*.pem")) == ["root-1.pem", "root-2.pem"]
    assert len(list((folder / "retired").glob("root-*.pem"))) == 4
    rotate(folder, "timestamp")
    assert [one.signed.version for one in trust.load_roots(folder)] == [1, 2, 3, 4]
    assert modes(folder) == {0o600}
    usable(folder)


def test_renewing_moves_the_end_alone(tmp_path: Path) -> None:
    folder = make_keys(tmp_path / "keys", days={"root": 10, "timestamp": 3})
    first = trust.load_roots(folder)[-1].signed
    second = rotate(folder, days=100).signed
    assert second.roles == first.roles
    assert (second.expires - first.expires).days == 90
    assert rotation.lifetimes(folder) == {"root": 10, "targets": 365, "snapshot": 90, "timestamp": 3}
    assert (folder / "root.json").read_bytes() == (folder / "roots/2.root.json").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("roles", [("timestamp", "targets"), ("root", "snapshot")])
def test_a_rotation_that_is_cut_short_anywhere_leaves_keys_that_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roles: tuple[str, ...]
) -> None:
    """Cut at each rename, removal and write of a key: the next verb finds out what was done."""
    template = make_keys(tmp_path / "template", root_keys=2, threshold=2)
    versions = set()
    for last in range(1, 100):
        folder = tmp_path / f"keys-{last}"
        shutil.copytree(template, folder)
        count = 0

        def counted(real, last: int = last):
            def call(*arguments, **named):
                nonlocal count
                count += 1
                if count == last:
                    raise KeyboardInterrupt
                return real(*arguments, **named)

            return call

        with monkeypatch.context() as patch:  # the only test that needs to: there is no door in so small a thing
            for name in ("replace", "unlink", "rmdir"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            patch.setattr(keys, "store_key", counted(keys.store_key))
            patch.setattr(keys, "sync_folder", counted(keys.sync_folder))
            try:
                rotate(folder, *roles)
                done = True
            except KeyboardInterrupt:
                done = False
        usable(folder)
        versions.add(trust.load_roots(folder)[-1].signed.version)
        rotate(folder, *roles)
        usable(folder)
        if done:
            break
    assert done
    assert last > 8
    assert versions == {1, 2}


def test_two_rotations_do_not_meet(tmp_path: Path) -> None:
    folder = make_keys(tmp_path / "keys")
    with rotation._alone(folder), pytest.raises(RepositoryError, match="another `berth keys`"):
        rotate(folder, "timestamp")
    usable(folder)


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    folder = make_keys(tmp_path / "keys")
    (folder / "root-1.pem").chmod(0o644)
    with pytest.raises(InputError, match="others may read"):
        rotate(folder, "timestamp")


@pytest.mark.parametrize("junk", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_said(tmp_path: Path, junk: bytes) -> None:
    folder = make_keys(tmp_path / "keys")
    (folder / "root-1.pem").write_bytes(junk)
    with pytest.raises(InputError, match="not a private key"):
        rotate(folder, "timestamp")


# The verb ---------------------------------------------------------------------------------------------------


def test_the_verb_says_what_to_put_away_and_what_to_give_to_machines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = str(tmp_path / "keys")
    assert cli.main(["keys", "init", where, "--root-keys", "2", "--threshold", "2", "--expires", "timestamp=7"]) == 0
    out, err = capsys.readouterr()
    assert "2 of 2 sign" in out
    assert "for 7 days" in out
    for word in ("put away", "root.json", "update_root", "berth publish"):
        assert word in err
    assert cli.main(["keys", "init", where]) == 1
    assert "never written over" in capsys.readouterr().err
    assert cli.main(["keys", "rotate", where, "timestamp", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["version"], facts["days"]["timestamp"]) == ("berth.keys/1", 2, 7)
    assert cli.main(["keys", "renew", where, "--days", "100", "--quiet"]) == 0
    assert cli.main(["keys", "show", str(tmp_path / "none")]) == 1
    assert "berth keys init" in capsys.readouterr().err


def test_root_keys_may_be_encrypted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = tmp_path / "keys"
    monkeypatch.setenv("BERTH_KEY_PASSPHRASE", "open sesame")
    assert cli.main(["keys", "init", str(where), "--encrypt"]) == 0
    assert b"ENCRYPTED" in (where / "root-1.pem").read_bytes()
    assert b"ENCRYPTED" not in (where / "timestamp.pem").read_bytes()
    assert cli.main(["keys", "renew", str(where)]) == 0
    monkeypatch.setenv("BERTH_KEY_PASSPHRASE", "wrong")
    assert cli.main(["keys", "renew", str(where)]) == 2
    assert "passphrase is wrong" in capsys.readouterr().err
    usable(where)


@pytest.mark.parametrize(
    "words",
    [
        ("--expires", "timestamp"), ("--expires", "page=3"), ("--expires", "root=0"), ("--threshold", "2"),
        ("--root-keys", "0"),
    ],
)  # fmt: skip
def test_wrong_words_are_wrong_usage_and_make_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    try:
        status = cli.main(["keys", "init", str(tmp_path / "keys"), *words])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert not (tmp_path / "keys").exists()


def test_the_end_is_told_in_days(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_keys(tmp_path / "keys", at=now() - datetime.timedelta(days=719, hours=12))
    assert cli.main(["keys", "show", str(folder)]) == 0
    assert "(10 days)" in capsys.readouterr().out
