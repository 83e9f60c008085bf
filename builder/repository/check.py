"""Everything that machines would verify of a repository, and more: all faults at once, each with its cure.

The way is the machines' own: root by root, timestamp, snapshot, targets, offers, indexes, packs. What can't be read
ends its own branch alone.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from builder.errors import BerthError
from builder.fetch.http import Gone, Refused
from builder.repository.images import MISSING, Images
from builder.repository.source import Source
from builder.repository.state import TIMESTAMP, Role, metadata_path, parsed, target_file_path, verified
from init.formats import offer as offers
from init.formats.offer import Offer

LARGEST = 4 << 20  # bytes of a metadata file
ROOT_LARGEST = 1 << 19  # what machines read of a root
_NAMED = 3  # releases in a cure
REFRESH = "berth publish --refresh"
OFFERS_ANEW = f"{REFRESH}: offers are written anew, those that are lost for good are taken off"
RESTORED = (
    "restore it from a copy; without one delete timestamp.json, the snapshots and the targets in metadata/,"
    " then publish the bundles anew, the first with --sequence above what machines have"
)
_ROOTS_MOST = 1024  # machines follow no more


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What is wrong with a file, and what to do."""

    path: str
    message: str
    cure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadatum:
    """One role's newest metadata, as it was found."""

    role: str
    version: int
    expires: datetime.datetime


@dataclass(kw_only=True)
class Findings:
    """What was found; `wanted` are all files that something leads to."""

    faults: list[Fault] = field(default_factory=list)
    roles: list[Metadatum] = field(default_factory=list)
    offers: dict[str, Offer] = field(default_factory=dict)  # by the target's path
    wanted: set[str] = field(default_factory=set)

    def fault(self, path: str, message: str, cure: str) -> None:
        """Note a fault, once."""
        fault = Fault(path=path, message=message, cure=cure)
        if fault not in self.faults:
            self.faults.append(fault)


def check(source: Source, *, trusted: bytes | None, now: datetime.datetime) -> Findings:
    """Check a repository. `trusted`: the root that machines were given; without it the repository's first is believed.

    Raise BerthError, OSError where it can't be reached at all.
    """
    found = Findings()
    source.read(TIMESTAMP, LARGEST)  # an address that leads nowhere is no repository with faults
    reader = _Reader(source=source, found=found, now=now)
    root = reader.root(trusted)
    if root is None:
        return found
    timestamp = reader.role(TIMESTAMP, Timestamp, root, None)
    if timestamp is None:
        return found
    named = timestamp.snapshot_meta
    snapshot = reader.role(metadata_path("snapshot", named.version), Snapshot, root, named)
    if snapshot is None:
        return found
    known = snapshot.meta.get("targets.json")
    if known is None:
        found.fault(metadata_path("snapshot", named.version), "it names no targets", REFRESH)
        return found
    targets = reader.role(metadata_path("targets", known.version), Targets, root, known)
    if targets is not None:
        for path, target in sorted(targets.targets.items()):
            reader.offer(path, target)
        _check_newest(found)
        reader.images()
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Reader:
    source: Source
    found: Findings
    now: datetime.datetime

    def read(self, path: str, limit: int, cure: str) -> bytes | None:
        """Return a file that has to be there; None where it is not, which is noted."""
        self.found.wanted.add(path)
        try:
            data = self.source.read(path, limit)
        except (BerthError, OSError) as error:
            self.found.fault(path, f"can't be read: {error}", cure)
            return None
        if data is None:
            self.found.fault(path, "is missing", cure)
        elif len(data) > limit:
            self.found.fault(path, f"has more than {limit} bytes", cure)
            return None
        return data

    def root(self, trusted: bytes | None) -> Root | None:
        """Follow the roots to the newest; None where there is none to begin with."""
        cure = "copy it from roots/ of the folder of keys"
        first = metadata_path("root", 1)
        data = trusted if trusted is not None else self.read(first, ROOT_LARGEST, cure)
        if data is None:
            return None
        try:
            root = parsed(data, Root, "the trusted root" if trusted is not None else first).signed
            version = root.version
            verified(data, Root, root, first)
            for older in range(1, version + 1):  # machines that were given an older one need all that follow
                own = self.read(metadata_path("root", older), ROOT_LARGEST, cure)
                if own is not None and older == version and parsed(own, Root, first).signed != root:
                    self.found.fault(metadata_path("root", older), "is not the trusted root: other keys made it", cure)
                    return None
            while version < _ROOTS_MOST:
                path = metadata_path("root", version + 1)
                data = self.source.read(path, ROOT_LARGEST)
                if data is None:
                    break
                self.found.wanted.add(path)
                after = parsed(data, Root, path)
                if after.signed.version != version + 1:
                    self.found.fault(path, f"is version {after.signed.version}", cure)
                    break
                root.verify_delegate("root", after.signed_bytes, after.signatures)
                after.signed.verify_delegate("root", after.signed_bytes, after.signatures)
                root, version = after.signed, version + 1
        except (BerthError, TufError) as error:
            self.found.fault(metadata_path("root", 1), f"the roots can't be followed: {error}", cure)
            return None
        self.expiry(metadata_path("root", version), root, "berth keys renew, then berth publish --refresh")
        return root

    def role(self, path: str, kind: type[Role], root: Root, named: MetaFile | None) -> Role | None:
        """Read and verify a role's metadata, which `named` has to name; None where that fails."""
        data = self.read(path, LARGEST, REFRESH if named is None else RESTORED)
        if data is None:
            return None
        try:
            if named is not None:
                named.verify_length_and_hashes(data)
            metadata: Metadata[Role] = verified(data, kind, root, path)
        except BerthError as error:
            self.found.fault(path, error.message.removeprefix(f"{path} "), REFRESH if named is None else RESTORED)
            return None
        except TufError as error:
            self.found.fault(path, f"is not what was signed: {error}", RESTORED)
            return None
        if named is not None and metadata.signed.version != named.version:
            self.found.fault(path, f"is version {metadata.signed.version}, not {named.version}", RESTORED)
            return None
        self.expiry(path, metadata.signed, REFRESH)
        return metadata.signed

    def expiry(self, path: str, signed: Root | Timestamp | Snapshot | Targets, cure: str) -> None:
        """Note a role, and that its time is over."""
        self.found.roles.append(Metadatum(role=signed.type, version=signed.version, expires=signed.expires))
        if signed.expires <= self.now:
            self.found.fault(path, f"expired on {signed.expires:%Y-%m-%d}: machines take nothing", cure)

    def offer(self, path: str, target: TargetFile) -> None:
        """Read a target, and compare it with its name."""
        where = target_file_path(path, target)
        data = self.read(where, offers.LARGEST, OFFERS_ANEW)
        if data is None:
            return
        if len(data) != target.length or hashlib.sha256(data).hexdigest() != target.hashes.get("sha256"):
            self.found.fault(where, "is not what was signed", OFFERS_ANEW)
            return
        try:
            one = Offer.from_json(data)
        except ValueError as error:
            self.found.fault(where, f"is no offer: {error}", OFFERS_ANEW)
            return
        names = (
            offers.channel_target(one.machine_class, one.channel),
            offers.release_target(one.machine_class, one.channel, one.sequence),
        )
        if path not in names:
            self.found.fault(where, f"is offered as {path}, and speaks of {names[1]}", OFFERS_ANEW)
        self.found.offers[path] = one

    def images(self) -> None:
        """Check indexes and packs; of each channel's newest release the images as a whole, too."""
        images = Images(read=self._stored)
        for path, one in sorted(self.found.offers.items(), key=lambda item: item[0].count("/")):
            images.check(one, whole=path.count("/") == 1)
        for path, (message, needed_by) in images.wrong.items():
            which = f"{', '.join(sorted(needed_by)[:_NAMED])}{' and others' if len(needed_by) > _NAMED else ''}"
            again = f"publish the bundle of {which} again there (its sequence stays), or withdraw it"
            self.found.fault(path, message, again if message == MISSING else f"delete it, then {again}")

    def _stored(self, path: str, limit: int) -> bytes | None:
        self.found.wanted.add(path)
        try:
            return self.source.read(path, limit)
        except (Gone, Refused):
            return b""  # more than may come, or none: altered


def _check_newest(found: Findings) -> None:
    """Each channel's newest release is the one that machines are offered."""
    highest: dict[str, int] = {}
    for path, one in found.offers.items():
        if path.count("/") > 1:
            name = offers.channel_target(one.machine_class, one.channel)
            highest[name] = max(highest.get(name, 0), one.sequence)
    for name, sequence in _newest(found.offers):
        if highest.get(name, sequence) != sequence:
            found.fault(name, f"offers {sequence}, while {highest[name]} is on the channel", OFFERS_ANEW)


def _newest(known: Mapping[str, Offer]) -> Iterator[tuple[str, int]]:
    for path, one in known.items():
        if path.count("/") == 1:
            yield path, one.sequence
