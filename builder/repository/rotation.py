"""Making a repository's keys, and replacing them: each change is a new version of the root.

New keys are first put into `next-VERSION/`, then the root of that version is written, then they take their places and
the old ones go to `retired/`. Where that was cut short, the newest root tells whether it happened: `settle`.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuf.api.metadata import Metadata, Root

from builder.artifact.output import write_bytes
from builder.errors import InputError, RepositoryError
from builder.repository import keys, trust
from builder.repository.encoding import LIFETIMES
from builder.repository.keys import Passphrase

MOST_ROOT_KEYS = 9
_EXPIRES = "expires.json"  # days that each role's metadata lasts, where the user chose others than ours
_NEXT = "next-"
_LOCK = ".lock"


def initialise(
    folder: Path,
    *,
    root_keys: int,
    threshold: int,
    days: Mapping[str, int],
    now: datetime.datetime,
    passphrase: bytes = b"",
) -> Metadata[Root]:
    """Make all keys and the first root in a new or empty folder; `passphrase` encrypts the root's.

    Raise InputError for numbers that don't fit, RepositoryError where there are keys already.
    """
    _check_count(root_keys)
    trust.checked_threshold(threshold, root_keys)
    taken = [*sorted(folder.glob("*.pem")), *sorted((folder / keys.ROOTS).glob("*"))]
    if taken:
        raise RepositoryError(
            f"{taken[0]} exists already; a key is never written over",
            hint="give another folder, or replace keys with `berth keys rotate`",
        )
    roots = [keys.new_key() for _ in range(root_keys)]
    online = {role: keys.new_key() for role in keys.ONLINE}
    first = trust.first_root(roots, online, threshold=threshold, now=now, days=days.get("root"))
    for number, key in enumerate(roots, 1):
        keys.store_key(folder / f"root-{number}.pem", key, passphrase)
    for role, key in online.items():
        keys.store_key(folder / f"{role}.pem", key)
    if days:
        write_bytes(folder / _EXPIRES, json.dumps(dict(days)).encode() + b"\n")
    trust.store_root(folder, first)  # last: a folder without a root is a folder without keys
    return first


def lifetimes(folder: Path) -> dict[str, int]:
    """Return how many days each role's metadata lasts; raise RepositoryError where the folder's note is none."""
    path = folder / _EXPIRES
    try:
        said = json.loads(path.read_bytes())
        return {role: int(said.get(role, days)) for role, days in LIFETIMES.items()}
    except FileNotFoundError:
        return dict(LIFETIMES)
    except (ValueError, TypeError, AttributeError) as error:
        raise RepositoryError(f"{path} does not say how many days each role lasts", hint=f"rm {path}") from error


def rotate(
    folder: Path,
    roles: Sequence[str],
    *,
    others: Iterable[Path] = (),
    root_keys: int | None = None,
    threshold: int | None = None,
    days: int | None = None,
    now: datetime.datetime,
    passphrase: Passphrase,
    fresh_passphrase: bytes = b"",
) -> Metadata[Root]:
    """Replace the keys of these roles by new ones; without roles renew the root as it is. Return the new root.

    `others`: files of private root keys that are not in the folder. `root` replaces all its keys by `root_keys` new
    ones (as many as there were). Raise RepositoryError where too few root keys are at hand: then nothing changed.
    """
    trust.load_roots(folder)  # a folder without keys is left as it is
    with _alone(folder):
        _settle(folder)
        before = trust.load_roots(folder)[-1]
        signing = [keys.load_key(path, passphrase) for path in keys.root_key_paths(folder, others)]
        made = [(role, keys.new_key()) for role in roles if role != "root"]
        if "root" in roles:
            known = before.signed.roles["root"]
            count = len(known.keyids) if root_keys is None else root_keys
            _check_count(count)
            threshold = trust.checked_threshold(known.threshold if threshold is None else threshold, count)
            made += [(f"root-{number}", keys.new_key()) for number in range(1, count + 1)]
        elif root_keys is not None:
            raise InputError("--root-keys is for new root keys", hint="berth keys rotate root --root-keys N")
        metadata = trust.next_root(
            before,
            [*signing, *(key for name, key in made if _role(name) == "root")],
            revoked=[(role, keyid) for role in {*roles} for keyid in before.signed.roles[role].keyids],
            added=[(_role(name), keys.public(key)) for name, key in made],
            threshold=threshold,
            now=now,
            days=lifetimes(folder)["root"] if days is None else days,
        )
        for name, key in made:
            path = folder / f"{_NEXT}{metadata.signed.version}" / f"{name}.pem"
            keys.store_key(path, key, fresh_passphrase if _role(name) == "root" else b"")
        trust.store_root(folder, metadata)
        _settle(folder)
        return metadata


def settle(folder: Path) -> None:
    """Bring a rotation that was cut short to its end, or take it back; raise RepositoryError, also while one runs."""
    if any(folder.glob(f"{_NEXT}*")):
        with _alone(folder):
            _settle(folder)


def _settle(folder: Path) -> None:
    for waiting in sorted(folder.glob(f"{_NEXT}*")):
        newest = trust.load_roots(folder)[-1].signed
        if waiting.name != f"{_NEXT}{newest.version}":
            shutil.rmtree(waiting)  # no root ever named these
            continue
        names = [path.name for path in sorted(waiting.glob("*.pem"))]
        if any(name.startswith("root-") for name in names):
            count = len(newest.roles["root"].keyids)
            for path in keys.root_key_paths(folder)[count:]:  # more than there are new ones
                _retire(folder, path, newest.version)
        for name in names:  # what is still here has not taken its place
            if (folder / name).exists():
                _retire(folder, folder / name, newest.version)
            (waiting / name).replace(folder / name)
        waiting.rmdir()
        keys.sync_folder(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; raise RepositoryError where another has it."""
    with (folder / _LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RepositoryError(
                f"another `berth keys` works on {folder}", hint="wait for it, then run the same command again"
            ) from None
        yield


def _retire(folder: Path, path: Path, version: int) -> None:
    """Put an old private key away, named by the root version that no longer names it."""
    place = folder / keys.RETIRED / f"{path.stem}.until-{version}.pem"
    place.parent.mkdir(exist_ok=True, mode=0o700)
    path.replace(place)


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST_ROOT_KEYS:
        raise InputError(f"from 1 to {MOST_ROOT_KEYS} root keys, not {count}")


def _role(name: str) -> str:
    return "root" if name.startswith("root-") else name
