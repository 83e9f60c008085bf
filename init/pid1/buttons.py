"""The power button: input devices of the kernel (evdev) that have a power key.

What an input device sends is `struct input_event` (linux/input.h): two 64-bit numbers of time, type, code, value.
"""

from __future__ import annotations

import os

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from init.pid1.system import Early

    class Watching(Protocol):
        """The loop, or what stands for it in rescue."""

        def watch(self, descriptor: int, name: str, handler: Callable[[], None]) -> None:
            """Call `handler` whenever there is something to read."""

        def unwatch(self, descriptor: int) -> None:
            """Call it no more."""


FOLDER = "/sys/class/input"
EVENT_BYTES = 24
_EV_KEY = 1
_KEY_POWER = 116
_WORD_BITS = 64


def has_power_key(capabilities: str) -> bool:
    """Tell from `capabilities/key` (hexadecimal words of 64 bits, the highest first) whether there is a power key."""
    words = capabilities.split()
    index = _KEY_POWER // _WORD_BITS
    if index >= len(words):
        return False
    try:
        return bool(int(words[-1 - index], 16) >> (_KEY_POWER % _WORD_BITS) & 1)
    except ValueError:
        return False


def pressed(data: bytes) -> bool:
    """Tell whether the power key went down in what was read from an input device."""
    for at in range(0, len(data) - EVENT_BYTES + 1, EVENT_BYTES):
        kind = int.from_bytes(data[at + 16 : at + 18], "little")
        code = int.from_bytes(data[at + 18 : at + 20], "little")
        value = int.from_bytes(data[at + 20 : at + 24], "little")
        if kind == _EV_KEY and code == _KEY_POWER and value == 1:
            return True
    return False


class Buttons:
    """Watches every input device with a power key; `look` again whenever an input device came."""

    def __init__(self, system: Early, loop: Watching, on_press: Callable[[], None]) -> None:
        self._system = system
        self._loop = loop
        self._on_press = on_press
        self._open: dict[str, int] = {}

    def look(self) -> None:
        """Open the devices that are there and not open yet."""
        try:
            names = self._system.names(FOLDER)
        except OSError:
            return  # no input device at all
        for name in names:
            if not name.startswith("event") or name in self._open:
                continue
            try:
                keys = self._system.read(f"{FOLDER}/{name}/device/capabilities/key", 4096).decode("ascii", "replace")
                if has_power_key(keys):
                    self._watch(name)
            except OSError:
                continue  # it went away, or its node isn't there yet: its uevent comes

    def _watch(self, name: str) -> None:
        descriptor = self._system.open(f"/dev/input/{name}", os.O_RDONLY | os.O_NONBLOCK)
        self._loop.watch(descriptor, f"button {name}", lambda: self._read(name, descriptor))
        self._open[name] = descriptor

    def _read(self, name: str, descriptor: int) -> None:
        try:
            data = self._system.read_from(descriptor, 64 * EVENT_BYTES)
        except BlockingIOError:
            return
        except OSError:  # ENODEV: it was unplugged
            data = b""
        if not data:
            self._loop.unwatch(descriptor)
            self._system.close(descriptor)
            self._open.pop(name, None)
        elif pressed(data):
            self._on_press()
