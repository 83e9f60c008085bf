"""The last of the three nets: which watchdog there is, and opening it while still in the initramfs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.devices import Devices
    from init.pid1.system import Early, Watchdog

SECONDS = 60
"""The time-out asked for once the loop runs: longer than any step of PID 1 may take, short enough for a fleet."""
EARLY_SECONDS = 180
"""Before that, where drivers' probes are waited for: the kernel gives a bad disk a minute and more."""

_CURE = "nothing resets the machine when it hangs: restart it; if it says so again, `berthctl logs init` has more"
_CLASS = "/sys/class/watchdog"
_CARD_RESET = 0x0020  # WDIOF_CARDRESET, linux/watchdog.h
_SOFTWARE = "Software Watchdog"  # drivers/watchdog/softdog.c


def _find(system: Early, *, software: bool) -> str | None:
    """Return the node of the first watchdog of that sort, None when there is none; raise OSError."""
    if not system.exists(_CLASS):
        return None  # the watchdog core isn't loaded, for no driver asked for it
    failure = None
    for name in system.names(_CLASS):
        try:
            identity = system.read(f"{_CLASS}/{name}/identity", 256).decode("utf-8", "replace").strip()
        except OSError as error:
            failure = error
            continue
        if (identity == _SOFTWARE) is software:
            return f"/dev/{name}"
    if failure is not None:
        raise failure
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


def open_hardware(system: Early) -> Watchdog | None:
    """Open the first one in hardware; None where none is there yet. Raise OSError."""
    found = _find(system, software=False)
    return system.open_watchdog(found, EARLY_SECONDS) if found is not None else None


def open_best(system: Early, devices: Devices, current: Watchdog | None) -> tuple[Watchdog | None, str | None]:
    """Open hardware, else `softdog`; with it comes a sentence about a better one that was to be had, None for none.

    One in hardware that is open already stays. A machine that has none, with a kernel that has no `softdog`, is as it
    should be.
    """
    if current is not None and not current.software:
        return current, None
    problem = None
    try:
        found = _find(system, software=False)
        if found is not None:
            if current is not None:
                system.close_watchdog(current)  # first: one that stays open and is not fed resets the machine
                current = None
            return system.open_watchdog(found, EARLY_SECONDS), None
    except OSError as error:
        problem = f"the watchdog in hardware can't be opened: {error.strerror}; {_CURE}"
    if current is not None:
        return current, problem
    try:
        known = devices.load(system, "softdog") or bool(devices.index.wanted("softdog"))
        found = _find(system, software=True)
        if found is not None:
            return system.open_watchdog(found, EARLY_SECONDS), problem
        why = next((told for told in reversed(devices.problems) if "softdog" in told), "it shows no device")
    except OSError as error:
        known, why = True, error.strerror or "it can't be read"
    return None, problem or (f"softdog can't be opened: {why}; {_CURE}" if known else None)
