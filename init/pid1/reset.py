"""Back to the factory: what was written to state goes at the next boot, before anything of it is used.

The operator's wish is a file on state. The next boot moves everything that was written into one folder, by renaming
alone, moves back what a machine needs to stay the one it is, and then takes the wish away: a power cut between any two
renames costs nothing, the boot after it goes on. The folder is emptied while the machine runs.

What stays is what the slots need (the update's metadata, the releases that came back) and, unless everything is to go,
the machine's name and ways in: its configuration, its SSH host key, its id.
"""

from __future__ import annotations

from init.formats.service import Readiness, Restart, Service
from init.pid1.state import FOLDERS, PLACE

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

WISH = f"{PLACE}/.reset"
OLD = ".old-"  # and the wish's own number: what an earlier one left there may still be on its way out
_HOME = "var/lib/berth"
SLOTS = ("update", "slots.json", "last-return.json", "clock", "random-seed")
WAYS_IN = ("config", "ssh", "machine-id")


def wish(system: Early, *, everything: bool) -> None:
    """Note that state is to be reset at the next boot; raise OSError."""
    number = system.random_bytes(8).hex()
    system.replace(WISH, f"{'everything' if everything else 'data'} {number}\n".encode(), 0o600)


def carry_out(system: Early) -> str | None:
    """Do what was wished, if anything was; return a sentence for people. Raise OSError: then it is done later."""
    if not system.exists(WISH):
        return None
    what, _, number = system.read(WISH, 64).decode("ascii", "replace").strip().partition(" ")
    everything = what == "everything"
    old = f"{PLACE}/{OLD}{''.join(filter(str.isalnum, number))}"
    system.make_folder(old, 0o700)
    for name in (*(name for name, _, _ in FOLDERS), *(f".overlay-{name}" for name, _, _ in FOLDERS)):
        # What is there twice was moved before a cut; the one in its place is new.
        if system.exists(f"{PLACE}/{name}") and not system.exists(f"{old}/{name}"):
            system.rename(f"{PLACE}/{name}", f"{old}/{name}")
    system.make_folder(f"{PLACE}/{_HOME}")
    for name in SLOTS if everything else SLOTS + WAYS_IN:
        if system.exists(f"{old}/{_HOME}/{name}"):
            system.rename(f"{old}/{_HOME}/{name}", f"{PLACE}/{_HOME}/{name}")
    system.remove(WISH)
    system.sync()
    return "state was reset: " + ("everything that was written is gone" if everything else "the ways in were kept")


def sweep(system: Early) -> tuple[Service, ...]:
    """Return the one-shot that empties what was moved away, where there is any; raise OSError."""
    old = tuple(f"{PLACE}/{name}" for name in system.names(PLACE) if name.startswith(OLD))
    if not old or system.exists(WISH):
        return ()
    return (
        Service(
            name="reset-sweep",
            argv=("/usr/bin/busybox", "rm", "-rf", *old),
            readiness=Readiness.EXIT,
            restart=Restart.ON_FAILURE,
            restart_limit=3,
            start_timeout=24 * 3600.0,
        ),
    )
