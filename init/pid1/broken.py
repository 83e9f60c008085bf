"""PID 1 could not even begin: its own code raised before there was a net. Said, left for the next boot, and rebooted.

`/init` calls this with whatever `init.pid1.main` raised. It leans on as little as it can: the door to the kernel, the
search for the booted disk, the phase's sector. Should one of these be what is broken, PID 1 ends, the kernel panics
and reboots; then nothing was written, and the next boot can only say `no-init`.
"""

from __future__ import annotations

import init.light  # first: whatever is imported from here on makes its values the light way
import init.lightjson  # noqa: F401 - and writes them so

# isort: split
from init.formats import cmdline
from init.pid1 import mounts, root
from init.pid1.devices import Devices, read_index
from init.pid1.linux.early import EarlyKernel
from init.pid1.loop import origin
from init.pid1.record import BootRecord

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

PAUSE = 5.0  # seconds between the fault and the reboot, so that people can read what it was
DISK_WITHIN = 15.0  # seconds for the booted disk to appear


def end(error: BaseException) -> None:
    """Say what PID 1 raised, leave it beside the boot record, and reboot. Returns only where that is refused."""
    kernel = EarlyKernel()
    give_up(kernel, f"{type(error).__name__}: {error}{origin(error)}")


def give_up(system: Early, text: str) -> None:
    """Do the same for a fault that is told in words. Each part is tried: the reboot matters most."""
    _say(system, f"PID 1 could not begin: {text}")
    try:
        where = leave_reason(system, text)
    except Exception as fault:  # whatever else is wrong: the reboot must come
        where = f"the reason could not be left for the next boot: {type(fault).__name__}: {fault}"
    _say(system, where)
    _say(system, f"reboot in {PAUSE:g} s")
    try:
        system.wait_readable((), PAUSE)
        system.sync()
    finally:
        system.power("reboot")


def leave_reason(system: Early, text: str) -> str:
    """Write reason and detail into the phase's sector of the disk that booted; return a sentence. Raise OSError."""
    mounts.perform_first(system)
    line = cmdline.parse(system.read("/proc/cmdline", 65536).decode("utf-8", "replace"))
    if line.record is None or line.slot is None:
        return "no slot of a disk was booted, so nothing is kept of it"
    boot_id = system.read("/proc/sys/kernel/random/boot_id", 64).decode("ascii", "replace").strip()
    partitions = _partitions(system, line.record)
    if not partitions:
        return f"the disk that booted did not appear within {DISK_WITHIN:g} s, so nothing is kept of it"
    record = BootRecord(system, partitions, line.slot, boot_id)
    record.enter("initramfs", reason="init-exception", detail=text)
    return "the next boot will tell it, too"


def _partitions(system: Early, record: str) -> tuple[str, ...]:
    """Load the drivers and wait for the disk; return `()` where it does not come."""
    news = system.open_uevents()
    devices = Devices(read_index(system))
    devices.coldplug(system)
    deadline = system.now() + DISK_WITHIN
    while True:
        found = root.records_without_root(system, record)
        left = deadline - system.now()
        if found or left <= 0:
            return found
        if system.wait_readable([news], min(left, 1.0)):
            for event in system.read_uevents(news):
                devices.handle(system, event)


def _say(system: Early, text: str) -> None:
    try:
        system.write_to(2, f"\r\nberth: {text}\r\n".encode("utf-8", "replace"))
    except OSError:
        return  # nobody can be told of it
