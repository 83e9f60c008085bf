"""One update from end to end: look, decide, write the other slot, read it back, let it boot next.

Whatever happens on the way, the slot that runs is never written to, and the record says how it ended. A power cut at
any instant leaves the boot record as it was, or with the target out of the race; the next run goes on from what the
target holds.
"""

from __future__ import annotations

import resource
import time as times
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from init.formats import updates
from init.formats.blocks import Block, Index
from init.formats.offer import Image, Offer
from init.formats.updates import Attempt, Check, UpdateRecord
from init.updater import assemble, write
from init.updater.assemble import Piece
from init.updater.decide import Running, Verdict, decide
from init.updater.errors import FailedError, RefusedError, UpdateError
from init.updater.report import Keeper, Teller, stamp
from init.updater.slot import Slot
from init.updater.switch import Switch


class Repository(Protocol):
    """The half of a repository that is content-addressed."""

    fetched: int

    def index(self, sha256: str, size: int) -> Index:
        """Return an index; raise UpdateError."""

    def block(self, block: Block) -> bytes:
        """Return a block; raise UpdateError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Doors:
    """All that an update touches: where releases come from, where they go, who is told."""

    offer: Callable[[], Offer]  # raises UpdateError
    repository: Repository
    running: Slot
    target: Slot
    keeper: Keeper
    switch: Switch
    teller: Teller
    time: Callable[[], float] = times.time
    clock: Callable[[], float] = times.monotonic


def look(doors: Doors, machine: Running, *, again: bool) -> tuple[Offer | None, Verdict]:
    """Ask the repository, and keep what it said."""
    doors.teller.tell(updates.CHECKING)
    offer: Offer | None = None
    try:
        offer = doors.offer()
    except UpdateError as error:
        state = updates.REFUSED if isinstance(error, RefusedError) else updates.FAILED
        verdict = Verdict(state=state, reason=str(error))
    else:
        verdict = decide(offer, machine, doors.keeper.load(), again=again)
    record = doors.keeper.load()
    if offer is not None and verdict.state == updates.CURRENT:
        record = replace(record, sequence=max(record.sequence, offer.sequence))
    found = Check(
        at=stamp(doors.time()),
        state=verdict.state,
        version=offer.version if offer else "",
        sequence=offer.sequence if offer else 0,
        reason=verdict.reason,
    )
    doors.keeper.store(updates.checked(record, found))
    doors.teller.tell(verdict.state, version=found.version, reason=verdict.reason)
    return offer, verdict


def apply(doors: Doors, machine: Running, *, again: bool = False) -> bool:
    """Take the newest release, if there is one that may be taken. Return whether all went as it should."""
    offer, verdict = look(doors, machine, again=again)
    if offer is None:
        return False
    if verdict.state != updates.AVAILABLE:
        if verdict.state == updates.REFUSED:
            _keep_refusal(doors, offer, verdict.reason)
        return verdict.state == updates.CURRENT
    run = _Run(doors, offer)
    try:
        run.take()
    except RefusedError as error:
        run.end(updates.REFUSED, str(error))
    except FailedError as error:
        run.end(updates.FAILED, str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        run.end(updates.FAILED, f"{where}{error.strerror or error}")
    return run.attempt.state == updates.SWITCHED


def _keep_refusal(doors: Doors, offer: Offer, reason: str) -> None:
    """Note it once, however often the same release is refused for the same reason."""
    record = doors.keeper.load()
    now = stamp(doors.time())
    refused = _attempt(offer, now, state=updates.REFUSED, reason=reason)
    last = record.last
    if last is not None and (last.image, last.state, last.reason) == (refused.image, refused.state, refused.reason):
        doors.keeper.store(updates.advanced(record, replace(last, changed=now)))
    else:
        doors.keeper.store(updates.begun(record, refused))


def _attempt(offer: Offer, now: str, *, state: str, slot: str = "", reason: str = "") -> Attempt:
    return Attempt(
        version=offer.version,
        sequence=offer.sequence,
        image=offer.slot_hash,
        state=state,
        began=now,
        changed=now,
        slot=slot,
        reason=reason,
        size=offer.boot.size + offer.root.size,
    )


class _Run:
    """One attempt to take one release."""

    def __init__(self, doors: Doors, offer: Offer) -> None:
        self._doors = doors
        self._offer = offer
        self._start = doors.clock()
        self._done = 0
        self._record: UpdateRecord = updates.begun(
            doors.keeper.load(),
            _attempt(offer, stamp(doors.time()), state=updates.DOWNLOADING, slot=doors.target.name),
        )
        assert self._record.last is not None
        self.attempt = self._record.last
        self._before = (self.attempt.fetched, self.attempt.seconds)

    def take(self) -> None:
        """Raise UpdateError, OSError."""
        doors, offer = self._doors, self._offer
        self._move(updates.DOWNLOADING)
        boot, root = self._index("boot", offer.boot), self._index("root", offer.root)
        boot_pieces = assemble.missing(boot, doors.target.boot)
        root_pieces = assemble.missing(root, doors.target.root)
        planned = assemble.plan((*boot_pieces, *root_pieces), doors.running)
        self._done = self.attempt.size - sum(piece.block.size for piece in planned)
        doors.switch.vacate(doors.target.name)
        self._fill(planned, len(boot_pieces))
        write.verify(doors.target, boot, root, offer)
        self._move(updates.WRITTEN)
        doors.switch.prefer(doors.target.name)
        self._move(updates.SWITCHED)

    def _index(self, what: str, image: Image) -> Index:
        index = self._doors.repository.index(image.index_sha256, image.index_size)
        if (index.size, index.sha256) != (image.size, image.sha256):
            raise RefusedError(f"the index of the {what} image is another image's")
        return index

    def _fill(self, planned: tuple[Piece, ...], boot_count: int) -> None:
        target, source = self._doors.target, self._doors.repository
        write.fill(target.root, planned[boot_count:], source, self._on_written)
        write.fill(target.boot, planned[:boot_count], source, self._on_written)

    def _on_written(self, size: int) -> None:
        self._done += size
        self._say()

    def _say(self) -> None:
        self._doors.teller.tell(
            self.attempt.state,
            version=self.attempt.version,
            reason=self.attempt.reason,
            slot=self.attempt.slot,
            done=self._done,
            size=self.attempt.size,
            fetched=self._doors.repository.fetched,
        )

    def _move(self, state: str, reason: str = "") -> None:
        """Keep and tell a new state."""
        fetched, seconds = self._before
        fetched += self._doors.repository.fetched
        self.attempt = replace(
            self.attempt,
            state=state,
            reason=reason,
            changed=stamp(self._doors.time()),
            fetched=fetched,
            reused=max(0, self.attempt.size - fetched) if state in (updates.WRITTEN, updates.SWITCHED) else 0,
            seconds=round(seconds + self._doors.clock() - self._start, 3),
            memory=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        )
        self._record = updates.advanced(self._record, self.attempt)
        self._doors.keeper.store(self._record)
        self._say()

    def end(self, state: str, reason: str) -> None:
        """The attempt ends badly. The record is advice here: where state itself fails, PID 1 still hears it."""
        try:
            self._move(state, reason)
        except OSError as error:
            self.attempt = replace(self.attempt, state=state, reason=f"{reason}; it could not be kept: {error}")
            self._say()
