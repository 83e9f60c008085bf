"""The forerunner: children of the early half that make ready what comes after it, where a processor is idle meanwhile.

The way to the first container is a chain, and the early half is one process: with a second processor beside it, the
files that the next links need are unpacked already, and the modules loaded, when it comes to them. Nothing waits for a
forerunner, and nothing depends on one: what it could not do is done when it is needed.
"""

from __future__ import annotations

from init.formats.release import APP_PATH
from init.pid1 import mounts
from init.pid1.devices import Devices, read_index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Early

BYTE_CODE = tuple(f"{APP_PATH}/init/{folder}" for folder in ("pid1", "formats", "pid1/linux", "containers"))
NEEDED = ("dm_verity", "erofs")
"""Modules that no device asks for, in the initramfs; `root.NEEDED_FOR_ISO` for an ISO."""
_PANIC_ON_OOPS = "/proc/sys/kernel/panic_on_oops"
_PATIENCE = 20.0  # seconds for a program that only tells its version


def begin(system: Early) -> None:
    """Let drivers be loaded while PID 1 imports the rest of itself. Raises nothing.

    The early half loads them all again, which costs little where they are there, and waits for one that is just being
    loaded (finit_module(2)). What fails here it meets there, and says so.
    """
    try:
        mounts.perform_first(system)
        system.aside(lambda: load_drivers(system))
    except OSError:
        return


def load_drivers(system: Early) -> None:
    """Load the modules for the devices that are there, and those that every root needs."""
    before = system.read(_PANIC_ON_OOPS, 16)
    # A driver that dies in PID 1 ends the boot, and the other slot comes; here PID 1 would wait for it for ever.
    system.write(_PANIC_ON_OOPS, b"1")
    try:
        devices = Devices(read_index(system))
        devices.coldplug(system)
        for name in NEEDED:
            devices.load(system, name)
    finally:
        system.write(_PANIC_ON_OOPS, before)


def read_byte_code(system: Early) -> None:
    """Read the byte code that goes on, from the root.

    A module that is imported asks for its pages here and there, and waits each time for EROFS to unpack a whole
    cluster; read from one end to the other, each is unpacked once, by another processor where there is one.
    """
    for folder in BYTE_CODE:
        for name in system.names(folder):
            if name.endswith(".pyc"):
                _read(system, f"{folder}/{name}")


def _read(system: Early, path: str) -> None:
    try:
        system.read_ahead(path)
    except OSError:
        return  # it is read when it is needed


def prepare_containers(system: Early, devices: Devices, engine: str) -> None:
    """Load the modules and read the programs that the engine's first container needs."""
    from init.containers import ahead  # noqa: PLC0415 - the initramfs has not got it: it comes from the root

    devices.hurry()
    for name in ahead.modules(engine):
        devices.load(system, name)
    for argv in ahead.programs(engine):
        system.run(argv, seconds=_PATIENCE)
