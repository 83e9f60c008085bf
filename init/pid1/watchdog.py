"""The last of the three nets: which watchdog there is, and opening it while still in the initramfs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.devices import Devices
    from init.pid1.system import Early, Watchdog

SECONDS = 60
"""The time-out asked for: longer than any step of PID 1 may take, short enough for a fleet."""

_CLASS = "/sys/class/watchdog"
_CARD_RESET = 0x0020  # WDIOF_CARDRESET, linux/watchdog.h
_SOFTWARE = "Software Watchdog"  # drivers/watchdog/softdog.c


def hardware(system: Early) -> str | None:
    """Return the node of the first watchdog that is hardware; None when there is none."""
    return _find(system, software=False)


def _find(system: Early, *, software: bool) -> str | None:
    try:
        names = system.names(_CLASS)
    except OSError:
        return None  # the watchdog core isn't loaded, for no driver asked for it
    for name in names:
        try:
            identity = system.read(f"{_CLASS}/{name}/identity", 256).decode("utf-8", "replace").strip()
        except OSError:
            continue
        if (identity == _SOFTWARE) is software:
            return f"/dev/{name}"
    return None


def has_fired(system: Early) -> bool:
    """Tell whether a watchdog in hardware ended the boot before this one, as far as its driver can tell."""
    try:
        names = system.names(_CLASS)
    except OSError:
        return False
    for name in names:
        try:
            status = system.read(f"{_CLASS}/{name}/bootstatus", 64).decode("ascii", "replace").strip()
        except OSError:
            continue
        if status.isdecimal() and int(status) & _CARD_RESET:
            return True
    return False


def open_best(system: Early, devices: Devices, current: Watchdog | None) -> Watchdog | None:
    """Open hardware, else `softdog`; raise OSError. One in hardware that is open already stays."""
    if current is not None and not current.software:
        return current
    found = hardware(system)
    if found is not None:
        opened = system.open_watchdog(found, SECONDS)
        if current is not None:
            system.close_watchdog(current)
        return opened
    if current is not None:
        return current
    devices.load(system, "softdog")
    found = _find(system, software=True)
    return system.open_watchdog(found, SECONDS) if found is not None else None
