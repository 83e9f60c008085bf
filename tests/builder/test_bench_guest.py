"""A guest of the bench that fails: what it said is told, and the emulator's known fault is tried once more."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from fakes.player import Player

from builder.bench import guest as guests
from builder.bench.guest import EmulatorFailed, Watched, asking, once_more
from builder.emulate import silent
from builder.emulate.command import Guest
from builder.errors import GuestFailed

GUEST = Guest(accelerator=(), memory=1, cpus=2, data=())
FAULT = "say Oops: int3: 0000 [#1] PREEMPT SMP NOPTI\nsay RIP: 0010:sched_clock_tick+0x1/0x80"


def watch(folder: Path, script: str, *, timeout: float = 30.0) -> str:
    """Watch a guest for an event that does not come; return what is told."""
    with (
        Watched(GUEST, Player(folder, script)) as watched,  # type: ignore[arg-type]
        pytest.raises(GuestFailed) as caught,
    ):
        watched.until(lambda: "container.healthy" in watched.marks, timeout=timeout, what="container.healthy")
    return caught.value.message


def record(number: int, text: bytes) -> bytes:
    """Return a record as the kernel's ring holds it."""
    return number.to_bytes(8, "little") + text + bytes(-len(text) % 8)


def memory() -> bytes:
    """Return a guest's memory: the first record's text stands in the kernel, too, and in half a ring of before."""
    first = b"Linux version 6.12 (of the test)"
    ring = [first, b"Command line: quiet", b"16 bytes, whole.", b"moved up by twowo\n", b"the last thing that it did\n"]
    records = b"".join(record(2**64 - 2 + number & 2**64 - 1, text) for number, text in enumerate(ring))
    return first + bytes(3 * 8) + record(7, first) + bytes(512) + b"odd" + first + bytes(5) + records + bytes(4096)


def test_the_last_lines_of_its_console_are_told_also_one_that_has_not_ended(tmp_path: Path) -> None:
    said = watch(tmp_path, "say first\nsay\nsay Kernel panic: no more\nask Rebooting in\nstatus 1")
    assert said.splitlines() == [
        "QEMU ended before container.healthy came; came: no event",
        "its console:", "first", "Kernel panic: no more", "Rebooting in",
    ]  # fmt: skip


def test_of_a_guest_that_says_nothing_its_kernels_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "memory").write_bytes(memory())
    said = watch(tmp_path, f"monitor {tmp_path}/memory", timeout=2.0)
    assert said.splitlines() == [
        "container.healthy did not come within 2 s; came: no event",
        "nothing on its console",
        "processors: #0 00ff CPL=0 HLT=1",
        "the last of 5 lines that its kernel has logged:",
        "Linux version 6.12 (of the test)", "Command line: quiet", "16 bytes, whole.", "moved up by two",
        "the last thing that it did",
    ]  # fmt: skip


def test_where_an_event_came_its_name_is_told_and_the_kernel_is_not_asked(tmp_path: Path) -> None:
    with Watched(GUEST, Player(tmp_path, "init.started\nsay on\nhang")) as watched:  # type: ignore[arg-type]
        watched.until(lambda: "init.started" in watched.marks and watched.has_line("on"), timeout=30.0, what="both")
        with pytest.raises(GuestFailed) as caught:
            watched.until(lambda: "container.healthy" in watched.marks, timeout=0.2, what="container.healthy")
    assert caught.value.message.splitlines()[1:] == ["its console:", "on"]
    assert "came: init.started" in caught.value.message


@pytest.mark.parametrize("data", [b"", bytes(64), b"Linux version 6", b"x" * 8 + b"Linux version 6" + b"y" * 4096])
def test_a_memory_without_a_log(data: bytes) -> None:
    assert all(len(line) <= 2048 for line in silent.kernel_log(data))
    assert len(silent.kernel_log(data)) <= 1


def test_the_emulators_known_fault_begins_a_measurement_anew_once(tmp_path: Path) -> None:
    before = guests.retries
    scripts = [FAULT, "container.healthy\nhang"]

    @once_more
    def measured() -> float:
        with Watched(GUEST, Player(tmp_path, scripts.pop(0))) as watched:  # type: ignore[arg-type]
            watched.until(lambda: "container.healthy" in watched.marks, timeout=30.0, what="container.healthy")
            return watched.marks["container.healthy"].wall

    assert measured() > 0
    assert guests.retries == before + 1
    scripts = [f"{FAULT}\nhang"] * 2
    with pytest.raises(EmulatorFailed, match="sched_clock_tick"):
        measured()


def test_nothing_else_is_tried_again(tmp_path: Path) -> None:
    said = watch(tmp_path, "say Oops: 0000 [#1]\nsay RIP: sched_clock_tick\nstatus 1")
    assert said.startswith("QEMU ended before")


def test_a_port_that_takes_connections_and_says_nothing_holds_nobody_up() -> None:
    begin, answered = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, asking(server.getsockname()[1], begin, answered.set):
        begin.set()
        silent, _ = server.accept()  # the question hangs, and this goes on
        silent.close()
        assert not answered.is_set()
        speaking, _ = server.accept()
        with speaking:
            speaking.recv(1 << 16)
            speaking.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert answered.wait(30)


def test_nobody_asks_before_it_is_time() -> None:
    answered = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        with asking(server.getsockname()[1], threading.Event(), answered.set):
            pass
        server.settimeout(0)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not answered.is_set()
