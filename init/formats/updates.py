"""What a machine knows of its updates: one JSON file on state. Whoever asks gets the same answer after any reboot.

The updater writes it while it runs, PID 1 when a boot shows how an update ended; never both at a time. An attempt goes

    downloading → written → switched → good           the release passed its release gate
                                     → returned       it came back, and is held from now on
    any of the first two             → failed         something did not work; the next attempt goes on from there
    (before anything is written)     → refused        a rule forbids it: who signed, order, class, loader, space, held

Times are texts in UTC as RFC 3339 has them, sizes bytes. A release is known by the hash of its slot image: a version
can be given twice, a hash cannot.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from init.formats import codec

FORMAT = "berth.update-record/1"
FOLDER = "/var/lib/berth/update"
PATH = f"{FOLDER}/record.json"
HISTORY_MOST = 32
HELD_MOST = 64

CHECKING = "checking"
CURRENT = "current"
AVAILABLE = "available"
DOWNLOADING = "downloading"
WRITTEN = "written"
SWITCHED = "switched"
GOOD = "good"
RETURNED = "returned"
REFUSED = "refused"
FAILED = "failed"
BY_HAND = "rolled back by hand"  # a reason, beside those of a return


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One update: which release, where it went, how far it came, and what it cost."""

    version: str
    sequence: int
    image: str  # the slot image's hash, hex
    state: str
    began: str
    changed: str
    slot: str = ""  # where it is written: a or b
    reason: str = ""
    size: int = 0  # of the slot image
    fetched: int = 0  # from the repository
    reused: int = 0  # from this machine's own slots
    seconds: float = 0.0
    memory: int = 0  # the updater's peak


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """The newest look into the repository: `current`, `available`, `refused` or `failed`."""

    at: str
    state: str
    version: str = ""
    sequence: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A release that is not taken again by itself, and why."""

    image: str
    version: str
    reason: str
    at: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UpdateRecord:
    """All of it. `attempts` begins with the newest; `sequence` is the highest that was ever confirmed here."""

    checked: Check | None = None
    attempts: tuple[Attempt, ...] = ()
    held: tuple[Held, ...] = ()
    sequence: int = 0

    @property
    def last(self) -> Attempt | None:
        """The newest attempt."""
        return self.attempts[0] if self.attempts else None

    def holds(self, image: str) -> Held | None:
        """Return why a release is held; None for one that isn't."""
        return next((held for held in self.held if held.image == image), None)


def encode(record: UpdateRecord) -> bytes:
    """Return the file."""
    return json.dumps({"format": FORMAT, **codec.encode(record)}, ensure_ascii=False).encode() + b"\n"


def decode(data: bytes) -> UpdateRecord:
    """Read the file; raise ValueError for what is none."""
    try:
        value = json.loads(data)
    except RecursionError:
        raise ValueError("not a record of updates: nested too deep") from None
    if not isinstance(value, dict) or value.pop("format", None) != FORMAT:
        raise ValueError(f"not a record of updates ({FORMAT})")
    return codec.decode(UpdateRecord, value)


def checked(record: UpdateRecord, check: Check) -> UpdateRecord:
    """Note the newest look."""
    return replace(record, checked=check)


def begun(record: UpdateRecord, attempt: Attempt) -> UpdateRecord:
    """Add an attempt. The same release into the same slot, cut short before, is one attempt that goes on."""
    last = record.last
    older = record.attempts
    if last is not None and (last.image, last.slot) == (attempt.image, attempt.slot) and unfinished(last):
        attempt = replace(attempt, began=last.began, fetched=last.fetched, seconds=last.seconds)
        older = older[1:]
    return replace(record, attempts=(attempt, *older)[:HISTORY_MOST])


def unfinished(attempt: Attempt) -> bool:
    """Tell whether an attempt stopped before its release was there to boot."""
    return attempt.state in (DOWNLOADING, WRITTEN, FAILED)


def advanced(record: UpdateRecord, attempt: Attempt) -> UpdateRecord:
    """Replace the newest attempt by what it has become."""
    return replace(record, attempts=(attempt, *record.attempts[1:]))


def held(record: UpdateRecord, image: str, version: str, reason: str, at: str) -> UpdateRecord:
    """Hold a release until somebody says otherwise."""
    others = tuple(one for one in record.held if one.image != image)
    return replace(record, held=(Held(image=image, version=version, reason=reason, at=at), *others)[:HELD_MOST])


def released(record: UpdateRecord, image: str) -> UpdateRecord:
    """Hold a release no longer: somebody said so."""
    return replace(record, held=tuple(one for one in record.held if one.image != image))


def _of_slot(record: UpdateRecord, slot: str) -> int | None:
    """Return which attempt put into a slot what it holds: the newest that got so far as to be booted."""
    for number, attempt in enumerate(record.attempts):
        if attempt.slot == slot:
            return number if attempt.state in (WRITTEN, SWITCHED, GOOD) else None
    return None


def confirmed(record: UpdateRecord, slot: str, at: str) -> UpdateRecord:
    """The slot that runs passed its release gate: an update that put it there is done.

    One that is only `written` was cut short between the boot record's change and this record's.
    """
    number = _of_slot(record, slot)
    if number is None or record.attempts[number].state == GOOD:
        return record
    attempt = replace(record.attempts[number], state=GOOD, reason="", changed=at)
    done = _with(record, number, attempt)
    return replace(released(done, attempt.image), sequence=max(record.sequence, attempt.sequence))


def came_back(record: UpdateRecord, slot: str, reason: str, at: str) -> UpdateRecord:
    """The release in `slot` did not make it: its update ends so, and it is held."""
    number = _of_slot(record, slot)
    if number is None:
        return record
    attempt = replace(record.attempts[number], state=RETURNED, reason=reason, changed=at)
    return held(_with(record, number, attempt), attempt.image, attempt.version, reason, at)


def explained(record: UpdateRecord, slot: str, reason: str) -> UpdateRecord:
    """More is known of why the release in `slot` came back, which `came_back` has noted."""
    for number, attempt in enumerate(record.attempts):
        if attempt.slot == slot:
            if attempt.state != RETURNED:
                break
            told = _with(record, number, replace(attempt, reason=reason))
            holds = tuple(replace(one, reason=reason) if one.image == attempt.image else one for one in record.held)
            return replace(told, held=holds)
    return record


def rolled_back(record: UpdateRecord, slot: str, at: str) -> UpdateRecord:
    """Somebody chose the other slot over the one that runs: that release is held, else policy would take it again."""
    number = _of_slot(record, slot)
    if number is None:
        return record
    attempt = record.attempts[number]
    return held(record, attempt.image, attempt.version, BY_HAND, at)


def _with(record: UpdateRecord, number: int, attempt: Attempt) -> UpdateRecord:
    attempts = (*record.attempts[:number], attempt, *record.attempts[number + 1 :])
    return replace(record, attempts=attempts)
