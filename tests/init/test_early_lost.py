"""What the early half says where the boot record or a watchdog was to be had and could not be."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
from fakes import machine
from fakes.system import FakeSystem

from init.pid1 import early
from init.pid1.earlyresult import EarlyResult


class Events:
    def emit(self, event: str, **fields: object) -> None:
        pass


def boot(system: FakeSystem) -> EarlyResult:
    return early.run(system, Events())


def failing(make: Callable[[], FakeSystem], path: str, *, times: int | None = None) -> FakeSystem:
    """Return a machine where each read of `path` fails from the watchdog's first look on, `times` times or for good."""
    system = make()
    left = [times]

    def fails(name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(asked: str, *rest: Any) -> Any:
            begun = any(call.name == "open_watchdog" for call in system.calls)
            if asked == path and begun and left[0] != 0:
                left[0] = None if left[0] is None else left[0] - 1
                raise OSError(errno.EIO, os.strerror(errno.EIO), asked)
            return act(asked, *rest)

        return wrapper

    for name in ("read", "read_link", "names"):
        setattr(system, name, fails(name, getattr(system, name)))
    return system


LOOKED_AT = [
    "/sys/class/block",
    *(f"/sys/class/block/vda{number}{file}" for number in (3, 4) for file in ("/size", "/partition", "")),
]


@pytest.mark.parametrize("path", LOOKED_AT)
def test_a_record_whose_partitions_cannot_be_read_once_is_found_all_the_same(path: str) -> None:
    result = boot(failing(machine.installed, path, times=1))
    assert (result.outcome, result.degraded, result.record) == ("root", (), ("/dev/vda3", "/dev/vda4"))


@pytest.mark.parametrize("path", LOOKED_AT)
def test_a_record_that_cannot_be_found_is_said_with_a_cure(path: str) -> None:
    result = boot(failing(machine.installed, path))
    assert (result.outcome, result.record) == ("root", ())
    (said,) = [sentence for sentence in result.degraded if "boot record" in sentence]
    assert "/dev/vda" in said
    assert "no boot of this slot can count as good: restart" in said


def test_a_softdog_that_cannot_be_loaded_at_first_is_loaded_from_the_root() -> None:
    whole = machine.installed()
    boot(whole)
    number = next(n for n, call in enumerate(whole.calls, 1) if "softdog" in f"{call.arguments}")
    result = boot(machine.installed(fail_at=number))
    assert result.degraded == ()
    assert result.watchdog is not None


def test_a_watchdog_that_was_to_be_had_and_is_not_there_is_said() -> None:
    def refuses(system: FakeSystem) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def mute(system: FakeSystem) -> None:
        return None

    for fails, words in ((refuses, "Input/output error"), (mute, "it shows no device")):
        system = machine.installed()
        system.on_module["softdog"] = fails
        result = boot(system)
        assert (result.outcome, result.watchdog) == ("root", None)
        (said,) = result.degraded
        assert "softdog can't be opened" in said
        assert words in said
        assert "nothing resets the machine when it hangs: restart it" in said


HARDWARE = {"/class/watchdog/watchdog0/identity": b"i6300ESB timer\n"}


@pytest.mark.parametrize("trouble", ["", "open_watchdog", "read"])
def test_hardware_that_cannot_be_opened_is_said_and_softdog_takes_its_place(trouble: str) -> None:
    system = machine.installed()
    system.filesystems["sysfs"].update(HARDWARE)
    system.on_module["softdog"] = lambda machine_: machine_.tree.fill(
        {"/sys/class/watchdog/watchdog1/identity": b"Software Watchdog\n"}
    )
    if trouble:
        act = getattr(system, trouble)

        def fails(path: str, *rest: Any) -> Any:
            if "/watchdog0" in path:
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
            return act(path, *rest)

        setattr(system, trouble, fails)
    result = boot(system)
    assert result.outcome == "root"
    if trouble == "":
        assert result.degraded == ()
        assert result.watchdog is not None
        assert not result.watchdog.software
        assert system.watchdogs == [result.watchdog]
        return
    (said,) = result.degraded
    assert "the watchdog in hardware can't be opened: Device or resource busy" in said
    assert result.watchdog is not None
    assert result.watchdog.software
    assert system.watchdogs == [result.watchdog]


def test_a_machine_without_any_watchdog_is_as_it_should_be() -> None:
    """No hardware, and a kernel whose `softdog` the recipe left out."""
    system = machine.installed()
    for files in (system.tree.nodes, system.filesystems["/dev/vda7"]):
        for path, node in files.items():
            if path.endswith("/modules.dep") and isinstance(node, bytes):
                files[path] = node.replace(b"kernel/softdog.ko:\n", b"")
    result = boot(system)
    assert (result.outcome, result.watchdog, result.degraded) == ("root", None, ())
