"""A whole life of PID 1 on the fake kernel, and what it is like where something is not as it should be."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Sequence
from dataclasses import replace

import pytest
from fakes.life import CONFIGURED, MEMORY, Life, make, programs, without_the_image
from fakes.processes import Program
from fakes.running import RunningSystem

from init.formats import bootrecord, events
from init.formats import machine as formats
from init.formats.machine import Machine
from init.pid1 import sources
from init.pid1.sshd import fingerprint
from init.pid1.state import PLACE


def test_a_life_as_it_should_be():
    life = Life()
    assert life.system.powered == "poweroff"
    assert PLACE not in life.system.mounted
    names = life.names()
    assert [name for name in names if name in (events.INIT_FAULT, events.HEALTH_DEGRADED, events.SERVICE_FAILED)] == []
    for name in (events.CONFIG_APPLIED, events.NETWORK_UP, events.CONTAINER_HEALTHY, events.HEALTH_PASSED):
        assert name in names
    assert (
        names.index(events.SHUTDOWN_BEGUN) < names.index(events.CONTAINER_EXITED) < names.index(events.SHUTDOWN_CLEAN)
    )
    assert events.BOOT_GOOD in names, "the first boot of a fresh disk confirms its slot"
    assert life.events[-1]["state_unmounted"] is True
    status = life.answers[0]
    assert [call.arguments[1] for call in life.system.calls if call.name == "replace"].count(MEMORY) == 1
    assert status["hostname"] == "box1"
    assert status["media"] == "disk"
    assert status["state"]["kind"] == "ext4"
    assert status["slots"]["a"] == {"version": "1", "tries": 3, "good": True, "booted": True}
    assert status["containers"][0]["health"] == "healthy"


ALL_SOURCES, LAST_GOOD_ALONE = "all sources", "the last good one alone"


def run_of_the_config_child(argv: Sequence[str]) -> str | None:
    if "config" not in argv[:5] or "--default" not in argv:
        return None
    return ALL_SOURCES if "--cmdline" in argv else LAST_GOOD_ALONE


def life_of_a_new_release(lost: tuple[str, ...], machine_of_the_last_good: Machine) -> Life:
    """Slot a is new, slot b confirmed; the runs in `lost` of the config child end with a traceback."""

    def does(argv: Sequence[str]) -> Program:
        asked = run_of_the_config_child(argv)
        if asked is None:
            return programs(argv)
        if asked in lost:
            return Program(seconds=0.1, status=1)
        report = {"machine": formats.encode(machine_of_the_last_good), "source": "last-good", "diagnostics": []}
        return Program(seconds=0.1, output=json.dumps(report).encode())

    system = make(does=does)
    record = bootrecord.prefer(bootrecord.fresh("b", good=True), "a", good=False)
    for part in ("vda3", "vda4"):
        system.blocks[f"/dev/{part}"].write(0, bootrecord.encode(record))
    kept = {f"{sources.LAST_GOOD}/user-data": b"#cloud-config\n", sources.LAST_GOOD_SHA256: b"ab\n"}
    system.filesystems["/dev/vda9"] = dict(kept)
    return Life(system=system)


def test_a_new_release_whose_config_program_dies_is_given_back():
    life = life_of_a_new_release((ALL_SOURCES, LAST_GOOD_ALONE), CONFIGURED)
    assert events.BOOT_GOOD not in life.names()
    assert life.system.powered == "reboot"
    begun = next(event for event in life.events if event["event"] == events.SHUTDOWN_BEGUN)
    assert begun["why"].startswith("release gate: the new release refuses the config: the config child ended")


def test_a_lost_config_child_leaves_the_last_good_one_in_force():
    life = life_of_a_new_release((ALL_SOURCES,), replace(CONFIGURED, hostname="kept"))
    refused = next(event for event in life.events if event["event"] == events.CONFIG_REFUSED)
    assert refused["in_force"] == "last-good"
    assert refused["errors"] == ["the config child ended with status 1"]
    assert events.BOOT_GOOD in life.names()
    assert life.answers[0]["hostname"] == "kept"
    assert life.answers[0]["config"]["source"] == "last-good"
    said = life.system.said.decode()
    assert "config: the config child ended with status 1; the last good configuration is read alone" in said


def test_what_keeps_a_container_from_starting_is_read_on_the_console():
    said = Life(does=without_the_image).system.said.decode()
    line = "berth: web ends again and again (status 125): berth: web can't be started: no /demo.tar"
    assert said.count(line) == 2, "once on each of two consoles, and long before the release gate gives up"


def test_the_host_key_is_told_once_it_is_made():
    said = Life().system.said.decode()
    assert said.count(f"ssh host key: {fingerprint('ssh-ed25519 AAAAC3Nz x')} (ed25519)") == 2, "on each console, once"


def test_once_all_is_up_pid1_runs_from_the_roots_files():
    life = Life()
    assert life.system.mapped_over == [(0x400000, "/usr/bin/python3", False), (0x401000, "/usr/bin/python3", True)]
    assert life.system.freed == {0x600000: ((0, 0x4000),)}, "what was moved, and what has a copy of its own"


def test_who_wants_a_shell_that_the_image_does_not_have_gets_its_own():
    """sshd lets nobody in whose shell is not there, and half of all configurations ask for bash."""
    asked = replace(CONFIGURED, users=(replace(CONFIGURED.users[0], shell="/bin/bash"),))
    life = Life(configured=asked)
    passwd = life.system.tree.get("/etc/passwd").decode()
    assert "berth:x:1000:1000::/home/berth:/bin/sh\n" in passwd
    assert "/bin/bash, the shell of berth, is not in this image: it is /bin/sh" in life.system.said.decode()


KERNEL_LINES = 200


def with_kernel_lines(system: RunningSystem) -> RunningSystem:
    system.records = [b"6,%d,%d,-;line %d of the kernel\n" % (n, n * 1000, n) for n in range(KERNEL_LINES)]
    return system


def kept_of_the_kernel(life: Life) -> list[bytes]:
    return [
        call.arguments[1]
        for call in life.system.calls
        if call.name == "append" and str(call.arguments[0]).endswith("/kernel.log")
    ]


def test_the_kernels_log_is_kept_in_batches_and_begun_when_the_container_has():
    life = Life(system=with_kernel_lines(make()))
    kept = kept_of_the_kernel(life)
    lines = b"".join(kept).decode().splitlines()
    assert [line.split(" ", 2)[1:] for line in lines] == [
        [f"{n / 1000:.6f}", f"line {n} of the kernel"] for n in range(KERNEL_LINES)
    ]
    assert len(kept) <= KERNEL_LINES // 50, "one write for many"
    calls = [str(call) for call in life.system.calls]
    begun = next(n for n, call in enumerate(calls) if call.startswith("spawn") and "'run', 'web'" in call)
    assert begun < next(n for n, call in enumerate(calls) if call.startswith("append") and "kernel.log" in call)


def test_of_a_machine_that_goes_down_at_once_the_kernels_log_is_kept_too():
    system = with_kernel_lines(make())
    for at in (1.5, 1.6):
        system.at(at, lambda: system.raise_signal(signal.SIGTERM))
    life = Life(system=system)
    assert life.system.powered == "reboot"
    assert b"".join(kept_of_the_kernel(life)).count(b"\n") == KERNEL_LINES


def talking(system: RunningSystem, seconds: float) -> RunningSystem:
    """Let links and addresses change every hundredth of a second from the first lease on, for so long."""

    def again(until: float) -> None:
        system.readable.update(number for number, what in system._descriptors.items() if what == "network")
        if system.seconds < until:
            system.later(0.01, lambda: again(until))

    system.at(10.0, lambda: again(10.0 + seconds))
    return system


def looks(life: Life) -> int:
    return [call.name for call in life.system.calls].count("links")


def test_links_that_change_all_the_time_are_looked_at_now_and_then():
    quiet, talks = Life(system=make()), Life(system=talking(make(), 2.0))
    assert 15 <= looks(talks) - looks(quiet) <= 25, "two hundred changes in two seconds"


def refusing(call: str, until: float) -> RunningSystem:
    """A machine whose links or addresses can't be read, from its first lease on."""
    system = make()
    original = getattr(system, call)

    def refused():
        if 2.3 < system.seconds < until:
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return original()

    setattr(system, call, refused)
    return system


@pytest.mark.parametrize("call", ["links", "addresses"])
def test_links_that_can_not_be_read_are_read_again(call):
    life = Life(system=refusing(call, until=5.0))
    assert events.INIT_FAULT not in life.names()
    assert events.NETWORK_UP in life.names(), "the address came while nothing could be read"
    assert life.answers[-1]["health"]["state"] == "healthy"


@pytest.mark.parametrize("call", ["links", "addresses"])
def test_that_links_can_not_be_read_is_told_ever_more_slowly(call):
    said = Life(system=refusing(call, until=1000.0)).system.said
    assert 1 <= said.count(b"berth: links and addresses: No buffer space available") <= 20


def test_dhcp_begins_when_the_containers_of_the_same_turn_have():
    spawned = [str(call) for call in Life().system.calls if call.name == "spawn"]
    container = next(n for n, call in enumerate(spawned) if "'web'" in call)
    assert container < next(n for n, call in enumerate(spawned) if "dhcpcd" in call)


def test_that_the_images_own_accounts_can_not_be_read_is_told():
    system = make()
    read = system.read

    def failing(path: str, limit: int = 16 << 20) -> bytes:
        if path == "/usr/share/factory/etc/passwd":
            raise OSError(errno.EIO, "Input/output error")
        return read(path, limit)

    system.read = failing  # type: ignore[method-assign]
    life = Life(system=system)
    assert life.answers[-1]["health"]["reasons"] == ["/usr/share/factory/etc/passwd can't be read: Input/output error"]
    assert b"berth:x:1000:1000" in life.system.tree.get("/etc/passwd"), "whom the config names can log in"


def test_a_list_of_baked_images_that_can_not_be_read_is_read_again():
    calls = Life().system.calls
    number = next(n for n, call in enumerate(calls, start=1) if "overlay-images/images.json" in str(call))
    life = Life(fail_at=number)
    assert b"containers: " in life.system.said
    assert events.CONTAINER_HEALTHY in life.names()
    assert life.answers[-1]["health"]["state"] == "healthy"
