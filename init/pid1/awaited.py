"""Disks that are on their way: a bus has announced them, or may do so any moment.

SCSI says what is there before its driver takes it. A USB bus is asked by the kernel hub by hub and port by port, in the
background, so there is a time when a stick is plugged in and nothing in sysfs tells of it. What has come of the bus
tells whether that time is over: see `more_may_come`.
"""

from __future__ import annotations

from init.pid1.disks import CLASS

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

_USB = "/sys/bus/usb/devices"
_STORAGE = b"08"  # bInterfaceClass of mass storage, USB's class codes
_HUB = b"09"  # bDeviceClass
# Milliseconds from a device's connection until what is behind it, or at the next port, is under way: a hub's power
# (bPwrOn2PwrGood, up to 510 ms), a connection that has to be stable (100 ms; USB 2.0, 7.1.7.3), and its own reading.
_YOUNG, _YOUNG_HUB = 500, 1000
_AT_REST = (b"not attached", b"configured", b"suspended")  # a port's `state`: Documentation/ABI/testing/sysfs-bus-usb
_SCSI = "/sys/bus/scsi"  # SATA's disks and CDs, too
_SCSI_DRIVERS = {b"0": "sd", b"5": "sr"}  # by SCSI's peripheral device type


def awaited(system: Early) -> tuple[str, ...]:
    """Return the devices that announced storage and whose disk hasn't come yet. Raise OSError."""
    return (*_usb_awaited(system), *_scsi_awaited(system))


def _usb_awaited(system: Early) -> tuple[str, ...]:
    """The USB storage interfaces: sticks take a second or more."""
    if not system.exists(_USB):
        return ()
    interfaces = []
    for name in system.names(_USB):
        path = f"{_USB}/{name}/bInterfaceClass"
        if system.exists(path) and system.read(path, 16).strip() == _STORAGE:
            interfaces.append(name)
    if not interfaces:
        return ()
    places = [system.read_link(f"{CLASS}/{name}") for name in system.names(CLASS)]
    return tuple(name for name in interfaces if not any(f"/{name}/" in place for place in places))


def _scsi_awaited(system: Early) -> tuple[str, ...]:
    """The SCSI disks and CDs whose driver is here and hasn't taken them yet."""
    if not system.exists(f"{_SCSI}/devices"):
        return ()
    found = []
    for name in system.names(f"{_SCSI}/devices"):
        path = f"{_SCSI}/devices/{name}"
        if not system.exists(f"{path}/type") or system.exists(f"{path}/block"):
            continue
        driver = _SCSI_DRIVERS.get(system.read(f"{path}/type", 16).strip())
        if driver is not None and system.exists(f"{_SCSI}/drivers/{driver}"):
            found.append(name)
    return tuple(found)


def more_may_come(system: Early) -> bool:
    """Tell whether a USB bus is still being asked what hangs on it. Raise OSError where it can't be listed."""
    if not system.exists(_USB):
        return False
    return any(_moves(system, f"{_USB}/{name}") for name in system.names(_USB))


def _moves(system: Early, path: str) -> bool:
    """Tell whether a device is so young that more may come with it, or an interface's hub is at work on a port."""
    try:
        if system.exists(f"{path}/bDeviceClass"):
            age = int(system.read(f"{path}/power/connected_duration", 32))
            return age < (_YOUNG_HUB if system.read(f"{path}/bDeviceClass", 16).strip() == _HUB else _YOUNG)
        ports = [name for name in system.names(path) if "-port" in name]
        return any(system.read(f"{path}/{port}/state", 32).strip() not in _AT_REST for port in ports)
    except (OSError, ValueError):
        return False  # it went away meanwhile, or is of a kernel that does not tell
