"""Publishing: a bundle becomes a release on a channel, a release goes from one channel to another, or is withdrawn.

Whatever is done, blocks and indexes come first under names that are their hashes, then the offer, then what is signed
(see `signing`). Who is killed leaves files that nothing leads to; the next publisher takes them away.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from tuf.api.metadata import TargetFile

from builder.artifact.unbundle import Bundle
from builder.errors import InputError, Place, RepositoryError
from builder.repository.folder import Files
from builder.repository.packs import Packed, pack, stored_by
from builder.repository.signing import KeyFolder, store_signed
from builder.repository.state import State, line, read_state, target_file_path
from builder.repository.sweep import Swept, sweep
from init.formats import blocks, offer
from init.formats.blocks import Index, Pack
from init.formats.offer import Image, Offer

SOON = {"timestamp": 7, "snapshot": 14, "targets": 30}  # days


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A release in bytes: `image` is the slot's, `new` the blocks that no release had, `written` what was stored."""

    image: int = 0
    new: int = 0
    written: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it. `changed`: False where all was there already. `offers`: what was published or withdrawn."""

    changed: bool
    offers: tuple[Offer, ...] = ()
    stored: Stored = field(default_factory=Stored)
    swept: Swept = field(default_factory=Swept)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Publisher:
    """One repository and one folder of keys. `keep`: releases to keep on each channel, None for all.

    All raise RepositoryError and InputError, and OSError where the folder can't be written.
    """

    files: Files
    private: KeyFolder
    now: datetime.datetime
    keep: int | None = None

    def publish(self, bundle: Bundle, channel: str, *, sequence: int | None = None) -> Outcome:
        """Publish a bundle as the channel's newest release; `sequence`: take a higher one than the next."""
        state = self._state()
        _verify(bundle)
        release = bundle.manifest.release
        known = state.newest(release.machine_class, _name("channel", channel))
        same, whole = self._known(state, bundle, known, channel)
        if same is not None and sequence not in (None, same.sequence):
            raise InputError(f"it is published already, as {same.machine_class}/{same.sequence}")
        if same is not None and whole:
            if same == known and "timestamp" not in state.signed:  # a publisher was killed before it, or it was lost
                return replace(self._store(state, notes=[]), offers=(same,))
            if same == known:
                return Outcome(
                    changed=False,
                    offers=(same,),
                    stored=Stored(image=same.boot.size + same.root.size),
                    notes=tuple(_ending(state, self.now)),
                )
            return self.promote(same.machine_class, same.sequence, channel)
        packed, stored = self._pack(bundle, state)
        last = state.last(release.machine_class)
        if same is not None:
            given = same.sequence
            notes = ["some of its blocks were missing from the repository: they are stored again"]
        elif sequence is not None and sequence <= last:
            raise InputError(f"--sequence {sequence}: the class {release.machine_class} is at {last} already")
        else:
            given = sequence or last + 1
            notes = []
        offered = _offer(bundle, packed, channel=channel, sequence=given, published=int(self.now.timestamp()))
        if same is None:
            notes.extend(_remarks(state, known, offered))
        self._write_packs(packed)
        return replace(self._store(state, put=(offered,), notes=notes), stored=stored)

    def promote(self, machine_class: str, sequence: int, channel: str) -> Outcome:
        """Put a kept release on another channel, under its own sequence."""
        state = self._state()
        found = _release(state, machine_class, sequence)
        moved = replace(found, channel=_name("channel", channel), published=int(self.now.timestamp()))
        known = state.newest(machine_class, channel)
        if known is not None and known.sequence == sequence and "timestamp" in state.signed:
            return Outcome(changed=False, offers=(known,))
        if known is not None and known.sequence > sequence:
            raise RepositoryError(
                f"{channel} has release {known.sequence} ({known.version}) already, and machines never go back to"
                f" {sequence}",
                hint="publish the older bundle again: it gets a new sequence",
            )
        highest = state.highest(machine_class, channel)
        notes = [f"machines that took {highest}, which was withdrawn, stay on it"] if highest > sequence else []
        return self._store(state, put=(moved,), notes=notes)

    def withdraw(self, machine_class: str, sequence: int) -> Outcome:
        """Take a release from all channels; each goes back to the newest that is left."""
        state = self._state()
        _release(state, machine_class, sequence)
        gone = {
            path: one
            for path, one in state.releases().items()
            if (one.machine_class, one.sequence) == (machine_class, sequence)
        }
        note = "machines that run it stay on it: to lead them away publish a newer release, or an older bundle again"
        return replace(self._store(state, drop=frozenset(gone), notes=[note]), offers=tuple(gone.values()))

    def refresh(self) -> Outcome:
        """Sign again what is due, the timestamp always."""
        state = self._state()
        if not state.signed:
            raise RepositoryError("nothing is published here yet", hint="berth publish BUNDLE --repo DIR --keys DIR")
        return self._store(state, notes=[])

    def _state(self) -> State:
        return read_state(self.files, self.private.roots)

    def _known(self, state: State, bundle: Bundle, newest: Offer | None, channel: str) -> tuple[Offer | None, bool]:
        """Return the release that a bundle is already, and whether all of it is there.

        It is one of the channel's that lost blocks, the channel's newest (unless a newer one was withdrawn: who
        publishes it again wants machines to go back to it), or a newer one from another channel.
        """
        release, boot = bundle.manifest.release, bundle.manifest.part("boot").sha256
        same = [
            one
            for one in state.releases().values()
            if (one.machine_class, one.slot_hash, one.version) == (release.machine_class, boot, release.version)
        ]
        for one in same:
            if one.channel == channel and not self._is_whole(one):
                return one, False
        found = [
            one
            for one in same
            if one.sequence >= state.highest(one.machine_class, channel) and (one.channel != channel or one == newest)
        ]
        best = max(found, key=lambda one: (one.channel == channel, one.sequence), default=None)
        return best, best is not None and self._is_whole(best)

    def _is_whole(self, one: Offer) -> bool:
        """Tell whether a release's indexes and packs are all there, each as long as it has to be."""
        for image in (one.boot, one.root):
            data = self.files.read(offer.index_path(image.index_sha256))
            if data is None or hashlib.sha256(data).hexdigest() != image.index_sha256:
                return False
            packs = {block.pack for block in Index.decode(data).blocks if block.pack}
            if any(self.files.size(blocks.pack_path(each.sha256)) != each.size for each in packs):
                return False
        return True

    def _pack(self, bundle: Bundle, state: State) -> tuple[dict[str, Packed], Stored]:
        """Cut both images; what the kept releases have stored, and is still there, is not stored again."""
        stored = self._stored(state)
        packed: dict[str, Packed] = {}
        for name, extent in (("boot", bundle.boot), ("root", bundle.root)):
            packed[name] = pack(bundle.pieces(extent), stored)
            index = packed[name].index
            if len(index.encode()) > blocks.LARGEST_INDEX:
                raise InputError(
                    f"the {name} image has {index.size} bytes, more than an update can have",
                    place=Place(file=str(bundle.path)),
                )
            stored |= stored_by([index])
        return packed, Stored(
            image=sum(one.index.size for one in packed.values()),
            new=sum(one.fresh for one in packed.values()),
            written=sum(each.size for one in packed.values() for each, _ in one.packs),
        )

    def _stored(self, state: State) -> dict[str, tuple[Pack, int]]:
        """Return where the kept releases' blocks are, the newest release's places first."""
        found: dict[str, tuple[Pack, int]] = {}
        there: dict[Pack, bool] = {}
        names = {
            image.index_sha256: None
            for one in sorted(state.offers.values(), key=lambda one: -one.sequence)
            for image in (one.boot, one.root)
        }
        for name in names:
            for block in _blocks(self.files.read(offer.index_path(name)), name):
                if block.pack is None or block.sha256 in found:
                    continue
                if block.pack not in there:
                    there[block.pack] = self.files.size(blocks.pack_path(block.pack.sha256)) == block.pack.size
                if there[block.pack]:
                    found[block.sha256] = (block.pack, block.offset)
        return found

    def _write_packs(self, packed: dict[str, Packed]) -> None:
        for one in packed.values():
            for each, data in one.packs:
                path = blocks.pack_path(each.sha256)
                if self.files.size(path) != each.size:
                    self.files.write(path, data)
            encoded = one.index.encode()
            path = offer.index_path(hashlib.sha256(encoded).hexdigest())
            if self.files.size(path) != len(encoded):
                self.files.write(path, encoded)

    def _store(
        self,
        state: State,
        *,
        put: tuple[Offer, ...] = (),
        drop: set[str] | frozenset[str] = frozenset(),
        notes: list[str],
    ) -> Outcome:
        """Sign the state with these offers in it, and without those releases; sweep."""
        releases = {path: one for path, one in state.releases().items() if path not in drop}
        releases |= {offer.release_target(one.machine_class, one.channel, one.sequence): one for one in put}
        offered = _with_newest(_kept(releases, self.keep))
        targets: dict[str, TargetFile] = {}
        for path, one in offered.items():
            data = one.to_json()
            targets[path] = TargetFile.from_data(path, data, ["sha256"])
            where = target_file_path(path, targets[path])
            if self.files.read(where) != data:
                self.files.write(where, data)
        sequences = dict(state.sequences)
        for one in put:
            name = line(one.machine_class, one.channel)
            sequences[name] = max(sequences.get(name, 0), one.sequence)
        said = store_signed(self.files, state, self.private, targets=targets, sequences=sequences, now=self.now)
        said += [f"{path} was lost, and is offered no more" for path in state.lost if path not in targets]
        return Outcome(
            changed=True, offers=put, swept=sweep(self.files, self._state(), self.now), notes=(*notes, *said)
        )


def _verify(bundle: Bundle) -> None:
    """Raise InputError where an image is not the one that the manifest names."""
    for name, extent in (("boot", bundle.boot), ("root", bundle.root)):
        digest = hashlib.sha256()
        for piece in bundle.pieces(extent):
            digest.update(piece)
        if digest.hexdigest() != bundle.manifest.part(name).sha256:
            raise InputError(
                f"damaged: the {name} image is not the one that its manifest names",
                hint="copy the bundle again, or build it again",
                place=Place(file=str(bundle.path)),
            )


def _offer(bundle: Bundle, packed: dict[str, Packed], *, channel: str, sequence: int, published: int) -> Offer:
    release, manifest = bundle.manifest.release, bundle.manifest
    made = Offer(
        machine_class=release.machine_class, channel=channel, sequence=sequence, version=release.version,
        loader=release.loader, epoch=release.epoch, published=published, boot=_image(packed["boot"]),
        root=_image(packed["root"]), root_hash=manifest.root_hash, hash_offset=manifest.hash_offset,
    )  # fmt: skip
    try:
        return Offer.from_json(made.to_json())  # what machines would refuse is not published
    except ValueError as error:
        raise InputError(f"it can't be offered: {error}", place=Place(file=str(bundle.path))) from error


def _image(packed: Packed) -> Image:
    encoded = packed.index.encode()
    return Image(
        size=packed.index.size,
        sha256=packed.index.sha256,
        index_size=len(encoded),
        index_sha256=hashlib.sha256(encoded).hexdigest(),
    )


def _blocks(data: bytes | None, name: str) -> tuple[blocks.Block, ...]:
    """Return an index's blocks; none where it is missing or altered: then what it told of is stored again."""
    if data is None or hashlib.sha256(data).hexdigest() != name:
        return ()
    return Index.decode(data).blocks


def _release(state: State, machine_class: str, sequence: int) -> Offer:
    for one in state.releases().values():
        if (one.machine_class, one.sequence) == (machine_class, sequence):
            return one
    there = sorted({f"{one.machine_class}/{one.sequence}" for one in state.releases().values()})
    raise InputError(
        f"there is no release {machine_class}/{sequence}", hint=f"there are {', '.join(there[-9:]) or 'none'}"
    )


def _name(what: str, text: str) -> str:
    try:
        return offer.name_of(what, text)
    except ValueError as error:
        raise InputError(str(error)) from error


def _kept(releases: dict[str, Offer], keep: int | None) -> dict[str, Offer]:
    """Return the newest `keep` releases of each channel."""
    if keep is None:
        return releases
    lines: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for path, one in releases.items():
        lines.setdefault((one.machine_class, one.channel), []).append((one.sequence, path))
    paths = {path for line in lines.values() for _, path in sorted(line)[-keep:]}
    return {path: one for path, one in releases.items() if path in paths}


def _with_newest(releases: dict[str, Offer]) -> dict[str, Offer]:
    """Add what machines ask for: each channel's newest release."""
    newest: dict[str, Offer] = {}
    for one in sorted(releases.values(), key=lambda one: one.sequence):
        newest[offer.channel_target(one.machine_class, one.channel)] = one
    return {**releases, **newest}


def _ending(state: State, now: datetime.datetime) -> Iterator[str]:
    """Say what expires within days, where nothing is signed that would renew it."""
    for role, signed in state.signed.items():
        left = (signed.expires - now).days
        if left < SOON[role]:
            yield f"{role} {'has expired' if signed.expires <= now else f'expires in {left} days'}: --refresh renews it"


def _remarks(state: State, known: Offer | None, offered: Offer) -> Iterator[str]:
    """Say what a person may not have meant."""
    if known is not None and offered.epoch < known.epoch:
        yield (
            f"{offered.version} was made before {known.version}, the newest on {offered.channel}: machines take it"
            " all the same, for it is published later"
        )
    if known is not None and offered.loader > known.loader:
        yield f"it needs loader format {offered.loader}: machines with an older one refuse it"
    for one in sorted(state.releases().values(), key=lambda one: one.sequence):
        if one.machine_class != offered.machine_class:
            continue
        if one.slot_hash == offered.slot_hash:
            yield (
                f"it holds the same slot as release {one.sequence} on {one.channel}: a machine that came back from"
                " that one holds this one, too"
            )
            return
        if one.version == offered.version:
            yield f"release {one.sequence} on {one.channel} has the same version and other contents"
            return
