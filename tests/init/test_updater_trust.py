"""Whom the updater believes: a repository that the product made, and whoever would deceive its machines.

Each case is tried with the builder's python-tuf and with the one that machines have.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.forger import Forged, Looker, looking
from fakes.repositories import now

from builder.cli.context import Context
from builder.cli.inputs import Network, ready_lock, ready_tools
from builder.recipe import load
from builder.repository import keys as keyfiles
from builder.repository.state import TIMESTAMP, metadata_path
from builder.tools.tree import tools_tree
from init.updater.errors import FailedError, RefusedError

DAY = datetime.timedelta(days=1)
CLONE = Path(__file__).resolve().parents[2]
MODULES = ("python3-tuf", "python3-securesystemslib")


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A program that looks with the modules that a machine's updater imports, out of the recipe's own lock."""
    with contextlib.chdir(CLONE):  # a build keeps its tools tree below the working folder
        context, network = Context.create(quiet=True, as_json=False), Network(heal=True)
        lock = ready_lock(load("minimal"), ready_tools(context, network), context, network)
        wanted = tuple(package for package in lock.packages if package.name in MODULES)
        assert len(wanted) == len(MODULES)
        folder = tmp_path_factory.mktemp("machine")
        tools_tree(replace(lock, packages=wanted), context.store, folder, context.progress)
    [modules] = folder.rglob("dist-packages/tuf")
    with looking(modules.parent) as program:
        yield program
        assert program.stdin
        program.stdin.close()


@pytest.fixture(params=["builder", pytest.param("machine", marks=pytest.mark.packages)])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Looker:
    program = request.getfixturevalue("machines") if request.param == "machine" else None
    return Looker(kept=tmp_path / "kept", program=program)


@pytest.fixture
def forged(tmp_path: Path) -> Forged:
    return Forged(tmp_path)


def test_what_the_publisher_made_is_believed(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    assert machine.look(forged).version == "v1"
    forged.publish(2)
    assert machine.look(forged).version == "v2"


def test_another_root_of_trust_refuses_it(forged: Forged, machine: Looker, tmp_path: Path) -> None:
    forged.publish(1)
    with pytest.raises(RefusedError, match=r"bad signature|does not verify"):
        machine.look(forged, root=Forged(tmp_path / "stranger").root)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_what_was_altered_after_it_was_signed_is_refused(role: str, forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    forged.alter(forged.path(role), b'"version": 1', b'"version": 2')
    with pytest.raises(RefusedError, match=r"signature|does not verify"):
        machine.look(forged)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_one_roles_key_does_not_sign_for_another(role: str, forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    other = "snapshot" if role == "targets" else "targets"
    forged.sign(role, lambda _: None, by=[forged.key(other)])
    with pytest.raises(RefusedError, match="bad signature"):
        machine.look(forged)


def test_an_altered_offer_is_refused(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    [path] = forged.folder.glob("targets/*/*.json")
    forged.alter(path.relative_to(forged.folder).as_posix(), b'"v1"', b'"v9"')
    with pytest.raises((RefusedError, FailedError), match=r"verify|metadata|can't be read"):
        machine.look(forged)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_an_older_view_than_was_seen_is_refused(role: str, forged: Forged, machine: Looker, tmp_path: Path) -> None:
    """Well signed, all of it: only who was here before knows. With its keys, even the names above are new."""
    forged.publish(1)
    old = tmp_path / "old"
    shutil.copytree(forged.folder, old)
    forged.publish(2)
    assert machine.look(forged).version == "v2"
    if role == "timestamp":
        shutil.copy(old / TIMESTAMP, forged.folder / TIMESTAMP)
    elif role == "snapshot":
        older = forged.files.read(TIMESTAMP)
        assert older
        forged.sign("timestamp", lambda signed: _older(signed.snapshot_meta))
    else:
        forged.sign("snapshot", lambda signed: _older(signed.meta["targets.json"]))
    with pytest.raises((RefusedError, FailedError), match=r"verify|can't be read"):
        machine.look(forged)


def _older(named) -> None:
    named.version -= 1
    named.length = named.hashes = None


def test_parts_of_two_states_do_not_mix(forged: Forged, machine: Looker, tmp_path: Path) -> None:
    """Both lists of releases are well signed, under one version each; the snapshot says which one it is."""
    forged.publish(1)
    shutil.copytree(forged.folder, tmp_path / "other")
    forged.publish(2)
    [other, mine] = sorted((forged.folder / "metadata").glob("*.targets.json"))
    mine.write_bytes(other.read_bytes())
    with pytest.raises(RefusedError, match="does not verify"):
        machine.look(forged)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_what_is_frozen_expires(role: str, forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    forged.sign(role, lambda signed: setattr(signed, "expires", now() - DAY))
    with pytest.raises(RefusedError, match="expired"):
        machine.look(forged)


def test_a_clock_that_runs_behind_does_not_make_it_fresh(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    assert machine.look(forged).version == "v1"
    with pytest.raises(RefusedError, match="expired"):  # state's stamp is far ahead of this computer's clock
        machine.look(forged, floor=(now() + 100 * DAY).timestamp())


def test_a_root_that_expired_is_refused_and_its_successor_taken(forged: Forged, machine: Looker) -> None:
    """Also by a machine that slept for years: the ends of roots on the way do not count."""
    forged.publish(1)
    later = (now() + 800 * DAY).timestamp()
    with pytest.raises(RefusedError, match="expired"):
        machine.look(forged, floor=later)
    forged.rotate(at=now() + 800 * DAY)
    forged.refresh(at=now() + 800 * DAY)
    assert machine.look(forged, floor=later).version == "v1"


def test_roots_are_followed_one_by_one(forged: Forged, machine: Looker) -> None:
    """From the first to the sixth, with all keys replaced on the way, by a machine that saw none of them."""
    forged.publish(1)
    for roles in (("timestamp",), ("root",), ("snapshot", "targets"), (), ("root", "timestamp")):
        forged.rotate(*roles)
    forged.publish(2)
    assert machine.look(forged).version == "v2"
    forged.rotate("root")
    forged.publish(3)
    assert machine.look(forged).version == "v3"


def test_a_replaced_key_signs_no_more(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    old = forged.key("timestamp")
    forged.rotate("timestamp")
    forged.refresh()
    assert machine.look(forged).version == "v1"
    forged.sign("timestamp", lambda _: None, by=[old])
    with pytest.raises(RefusedError, match="bad signature"):
        machine.look(forged)


def test_a_root_that_too_few_signed_is_refused(tmp_path: Path, machine: Looker) -> None:
    """Two of three of the old keys have to sign, and two of the new; a publisher would not even write it."""
    forged = Forged(tmp_path, root_keys=3, threshold=2)
    forged.publish(1)
    olds = [keyfiles.load_key(path, lambda _: b"") for path in sorted(forged.keys.glob("root-*.pem"))]
    forged.rotate("root")
    path = metadata_path("root", 2)
    forged.refresh()
    news = [keyfiles.load_key(path, lambda _: b"") for path in sorted(forged.keys.glob("root-*.pem"))]
    for few in ([olds[0], *news], [*olds, news[0]], olds, news, []):
        _sign_again(forged, path, few)
        with pytest.raises(RefusedError, match="bad signature"):
            machine.look(forged)
    _sign_again(forged, path, [*olds[1:], *news[:2]])
    assert machine.look(forged).version == "v1"


def _sign_again(forged: Forged, path: str, by) -> None:
    from tuf.api.metadata import Metadata  # noqa: PLC0415 - what the forger works with

    data = forged.files.read(path)
    assert data
    metadata = Metadata.from_bytes(data)
    metadata.signatures.clear()
    for key in by:
        metadata.sign(keyfiles.signer(key), append=True)
    forged.files.write(path, metadata.to_bytes())


def test_a_root_is_not_left_out(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    forged.rotate("root")
    forged.rotate("root")
    forged.refresh()
    (forged.folder / metadata_path("root", 3)).rename(forged.folder / metadata_path("root", 2))
    with pytest.raises(RefusedError, match=r"does not verify|bad signature"):
        machine.look(forged)


ENDLESS: dict[str, Callable[[Forged], str]] = {
    "timestamp": lambda forged: forged.path("timestamp"),
    "snapshot": lambda forged: forged.path("snapshot"),
    "targets": lambda forged: forged.path("targets"),
    "root": lambda _: metadata_path("root", 2),
    "offer": lambda forged: next(forged.folder.glob("targets/*/*.json")).relative_to(forged.folder).as_posix(),
}


@pytest.mark.parametrize("what", ENDLESS)
def test_more_than_may_come_ends_it(what: str, forged: Forged, machine: Looker) -> None:
    """A file of a terabyte, of which nothing is there: reading it whole would take hours and all memory."""
    forged.publish(1)
    with (forged.folder / ENDLESS[what](forged)).open("r+b" if what != "root" else "w+b") as file:
        file.truncate(1 << 40)
    with pytest.raises((RefusedError, FailedError), match=r"more than|verify|can't be read"):
        machine.look(forged)


@pytest.mark.parametrize("junk", [b"", b"{" * 5000, b"[]", b'{"signed": {}, "signatures": []}', b"\xff" * 100])
def test_junk_is_refused_and_said(junk: bytes, forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    (forged.folder / TIMESTAMP).write_bytes(junk)
    with pytest.raises((RefusedError, FailedError), match=r"verify|metadata|can't be read"):
        machine.look(forged)


def test_a_power_cut_that_damages_what_is_kept_does_no_harm(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    machine.look(forged)
    for path in machine.kept.rglob("*.json"):
        path.write_bytes(path.read_bytes()[:100])
    assert machine.look(forged).version == "v1"


def test_a_class_or_channel_without_releases_is_said(forged: Forged, machine: Looker) -> None:
    forged.publish(1)
    with pytest.raises(RefusedError, match="no release of the class docker-amd64"):
        machine.look(forged, machine_class="docker-amd64")
    with pytest.raises(RefusedError, match="channel edge"):
        machine.look(forged, channel="edge")
