"""Signing a repository's new state, in an order that shows a reader either the old one or the new one.

What the timestamp leads to is written first, under names that nobody knows yet; the timestamp's rename is the moment
at which the repository is new. Where keys were rotated since, all of it is signed by the old keys as well as the new,
and the new root comes last: a machine that reads in between trusts what it finds with either root.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from builder.errors import RepositoryError
from builder.repository import keys, rotation, trust
from builder.repository.encoding import TEXT, lifetime
from builder.repository.folder import Files
from builder.repository.keys import Passphrase
from builder.repository.state import SEQUENCES, TIMESTAMP, State, metadata_path

SOON = 60  # days: a root that ends so soon is told at each publishing


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyFolder:
    """A folder of keys, opened for publishing. `days`: how long each role's metadata lasts."""

    folder: Path
    roots: Sequence[Metadata[Root]]
    days: Mapping[str, int]
    passphrase: Passphrase

    @staticmethod
    def open(folder: Path, passphrase: Passphrase, days: Mapping[str, int] | None = None) -> KeyFolder:
        """Read the roots; raise RepositoryError where there are none."""
        roots = trust.load_roots(folder)
        rotation.settle(folder)
        return KeyFolder(
            folder=folder, roots=roots, days={**rotation.lifetimes(folder), **(days or {})}, passphrase=passphrase
        )

    @property
    def newest(self) -> Root:
        """The newest root."""
        return self.roots[-1].signed

    def has(self, role: str) -> bool:
        """Tell whether a role's private key is here."""
        return (self.folder / f"{role}.pem").exists()

    def signers(self, role: str, named_by: Sequence[Root]) -> list[CryptoSigner]:
        """Return what signs for a role under each of these roots, the newest among them.

        A retired key that is gone is left out. Raise RepositoryError, InputError where the newest root's key is away.
        """
        wanted = {keyid for root in named_by for keyid in root.roles[role].keyids}
        signers = [keys.signer(keys.load_key(self.folder / f"{role}.pem", self.passphrase))]
        if signers[0].public_key.keyid not in self.newest.roles[role].keyids:
            raise RepositoryError(
                f"{role}.pem is not the key that version {self.newest.version} of the root names",
                hint="use the newest folder of keys: berth keys show",
            )
        if len(wanted) > 1:
            for path in sorted((self.folder / keys.RETIRED).glob(f"{role}.until-*.pem")):
                old = keys.signer(keys.load_key(path, self.passphrase))
                if old.public_key.keyid in wanted:
                    signers.append(old)
        return signers


def store_signed(
    files: Files,
    state: State,
    private: KeyFolder,
    *,
    targets: Mapping[str, TargetFile],
    sequences: Mapping[str, int],
    now: datetime.datetime,
) -> list[str]:
    """Sign and write what leads to these targets; return what is to be said of keys and expiry.

    Raise RepositoryError where nothing may be signed, OSError; then the repository is as it was.
    """
    if private.newest.expires <= now:
        raise RepositoryError(
            f"the root expired on {private.newest.expires:%Y-%m-%d}: machines take nothing from this repository",
            hint="berth keys renew, then the same command again; machines come along",
        )
    notes = []
    if private.newest.expires - now < datetime.timedelta(days=SOON):
        notes.append(
            f"the root expires on {private.newest.expires:%Y-%m-%d}; then machines take nothing: `berth keys renew`"
        )
    signer = _Signer(state=state, private=private, now=now, written={})
    changed = targets != state.targets or sequences != state.sequences
    listed = signer.due("targets", changed=changed, notes=notes)
    if listed:
        signed = Targets(
            version=signer.version("targets"), expires=signer.expires("targets"), targets=dict(targets),
            unrecognized_fields={SEQUENCES: dict(sequences)},
        )  # fmt: skip
        named_targets = signer.sign(Metadata(signed))
    else:
        named_targets = state.signed["targets"].file
    if signer.due("snapshot", changed=listed, notes=notes):
        snapshot = Snapshot(
            version=signer.version("snapshot"), expires=signer.expires("snapshot"),
            meta={"targets.json": named_targets},
        )  # fmt: skip
        named_snapshot = signer.sign(Metadata(snapshot))
    else:
        named_snapshot = state.signed["snapshot"].file
    signer.sign(
        Metadata(
            Timestamp(
                version=signer.version("timestamp"), expires=signer.expires("timestamp"), snapshot_meta=named_snapshot
            )
        )
    )
    roots = [(metadata_path("root", root.signed.version), root.to_bytes(TEXT)) for root in private.roots[state.roots :]]
    first, last = ([], roots) if "timestamp" in state.signed else (roots, [])  # a new repository has no readers yet
    for path, data in (*first, *signer.written.items(), *last):
        files.write(path, data)
    return notes


@dataclass(frozen=True, kw_only=True, slots=True)
class _Signer:
    """Signs role by role; `written` has the files in their order, the timestamp last."""

    state: State
    private: KeyFolder
    now: datetime.datetime
    written: dict[str, bytes]

    @property
    def roots(self) -> list[Root]:
        """The root that the repository has, and those that are to come."""
        return [root.signed for root in self.private.roots[max(self.state.roots - 1, 0) :]]

    def due(self, role: str, *, changed: bool, notes: list[str]) -> bool:
        """Tell whether a role has to be signed anew: it changed, its keys did, or half of its time is over.

        One that is only old, and whose key is kept elsewhere, is left as it is; `notes` is told.
        """
        known = self.state.signed.get(role)
        if known is None or changed or len({frozenset(root.roles[role].keyids) for root in self.roots}) > 1:
            return True
        left = known.expires - self.now
        if left > lifetime(role, self.private.days[role]) / 2:
            return False
        if left > datetime.timedelta() and not self.private.has(role):
            notes.append(f"{role} expires in {left.days} days, and its key is not in {self.private.folder}")
            return False
        return True

    def version(self, role: str) -> int:
        """Return a new version's number: at least the time, so that a repository made anew is newer than its like."""
        known = self.state.signed.get(role)
        return max(known.version + 1 if known else 1, int(self.now.timestamp()))

    def expires(self, role: str) -> datetime.datetime:
        return self.now + lifetime(role, self.private.days[role])

    def sign(self, metadata: Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]) -> MetaFile:
        """Sign and put among what is to be written; return how the next role names it."""
        role, version = metadata.signed.type, metadata.signed.version
        for signer in self.private.signers(role, self.roots):
            metadata.sign(signer, append=True)
        data = metadata.to_bytes(TEXT)
        self.written[TIMESTAMP if role == "timestamp" else metadata_path(role, version)] = data
        return MetaFile.from_data(version, data, ["sha256"])
