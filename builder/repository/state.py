"""What a repository holds now, read by its publisher and verified with the keys' own roots.

Expired metadata is no fault here: whoever publishes is about to renew it.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from builder.errors import RepositoryError
from builder.repository.folder import Files
from init.formats import offer as offers
from init.formats.offer import Offer

TIMESTAMP = f"{offers.METADATA_PATH}timestamp.json"
# In the signed targets: the highest sequence that each CLASS/CHANNEL ever had, withdrawn or not.
SEQUENCES = "x-berth-sequences"
_HINT = "berth repo check tells each fault"
Role = TypeVar("Role", Root, Timestamp, Snapshot, Targets)


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """One role's newest metadata."""

    version: int
    expires: datetime.datetime
    file: MetaFile  # how the next role names it


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """A repository. `roots`: the newest root's version in it, 0 for a folder that holds nothing yet."""

    roots: int = 0
    signed: Mapping[str, Signed] = field(default_factory=dict)  # by role
    targets: Mapping[str, TargetFile] = field(default_factory=dict)
    offers: Mapping[str, Offer] = field(default_factory=dict)  # by the target's path
    sequences: Mapping[str, int] = field(default_factory=dict)  # by `line`: the highest that was ever offered
    lost: tuple[str, ...] = ()  # targets that are signed, and whose bytes are nowhere any more

    def newest(self, machine_class: str, channel: str) -> Offer | None:
        """Return a channel's newest offer."""
        return self.offers.get(offers.channel_target(machine_class, channel))

    def highest(self, machine_class: str, channel: str) -> int:
        """Return the highest sequence that was ever offered on a channel, 0 for none."""
        return self.sequences.get(line(machine_class, channel), 0)

    def last(self, machine_class: str) -> int:
        """Return the highest sequence that was ever given to a class, 0 for none."""
        return max((last for name, last in self.sequences.items() if name.startswith(f"{machine_class}/")), default=0)

    def releases(self) -> dict[str, Offer]:
        """Return the kept releases, each once on each channel that it is on, by the target's path."""
        return {path: offer for path, offer in self.offers.items() if path.count("/") > 1}


def line(machine_class: str, channel: str) -> str:
    """Name a class's line of releases on a channel."""
    return f"{machine_class}/{channel}"


def metadata_path(role: str, version: int) -> str:
    """Return where a version of a role's metadata lies."""
    return f"{offers.METADATA_PATH}{version}.{role}.json"


def target_file_path(path: str, target: TargetFile) -> str:
    """Return where a target's bytes lie: consistent snapshots put the hash before the name."""
    head, _, name = path.rpartition("/")
    return f"{offers.TARGETS_PATH}{head}/{target.hashes['sha256']}.{name}"


def read_state(files: Files, roots: Sequence[Metadata[Root]]) -> State:
    """Read a repository; raise RepositoryError where it is another's, or damaged."""
    held = 0
    while data := files.read(metadata_path("root", held + 1)):
        held += 1
        if held > len(roots):
            raise RepositoryError(
                f"the repository has version {held} of the root, the folder of keys only {len(roots)}",
                hint="use the newest folder of keys, or copy the missing roots/N.root.json into it",
            )
        if parsed(data, Root, metadata_path("root", held)).signed != roots[held - 1].signed:
            raise RepositoryError(
                "the repository was made with other keys: its root is not this folder's",
                hint="give the folder of keys that it was made with, or another --repo",
            )
    root = (roots[held - 1] if held else roots[-1]).signed
    signed: dict[str, Signed] = {}
    timestamp, damage = _timestamp(files, root)
    if timestamp is not None:
        named = timestamp.snapshot_meta
        signed["timestamp"] = Signed(
            version=timestamp.version, expires=timestamp.expires, file=MetaFile(timestamp.version)
        )
    elif (version := _newest_snapshot(files)) is not None:
        # It was lost or damaged; who could bring that about could as well have put an older one back. What a publisher
        # left who was killed before its rename is whole, too: it may be what comes next.
        named = MetaFile.from_data(version, _needed(files, metadata_path("snapshot", version)), ["sha256"])
    elif damage is not None:
        raise damage
    else:
        return State(roots=held)
    snapshot = verified(_needed(files, metadata_path("snapshot", named.version)), Snapshot, root, "snapshot").signed
    signed["snapshot"] = Signed(version=snapshot.version, expires=snapshot.expires, file=named)
    targets_file = snapshot.meta["targets.json"]
    targets = verified(_needed(files, metadata_path("targets", targets_file.version)), Targets, root, "targets").signed
    signed["targets"] = Signed(version=targets.version, expires=targets.expires, file=targets_file)
    found, lost = _read_offers(files, targets.targets)
    return State(
        roots=held, signed=signed, targets=dict(targets.targets), offers=found,
        sequences=_sequences(targets, found.values()), lost=lost,
    )  # fmt: skip


def _timestamp(files: Files, root: Root) -> tuple[Timestamp | None, RepositoryError | None]:
    """Return the timestamp; where it can't be read as one, what is wrong with it."""
    data = files.read(TIMESTAMP)
    if data is None:
        return None, None
    try:
        return verified(data, Timestamp, root, TIMESTAMP).signed, None
    except RepositoryError as error:
        return None, error


def _newest_snapshot(files: Files) -> int | None:
    names = [path.removeprefix(offers.METADATA_PATH).split(".") for path in files.names("metadata")]
    versions = [int(parts[0]) for parts in names if parts[0].isdecimal() and parts[1:] == ["snapshot", "json"]]
    return max(versions, default=None)


def parsed(data: bytes, kind: type[Role], name: str) -> Metadata[Role]:
    """Read a role's metadata; raise RepositoryError for what is none."""
    try:
        metadata = Metadata[Role].from_bytes(data)
    except TufError as error:
        raise RepositoryError(f"{name} is not TUF metadata: {error}", hint=_HINT) from error
    if not isinstance(metadata.signed, kind):
        raise RepositoryError(f"{name} is another role's metadata: {metadata.signed.type}", hint=_HINT)
    return metadata


def verified(data: bytes, kind: type[Role], root: Root, name: str) -> Metadata[Role]:
    """Read a role's metadata that enough of its keys signed; raise RepositoryError."""
    metadata = parsed(data, kind, name)
    try:
        root.verify_delegate(kind.type, metadata.signed_bytes, metadata.signatures)
    except TufError as error:
        raise RepositoryError(f"{name} has a bad signature: {error}", hint=_HINT) from error
    return metadata


def _read_offers(files: Files, targets: Mapping[str, TargetFile]) -> tuple[dict[str, Offer], tuple[str, ...]]:
    """Read the targets; one that is lost is found as another with the same bytes: a channel's newest is there twice."""
    known: dict[str, Offer] = {}
    for path, target in targets.items():
        data = files.read(target_file_path(path, target))
        if data is not None and hashlib.sha256(data).hexdigest() == target.hashes["sha256"]:
            try:
                known[target.hashes["sha256"]] = Offer.from_json(data)
            except ValueError as error:
                raise RepositoryError(f"{target_file_path(path, target)}: {error}", hint=_HINT) from error
    found = {path: known[one.hashes["sha256"]] for path, one in targets.items() if one.hashes["sha256"] in known}
    return found, tuple(path for path in targets if path not in found)


def _needed(files: Files, path: str) -> bytes:
    data = files.read(path)
    if data is None:
        raise RepositoryError(f"{path} is missing from the repository", hint=_HINT)
    return data


def _sequences(targets: Targets, known: Any) -> dict[str, int]:
    said = targets.unrecognized_fields.get(SEQUENCES)
    sequences = {str(name): int(last) for name, last in said.items()} if isinstance(said, dict) else {}
    for offer in known:
        name = line(offer.machine_class, offer.channel)
        sequences[name] = max(sequences.get(name, 0), offer.sequence)
    return sequences
