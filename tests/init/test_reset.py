"""Back to the factory: what goes, what stays, and that a cut at any moment loses nothing that was to stay."""

from __future__ import annotations

import pytest
from fakes import machine
from fakes.system import FakeSystem

from init.pid1 import reset
from init.pid1.state import PLACE

DATA = {
    f"{PLACE}/var/lib/berth/volumes/data/x": b"goes",
    f"{PLACE}/var/lib/berth/instances/i-1.runcmd": b"",
    f"{PLACE}/var/log/web.log": b"goes",
    f"{PLACE}/home/ann/.ssh/authorized_keys": b"goes",
    f"{PLACE}/.overlay-srv/work": None,
}
WAYS_IN = {
    f"{PLACE}/var/lib/berth/config/user-data": b"#berth",
    f"{PLACE}/var/lib/berth/ssh/ssh_host_ed25519_key": b"key",
    f"{PLACE}/var/lib/berth/machine-id": b"id",
}
SLOTS = {f"{PLACE}/var/lib/berth/update/root.json": b"{}", f"{PLACE}/var/lib/berth/slots.json": b"{}"}


def made(*, everything: bool, fail_at: int | None = None) -> FakeSystem:
    system = machine.base("")
    system.tree.fill({**DATA, **WAYS_IN, **SLOTS})
    reset.wish(system, everything=everything)
    system.calls.clear()
    system.fail_at = fail_at
    return system


def check(system: FakeSystem, *, everything: bool) -> None:
    assert not any(system.exists(path) for path in DATA), [path for path in DATA if system.exists(path)]
    for path, data in SLOTS.items():
        assert system.read(path) == data
    for path, data in WAYS_IN.items():
        assert system.exists(path) is not everything
        assert everything or system.read(path) == data
    (service,) = reset.sweep(system)
    assert service.argv[-1].startswith(f"{PLACE}/.old-")


@pytest.mark.parametrize("everything", [False, True])
def test_what_was_written_goes_and_what_a_machine_needs_stays(everything: bool) -> None:
    system = made(everything=everything)
    assert "state was reset" in (reset.carry_out(system) or "")
    check(system, everything=everything)
    assert reset.carry_out(system) is None, "once"


@pytest.mark.parametrize("everything", [False, True])
def test_a_cut_at_any_moment_is_made_good_by_the_next_boot(everything: bool) -> None:
    whole = made(everything=everything)
    reset.carry_out(whole)
    for number in range(1, len(whole.calls)):
        system = made(everything=everything, fail_at=number)
        try:
            reset.carry_out(system)
        except OSError:
            system.tree.fill({f"{PLACE}/var/log": None})  # what the boot went on with
            assert reset.sweep(system) == (), "nothing is swept away before all is where it belongs"
            reset.carry_out(system)
        check(system, everything=everything)


def test_what_an_earlier_reset_left_is_swept_as_well() -> None:
    system = made(everything=False)
    reset.carry_out(system)
    system.tree.fill(DATA)
    system.replace(reset.WISH, b"data 2\n")  # the numbers of the fake are not random
    reset.carry_out(system)
    assert not any(system.exists(path) for path in DATA)
    (service,) = reset.sweep(system)
    assert len([word for word in service.argv if word.startswith(f"{PLACE}/.old-")]) == 2


def test_without_a_wish_nothing_is_touched() -> None:
    system = machine.base("")
    system.tree.fill({**DATA, **WAYS_IN})
    assert reset.carry_out(system) is None
    assert reset.sweep(system) == ()
    assert all(system.exists(path) for path in (*DATA, *WAYS_IN))
