"""The boot record: which slot boots next, and how often it may still try.

On the disk it is two copies, each one sector in a partition of its own, behind a ustar header (`disk`) and in the
form of a GRUB environment block (`envblock`), with these variables:

    seq       0–2    counts changes modulo 3: of two valid copies the one that is one ahead is newer
    order     ab ba  which slot is asked first
    tries_a/b 0–3    boots left; GRUB takes one away *before* it loads the slot's kernel
    good_a/b  0 1    the slot has passed its release gate
    check     1/seq/order/tries_a/good_a/tries_b/good_b: all of it once more, for GRUB can join text but not hash it

Rules, the same in GRUB's script (`builder/grub/disk.cfg.j2`) and in `decide`:

 0. The newer valid copy is in force; both equally new: copy 0. No valid copy: rescue.
 1. The first slot of `order` with a try left boots, after the record with one try less was written to the *other*
    copy and read back. Where that copy cannot be written (GRUB needs its signature and padding), the copy in force
    is written in place, with its sequence number as it is, and read back. (One more would make the other copy, one
    behind and perhaps still readable, look newer: its tries would come back at every second boot.)
 2. Where neither can be written, nothing boots that would not be counted: rescue.
 3. No slot has a try left: rescue.

PID 1 writes whole sectors, so it can also mend: `plan` says which copies to write, one after the other, each
synced and read back before the next. Everything here is a pure function; `tests/init/test_bootrecord*.py` go
through all records, damages and interruptions, `qemu-tests/test_grub_record.py` compares GRUB itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from init.formats import disk, envblock

# Spelt so, type checkers take it for true, and `typing` isn't imported: PID 1 would keep 400 kB of it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Slot = Literal["a", "b"]

LOADER_FORMAT = 1
FILE_NAME = "record.env"
BLOCK_BYTES = disk.SECTOR
COPY_BYTES = 2 * disk.SECTOR  # ustar header and block: what PID 1 reads and writes of a record partition
MAX_TRIES = 3
VARIABLES = ("seq", "order", "tries_a", "good_a", "tries_b", "good_b", "check")
CHECK_PATTERN = "^1/[0-2]/(ab|ba)/[0-3]/[01]/[0-3]/[01]$"  # for GRUB's regexp
_TRIES, _GOOD = ("0", "1", "2", "3"), ("0", "1")
# The same for PID 1, for which `re` alone would have to be imported.
_CHECK_WORDS = (("1",), ("0", "1", "2"), ("ab", "ba"), _TRIES, _GOOD, _TRIES, _GOOD)

SLOTS: tuple[Slot, Slot] = ("a", "b")


@dataclass(frozen=True, kw_only=True, slots=True)
class SlotState:
    """What the record knows of a slot: boots left, and whether it has passed its release gate."""

    tries: int = 0
    good: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One record. A slot that holds nothing has no tries and is not good."""

    sequence: int
    order: tuple[Slot, Slot]
    a: SlotState
    b: SlotState

    def slot(self, slot: Slot) -> SlotState:
        """Return one slot's state."""
        return self.a if slot == "a" else self.b

    def check(self) -> str:
        """Return the record once more as text."""
        order = "".join(self.order)
        numbers = f"{self.a.tries}/{int(self.a.good)}/{self.b.tries}/{int(self.b.good)}"
        return f"1/{self.sequence}/{order}/{numbers}"

    def values(self) -> dict[str, str]:
        """Return the block's variables, in the order in which they stand there."""
        return {
            "seq": str(self.sequence),
            "order": "".join(self.order),
            "tries_a": str(self.a.tries),
            "good_a": str(int(self.a.good)),
            "tries_b": str(self.b.tries),
            "good_b": str(int(self.b.good)),
            "check": self.check(),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Write:
    """A copy to write: `copy` is 0 or 1, `data` its header and block (`COPY_BYTES`)."""

    copy: int
    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What GRUB does: boot `slot`, or None for rescue; `writes` are the sectors that it changed on the way."""

    slot: Slot | None
    record: Record | None  # in force afterwards; None where no copy is valid
    writes: tuple[Write, ...]
    why: Literal["boot", "no-record", "not-writable", "no-tries"]


def other(slot: Slot) -> Slot:
    """Return the slot that is not `slot`."""
    return "b" if slot == "a" else "a"


# The bytes of one copy -------------------------------------------------------------------------------------


def tar_header(name: str, size: int) -> bytes:
    """Return a ustar header (POSIX.1-1988) of a plain file that belongs to root, last changed in 1970."""
    fields = (
        name.encode().ljust(100, b"\0")
        + b"0000644\x00"
        + b"0000000\x000000000\x00"
        + f"{size:011o}".encode()
        + b"\x0000000000000\x00"
        + b"        0"
        + bytes(100)
        + b"ustar\x0000"
        + b"root".ljust(32, b"\0")
        + b"root".ljust(32, b"\0")
        + b"0000000\x000000000\x00"
    ).ljust(disk.SECTOR, b"\0")
    return fields[:148] + f"{sum(fields):06o}\0 ".encode() + fields[156:]


HEADER = tar_header(FILE_NAME, BLOCK_BYTES)


def found(copy: bytes) -> bool:
    """Tell whether GRUB finds the record's file in a copy: what its `tar` reads of the header is as it was made.

    It asks for name, size, type and `ustar`, not for the checksum; the prefix must be empty.
    """
    header = copy[: disk.SECTOR]
    return (
        header[: len(FILE_NAME) + 1] == HEADER[: len(FILE_NAME) + 1]
        and header[124:135] == HEADER[124:135]
        and header[156:157] == b"0"
        and header[257:262] == b"ustar"
        and header[345:346] == b"\0"
    )


def encode(record: Record) -> bytes:
    """Return one copy as it stands on the disk, `COPY_BYTES` long: ustar header and environment block."""
    return HEADER + envblock.encode(record.values(), BLOCK_BYTES)


def parse_check(text: str) -> Record | None:
    """Read the text form of a record; None where it has not that form."""
    words = text.split("/")
    if len(words) != len(_CHECK_WORDS):
        return None
    if any(word not in allowed for word, allowed in zip(words, _CHECK_WORDS, strict=True)):
        return None
    _, sequence, order, tries_a, good_a, tries_b, good_b = words
    return Record(
        sequence=int(sequence),
        order=("a", "b") if order == "ab" else ("b", "a"),
        a=SlotState(tries=int(tries_a), good=good_a == "1"),
        b=SlotState(tries=int(tries_b), good=good_b == "1"),
    )


def decode(copy: bytes) -> Record | None:
    """Read one copy as GRUB's script does; None where it is not valid."""
    if len(copy) < COPY_BYTES or not found(copy):
        return None
    values = envblock.read(copy[disk.SECTOR : COPY_BYTES], VARIABLES)
    if values is None:
        return None
    record = parse_check(values.get("check", b"").decode("latin-1"))
    if record is None:
        return None
    expected = {name: value.encode() for name, value in record.values().items()}
    return record if values == expected else None


def is_sound(copy: bytes) -> bool:
    """Tell whether a copy is valid to the last byte, so that GRUB can write it, too."""
    record = decode(copy)
    return record is not None and copy[:COPY_BYTES] == encode(record)


def newer(first: Record | None, second: Record | None) -> int | None:
    """Return which of two copies is in force: 0 or 1; None where neither is valid."""
    if first is None:
        return None if second is None else 1
    if second is None:
        return 0
    return 1 if (second.sequence - first.sequence) % 3 == 1 else 0


def current(copies: tuple[bytes, bytes]) -> Record | None:
    """Return the record in force; None where neither copy is valid."""
    records = (decode(copies[0]), decode(copies[1]))
    index = newer(*records)
    return None if index is None else records[index]


# What GRUB does --------------------------------------------------------------------------------------------


def spend(record: Record, slot: Slot) -> Record:
    """Return the record with one try of `slot` taken away; the sequence number is the writer's to choose."""
    state = record.slot(slot)
    return _with(record, slot, replace(state, tries=state.tries - 1))


def first_with_tries(record: Record) -> Slot | None:
    """Return the slot that is to boot; None where no slot has a try left."""
    for slot in record.order:
        if record.slot(slot).tries > 0:
            return slot
    return None


def decide(copies: tuple[bytes, bytes], *, refused: frozenset[int] = frozenset()) -> Decision:
    """Return what GRUB's script does with the two copies (rules 0 to 3 above).

    `refused` are copies whose sector the drive does not write (it is read-only, or the sector is bad).
    """
    records = (decode(copies[0]), decode(copies[1]))
    index = newer(*records)
    record = None if index is None else records[index]
    if index is None or record is None:
        return Decision(slot=None, record=None, writes=(), why="no-record")
    slot = first_with_tries(record)
    if slot is None:
        return Decision(slot=None, record=record, writes=(), why="no-tries")
    spent = spend(record, slot)
    writes: list[Write] = []
    for copy, sequence in ((1 - index, (record.sequence + 1) % 3), (index, record.sequence)):
        wanted = replace(spent, sequence=sequence)
        written = _saved(copies[copy], wanted)
        if written is None or copy in refused:
            continue
        writes.append(Write(copy=copy, data=written))
        if decode(written) == wanted:
            return Decision(slot=slot, record=wanted, writes=tuple(writes), why="boot")
    return Decision(slot=None, record=record, writes=tuple(writes), why="not-writable")


def _saved(copy: bytes, record: Record) -> bytes | None:
    """Return a copy after GRUB's `save_env`; None where that writes nothing."""
    if not found(copy):
        return None
    block = envblock.write(copy[disk.SECTOR : COPY_BYTES], record.values())
    return None if block is None else copy[: disk.SECTOR] + block


# What PID 1, the updater and the installer do --------------------------------------------------------------


def _with(record: Record, slot: Slot, state: SlotState) -> Record:
    return replace(record, a=state) if slot == "a" else replace(record, b=state)


def _next(record: Record) -> Record:
    return replace(record, sequence=(record.sequence + 1) % 3)


def fresh(slot: Slot = "a", *, good: bool = False) -> Record:
    """Return the record of a disk on which only `slot` holds a release, not yet confirmed on this machine."""
    empty = Record(sequence=0, order=(slot, other(slot)), a=SlotState(), b=SlotState())
    return _with(empty, slot, SlotState(tries=MAX_TRIES, good=good))


def confirm(record: Record, slot: Slot) -> Record:
    """Release gate passed: `slot` is good, has all its tries, and is asked first from now on."""
    confirmed = _with(record, slot, SlotState(tries=MAX_TRIES, good=True))
    return replace(confirmed, order=(slot, other(slot)))


def arm(record: Record, slot: Slot) -> Record:
    """Boot gate passed: refill the running slot's tries, if it is confirmed or has nothing to fall back to.

    An unconfirmed slot beside a confirmed one keeps its count, so that it comes back to that one by itself. Without
    such a neighbour the count would only lead to rescue, where container health must never lead.
    """
    state = record.slot(slot)
    if state.good or not record.slot(other(slot)).good:
        return _with(record, slot, replace(state, tries=MAX_TRIES))
    return record


def vacate(record: Record, slot: Slot) -> Record:
    """Before `slot` is written over: it can no longer be booted, and the other slot is asked first."""
    return replace(_with(record, slot, SlotState()), order=(other(slot), slot))


def prefer(record: Record, slot: Slot, *, good: bool | None = None) -> Record:
    """Boot `slot` next, with all its tries: after an update (`good=False`) or for a rollback (None keeps it).

    A confirmed slot that is left has its tries refilled, since it is what a failure comes back to.
    """
    state = record.slot(slot)
    preferred = _with(record, slot, SlotState(tries=MAX_TRIES, good=state.good if good is None else good))
    left = other(slot)
    if record.slot(left).good:
        preferred = _with(preferred, left, SlotState(tries=MAX_TRIES, good=True))
    return replace(preferred, order=(slot, left))


def hold(record: Record, slot: Slot) -> Record:
    """Release gate failed, or the release came back: `slot` has no tries and is asked last.

    Nothing changes where the other slot is not confirmed: there is nothing better to boot.
    """
    if not record.slot(other(slot)).good:
        return record
    back = other(slot)
    held = _with(record, slot, SlotState(tries=0, good=False))
    return replace(_with(held, back, SlotState(tries=MAX_TRIES, good=True)), order=(back, slot))


def retried(record: Record, slot: Slot, holds: frozenset[Slot]) -> Record:
    """Somebody in rescue wants it tried again: all tries to each slot that is good or `holds` a boot image.

    Order and good stay. `slot` is the one whose kernel runs the rescue, so it holds one whatever else is known.
    """
    for each in SLOTS:
        state = record.slot(each)
        if state.good or each == slot or each in holds:
            record = _with(record, each, replace(state, tries=MAX_TRIES))
    return record


def came_back(record: Record, booted: Slot) -> Slot | None:
    """Return the slot that was to boot and has used up its tries, when GRUB took `booted` instead of it."""
    first = record.order[0]
    return first if first != booted and record.slot(first).tries == 0 else None


def settle(record: Record, booted: Slot) -> Record:
    """After `came_back` was reported: the slot that runs is the first, the other one is not asked any more."""
    left = other(booted)
    return replace(_with(record, left, SlotState()), order=(booted, left))


def plan(copies: tuple[bytes, bytes], wanted: Record) -> tuple[Write, ...]:
    """Return the writes, in order, that put `wanted` in force; its sequence number is chosen here.

    Each has to be synced and read back (O_DIRECT) before the next begins. The first goes to the copy that is not in
    force, so that at every instant one valid copy holds the old record or the new. Where the copy in force is not
    sound (GRUB could not write it), it is mended afterwards. Nothing to change gives no write, but a mending one.
    """
    records = (decode(copies[0]), decode(copies[1]))
    index = newer(*records)
    record = None if index is None else records[index]
    if index is None or record is None:
        data = encode(replace(wanted, sequence=0))
        return (Write(copy=0, data=data), Write(copy=1, data=data))
    unsound = [copy for copy in (1 - index, index) if not is_sound(copies[copy])]
    if replace(wanted, sequence=record.sequence) == record:
        return _mending(index, record, unsound)
    data = encode(replace(wanted, sequence=(record.sequence + 1) % 3))
    writes = [Write(copy=1 - index, data=data)]
    if index in unsound:
        writes.append(Write(copy=index, data=data))
    return tuple(writes)


def plan_in_place(copies: tuple[bytes, bytes], wanted: Record) -> tuple[Write, ...]:
    """Return the one write that puts `wanted` in force where the other copy cannot be written (a bad sector).

    It is not safe against a power cut, and the only way there is; GRUB does the same. The sequence number stays, so
    that whatever can still be read of the other copy remains older.
    """
    records = (decode(copies[0]), decode(copies[1]))
    index = newer(*records)
    record = None if index is None else records[index]
    if index is None or record is None:
        return ()
    return (Write(copy=index, data=encode(replace(wanted, sequence=record.sequence))),)


def _mending(index: int, record: Record, unsound: list[int]) -> tuple[Write, ...]:
    """Return the writes that make damaged copies sound without a change to the record in force."""
    if not unsound:
        return ()
    if index in unsound:  # first a sound copy that is newer, then the damaged one
        data = encode(_next(record))
        return (Write(copy=1 - index, data=data), Write(copy=index, data=data))
    return (Write(copy=1 - index, data=encode(record)),)


def applied(copies: tuple[bytes, bytes], writes: tuple[Write, ...]) -> tuple[bytes, bytes]:
    """Return the two copies after `writes`."""
    both = [copies[0], copies[1]]
    for write in writes:
        both[write.copy] = write.data
    return both[0], both[1]
