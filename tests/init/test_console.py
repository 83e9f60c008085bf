"""Which of the kernel's consoles are used."""

from __future__ import annotations

import pytest
from fakes.system import FakeSystem

from init.pid1.console import Console
from init.pid1.loop import Loop


@pytest.mark.parametrize(
    ("kind", "used"), [(b"4\n", ("tty0", "ttyS0")), (b"0\n", ("tty0",)), (None, ("tty0", "ttyS0"))]
)
def test_a_serial_port_without_a_chip_is_no_console(kind: bytes | None, used: tuple[str, ...]) -> None:
    """The kernel names it all the same: a log-in there would end again and again, and the machine be degraded."""
    system = FakeSystem()
    system.tree.fill({"/sys/class/tty/console/active": b"tty0 ttyS0\n", "/dev/tty0": b"", "/dev/ttyS0": b""})
    if kind is not None:
        system.tree.fill({"/sys/class/tty/ttyS0/type": kind})
    console = Console(system, Loop(system, lambda where, error: None))
    console.open()
    assert console.names() == used
