"""The offer: one published release, as a machine of its class and channel reads it. Signed as a target of TUF.

    metadata/           TUF: root, timestamp, snapshot, targets; consistent snapshots
    targets/CLASS/HASH.CHANNEL.json           the target `CLASS/CHANNEL.json`: the channel's newest offer
    targets/CLASS/CHANNEL/HASH.SEQUENCE.json  the target `CLASS/CHANNEL/SEQUENCE.json`: each release that is kept
    indexes/HASH.json   an index of blocks (see `blocks`), named by its SHA-256, which the offer tells
    packs/HA/HASH       a pack of blocks, named by its SHA-256, which the index tells

all below one folder or URL. A machine reads `CLASS/CHANNEL.json` and nothing but what hangs on it.

The slot hash, by which a release that came back is held, is the SHA-256 of the boot image: that holds the kernel's
command line, which names the root by its verity hash. So it vouches for both, and a release that is published again
under another sequence or version is still the same slot.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from init.formats.codec import decode, encode

FORMAT = "berth.offer/1"
NAME = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
"""The pattern of a class's or a channel's name: it becomes a file's, and none that is hidden."""
LARGEST = 64 << 10  # bytes of an encoded offer
METADATA_PATH = "metadata/"
TARGETS_PATH = "targets/"

_MOST_SEQUENCE = 1 << 53  # what JSON's readers agree on
_HEX = re.compile(r"[0-9a-f]{64}")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~-]{0,62}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """One of a slot's two images and the index of its blocks. Sizes in bytes; its partition must hold the image's."""

    size: int
    sha256: str
    index_size: int
    index_sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A release on a channel. `epoch` is its SOURCE_DATE_EPOCH, `published` when it was signed (seconds, UTC)."""

    machine_class: str
    channel: str
    sequence: int  # given by `berth publish`: grows with each release of a class, over all its channels
    version: str
    loader: int  # the loader format that the slot needs
    epoch: int  # the clock is never believed below it
    published: int
    boot: Image
    root: Image
    root_hash: str  # verity's, as in the boot image's command line
    hash_offset: int  # bytes from the root image's start to verity's superblock

    @property
    def slot_hash(self) -> str:
        """The name of what this release puts into a slot, whatever it is called."""
        return self.boot.sha256

    def to_json(self) -> bytes:
        """Return the target's bytes."""
        return json.dumps({"format": FORMAT, **encode(self)}, indent=1, sort_keys=True).encode() + b"\n"

    @staticmethod
    def from_json(data: bytes) -> Offer:
        """Read a target's bytes; raise ValueError, which says what is wrong, where they are not an offer."""
        if len(data) > LARGEST:
            raise ValueError(f"an offer has at most {LARGEST} bytes")
        try:
            value = json.loads(data)
            if value.pop("format") != FORMAT:
                raise ValueError(f"not an offer of the format {FORMAT}: a newer Berth may have made it")
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError("not an offer") from error
        offer = decode(Offer, value)
        _check(offer)
        return offer


def channel_target(machine_class: str, channel: str) -> str:
    """Return the target path of a channel's newest offer; raise ValueError for a name that is none."""
    return f"{name_of('class', machine_class)}/{name_of('channel', channel)}.json"


def release_target(machine_class: str, channel: str, sequence: int) -> str:
    """Return the target path of one kept release; raise ValueError for a name that is none."""
    return f"{name_of('class', machine_class)}/{name_of('channel', channel)}/{sequence}.json"


def index_path(sha256: str) -> str:
    """Return where an index of blocks lies, as a path below the repository's folder or URL."""
    return f"indexes/{sha256}.json"


def name_of(what: str, text: str) -> str:
    """Return a class's or channel's name as it is; raise ValueError where it can't be part of a path."""
    if not re.fullmatch(NAME, text):
        raise ValueError(f"a {what} is named by small letters, digits, `.`, `_` and `-`, at most 64: not {text[:80]!r}")
    return text


def _check(offer: Offer) -> None:
    name_of("class", offer.machine_class)
    name_of("channel", offer.channel)
    if not _VERSION.fullmatch(offer.version):
        raise ValueError("version: not a version's name")
    images = (offer.boot, offer.root)
    hashes = [offer.root_hash, *(image.sha256 for image in images), *(image.index_sha256 for image in images)]
    if not all(_HEX.fullmatch(each) for each in hashes):
        raise ValueError("a hash in the offer is not 64 hexadecimal digits")
    numbers = [offer.sequence, offer.loader, *(number for image in images for number in (image.size, image.index_size))]
    if not all(0 < number <= _MOST_SEQUENCE for number in numbers):
        raise ValueError("a number in the offer is out of bounds")
    if not 0 <= offer.epoch <= _MOST_SEQUENCE or not 0 <= offer.published <= _MOST_SEQUENCE:
        raise ValueError("a time in the offer is out of bounds")
    if not 0 < offer.hash_offset < offer.root.size or offer.hash_offset % 4096:
        raise ValueError("hash_offset: not a page inside the root image")
