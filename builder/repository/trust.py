"""The root of a repository's trust: which keys sign what, how many of them, and how it follows from the one before.

A new version counts when enough keys of the one before and enough of its own have signed it (TUF 1.0.33, 5.3.4). So
machines that know any earlier version come along, one version after the other.
"""

from __future__ import annotations

import copy
import datetime
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Key, Metadata, Root

from builder.artifact.output import write_bytes
from builder.errors import InputError, RepositoryError
from builder.repository import keys
from builder.repository.encoding import TEXT, lifetime


def first_root(
    root_keys: Sequence[Ed25519PrivateKey],
    online: Mapping[str, Ed25519PrivateKey],
    *,
    threshold: int,
    now: datetime.datetime,
    days: int | None = None,
) -> Metadata[Root]:
    """Return version 1, signed by all its root keys; raise InputError for a threshold that can't be met."""
    root = Root(expires=now + lifetime("root", days))
    for key in root_keys:
        root.add_key(keys.public(key), "root")
    for role, key in online.items():
        root.add_key(keys.public(key), role)
    root.roles["root"].threshold = checked_threshold(threshold, len(root_keys))
    return signed(root, None, root_keys)


def next_root(
    before: Metadata[Root],
    signing: Sequence[Ed25519PrivateKey],
    *,
    revoked: Iterable[tuple[str, str]] = (),
    added: Iterable[tuple[str, Key]] = (),
    threshold: int | None = None,
    now: datetime.datetime,
    days: int | None = None,
) -> Metadata[Root]:
    """Return the version after `before`, signed by what is given of its keys.

    `revoked`: roles and ids of keys, `added`: roles and keys. Raise RepositoryError where the keys at hand are too few.
    """
    root = copy.deepcopy(before.signed)
    root.version += 1
    root.expires = now + lifetime("root", days)
    for role, keyid in revoked:
        root.revoke_key(keyid, role)
    for role, key in added:
        root.add_key(key, role)
    if threshold is not None:
        root.roles["root"].threshold = checked_threshold(threshold, len(root.roles["root"].keyids))
    return signed(root, before.signed, signing)


def checked_threshold(threshold: int, count: int) -> int:
    """Return a threshold that `count` keys can meet; raise InputError."""
    if not 1 <= threshold <= count:
        raise InputError(f"a threshold of {threshold} can't be met by {count} root keys", hint="give --threshold")
    return threshold


def signed(root: Root, before: Root | None, signing: Sequence[Ed25519PrivateKey]) -> Metadata[Root]:
    """Sign a root with those of the keys that it or the one before names; raise RepositoryError if they are too few."""
    metadata = Metadata(root)
    named = {*root.roles["root"].keyids, *(before.roles["root"].keyids if before else ())}
    for key in signing:
        if keys.public(key).keyid in named:
            metadata.sign(keys.signer(key), append=True)
    result = root.get_root_verification_result(before, metadata.signed_bytes, metadata.signatures)
    if not result.verified:
        need = before.roles["root"].threshold if before else root.roles["root"].threshold
        raise RepositoryError(
            f"too few private root keys are at hand: {len(result.signed)} signed, {need} of the root's keys"
            " before this change have to",
            hint="bring the other root keys and name them with --root-key FILE",
        )
    return metadata


def load_roots(folder: Path) -> list[Metadata[Root]]:
    """Return all versions of the root in a folder of keys, verified from one to the next; raise RepositoryError."""
    found: list[Metadata[Root]] = []
    while (path := folder / keys.ROOTS / f"{len(found) + 1}.root.json").is_file():
        found.append(read_root(path.read_bytes(), str(path), found[-1].signed if found else None))
    if not found:
        raise RepositoryError(f"{folder} holds no keys of a repository", hint=f"make some: berth keys init {folder}")
    return found


def read_root(data: bytes, name: str, before: Root | None) -> Metadata[Root]:
    """Read a root that follows `before`, or the first; raise RepositoryError where it does not verify."""
    try:
        metadata = Metadata[Root].from_bytes(data)
        if not isinstance(metadata.signed, Root) or metadata.signed.version != (before.version + 1 if before else 1):
            raise RepositoryError(f"{name} is not the root that follows the one before it")
        result = metadata.signed.get_root_verification_result(before, metadata.signed_bytes, metadata.signatures)
    except TufError as error:
        raise RepositoryError(f"{name} is not a root: {error}") from error
    if not result.verified:
        raise RepositoryError(f"{name} is signed by too few of the keys that the root before it names")
    return metadata


def store_root(folder: Path, metadata: Metadata[Root]) -> Path:
    """Write a new version into a folder of keys, and as `root.json` for recipes and machines; return its path."""
    data = metadata.to_bytes(TEXT)
    path = folder / keys.ROOTS / f"{metadata.signed.version}.root.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, data)
    keys.sync_folder(path.parent)
    write_bytes(folder / "root.json", data)
    return folder / "root.json"
