"""What makes a machine this one: its id, its clock's floor, its random seed; kept on state below `/var/lib/berth`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

FOLDER = "/var/lib/berth"
MACHINE_ID = f"{FOLDER}/machine-id"
CLOCK = f"{FOLDER}/clock"
SEED = f"{FOLDER}/random-seed"
_SEED_BYTES = 512
_HEX = frozenset("0123456789abcdef")
_LATEST = 4102444800  # the year 2100: a stamp beyond it is a fault, not a time


def is_machine_id(text: str) -> bool:
    """Tell whether a text is a machine id: 32 lower-case hex digits, not all zero (machine-id(5))."""
    return len(text) == 32 and set(text) <= _HEX and text != "0" * 32


def new_machine_id(random: bytes) -> str:
    """Return a machine id from 16 random bytes, a version 4 UUID as machine-id(5) wants it."""
    marked = bytearray(random)
    marked[6] = marked[6] & 0x0F | 0x40
    marked[8] = marked[8] & 0x3F | 0x80
    return marked.hex()


def machine_id(system: Early) -> str:
    """Return the machine's id, made and kept where there is none; raise OSError when it can't be kept."""
    if system.exists(MACHINE_ID):
        kept = system.read(MACHINE_ID, 64).decode("ascii", "replace").strip()
        if is_machine_id(kept):
            return kept
    made = new_machine_id(system.random_bytes(16))
    system.make_folder(FOLDER)
    system.replace(MACHINE_ID, made.encode() + b"\n", 0o444)
    return made


def clock_floor(epoch: int, stamp: bytes) -> float:
    """Return the time that the clock must not be below: the release's, or state's newest stamp if that is later."""
    text = stamp.decode("ascii", "replace").strip()
    newest = int(text) if text.isdecimal() and int(text) < _LATEST else 0
    return float(max(epoch, newest))


def set_clock(system: Early, epoch: int) -> bool:
    """Put the clock to its floor when it is below; return whether it was. Raise OSError."""
    stamp = system.read(CLOCK, 64) if system.exists(CLOCK) else b""
    floor = clock_floor(epoch, stamp)
    if system.time() >= floor:
        return False
    system.set_time(floor)
    return True


def stamp_clock(system: Early) -> None:
    """Keep the time on state, now and then and at shutdown; raise OSError."""
    system.replace(CLOCK, b"%d\n" % int(system.time()))


def use_seed(system: Early) -> None:
    """Feed the kernel the seed that was kept, and keep another: no seed is ever used twice. Raise OSError."""
    if system.exists(SEED):
        kept = system.read(SEED, _SEED_BYTES)
        save_seed(system)  # before it counts: a power cut must not let it count again
        system.add_entropy(kept, credit=len(kept) == _SEED_BYTES)
    else:
        save_seed(system)


def save_seed(system: Early) -> None:
    """Keep a seed for the next boot; raise OSError."""
    system.make_folder(FOLDER)
    system.replace(SEED, system.random_bytes(_SEED_BYTES), 0o600)
