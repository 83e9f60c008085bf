"""Taking away what no machine can ask for any more.

A machine that looked a moment ago is in the middle of an older state: so a state's files stay for a day after the next
one took its place, and only files of our own four folders, with names of our own forms, are ever touched.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tuf.api.metadata import Targets

from builder.errors import RepositoryError
from builder.repository.folder import Files
from builder.repository.state import TIMESTAMP, State, metadata_path, parsed, target_file_path
from init.formats import blocks
from init.formats import offer as offers
from init.formats.offer import Offer

GRACE = datetime.timedelta(days=1)
FOLDERS = ("metadata", "targets", "indexes", "packs")
_VERSIONED = re.compile(r"metadata/([0-9]+)\.(snapshot|targets)\.json")
_OWN = re.compile(
    r"metadata/[0-9]+\.(?:snapshot|targets)\.json|targets/.*/[0-9a-f]{64}\.[^/]*\.json"
    r"|indexes/[0-9a-f]{64}\.json|packs/[0-9a-f]{2}/[0-9a-f]{64}"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Swept:
    """What went; `size` in bytes."""

    files: int = 0
    size: int = 0


def sweep(files: Files, state: State, now: datetime.datetime) -> Swept:
    """Remove what neither this state nor one of the last day leads to; raise OSError.

    Where the way from a state to its packs can't be followed, nothing is removed: `berth repo check` tells why.
    """
    try:
        wanted = set(_wanted(files, state, now))
    except (RepositoryError, ValueError):
        return Swept()
    count = size = 0
    for path in unreferenced(files, wanted):
        size += files.size(path) or 0
        count += 1
        files.remove(path)
    return Swept(files=count, size=size)


def unreferenced(files: Files, wanted: set[str]) -> list[str]:
    """Return the files of our own that are not wanted."""
    found = [path for folder in FOLDERS for path in files.names(folder)]
    return [path for path in found if path not in wanted and _OWN.fullmatch(path)]


def _wanted(files: Files, state: State, now: datetime.datetime) -> Iterator[str]:
    yield TIMESTAMP
    targets = set()
    for role in ("snapshot", "targets"):
        for version in recent(files, role, state.signed[role].version, now):
            yield metadata_path(role, version)
            if role == "targets":
                targets.add(version)
    for version in targets:
        data = files.read(metadata_path("targets", version))
        if data is not None:
            listed = parsed(data, Targets, f"{version}.targets.json").signed.targets
            for path, target in listed.items():
                where = target_file_path(path, target)
                yield where
                offer = files.read(where)
                if offer is not None:
                    yield from of_offer(files, Offer.from_json(offer))


def recent(files: Files, role: str, current: int, now: datetime.datetime) -> set[int]:
    """Return a role's versions that may be in use: the current one, and those replaced within the last day."""
    known = sorted(
        int(found[1])
        for path in files.names("metadata")
        if (found := _VERSIONED.fullmatch(path)) and found[2] == role and int(found[1]) <= current
    )
    oldest = (now - GRACE).timestamp()
    followed = pairwise(known)
    return {current, *(one for one, after in followed if files.modified(metadata_path(role, after)) > oldest)}


def of_offer(files: Files, offer: Offer) -> Iterator[str]:
    """Yield the files that an offer leads to; raise ValueError where its indexes can't be read."""
    for image in (offer.boot, offer.root):
        path = offers.index_path(image.index_sha256)
        yield path
        data = files.read(path)
        if data is None:
            raise ValueError(f"{path} is missing")
        yield from packs_of(data)


def packs_of(index: bytes) -> Iterable[str]:
    """Return where an index's packs lie, by its head alone; raise ValueError for what has none."""
    head = json.loads(index.partition(b"\n")[0])
    try:
        return [blocks.pack_path(str(sha256)) for sha256, _ in head["packs"]]
    except (KeyError, TypeError) as error:
        raise ValueError("not an index of blocks") from error
