"""Boots of an image beside a floor boot of the same minute; memory at rest; power-off."""

from __future__ import annotations

import statistics
import tempfile
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bench import floor
from builder.bench.guest import BALLOON, Mark, Watched, asking, once_more
from builder.emulate.options import Forward, Options
from builder.emulate.run import prepare
from init.formats import events

if TYPE_CHECKING:
    from collections.abc import Sequence

    from builder.emulate.command import Guest
    from builder.tools.call import Tools

ANSWER = "answer"  # of the container, through its published port
REST = 25.0  # seconds: freed pages lie on lists that count as used for some 20 s
PATIENCE = 240.0  # seconds: an emulated guest on a shared machine
PORT = 8080  # that the shipped recipes' container publishes
MEMORY, CPUS = 1024, 2
ON_CONSOLE = "berth.console=events"  # on the kernel's command line


@dataclass(frozen=True, kw_only=True, slots=True)
class Boot:
    """One boot. `floor` is the kernel's alone just before it; memory in bytes, `power_off` in seconds."""

    floor: Mark
    marks: dict[str, Mark]
    used: int | None
    power_off: float


def guest_for(image: Path, tools: Tools, folder: Path, *, memory: int = MEMORY, cmdline: tuple[str, ...] = ()) -> Guest:
    """Return a guest that boots the image's kernel without firmware, its container's port led to a free one."""
    options = Options(
        image=image, direct=True, memory=memory, cpus=CPUS, forwards=(Forward(host=0, guest=PORT),), cmdline=cmdline
    )  # fmt: skip
    guest, _ = prepare(options, tools=tools, folder=folder)
    return replace(guest, extra=BALLOON)


@once_more
def floor_boot(guest: Guest, tools: Tools, folder: Path) -> Mark:
    """Boot the guest's kernel with the smallest possible PID 1 and return when that spoke."""
    assert guest.direct is not None
    (folder / "floor").write_bytes(floor.initramfs())
    words = [word for word in guest.direct.cmdline.split() if not word.startswith("berth.")]
    direct = replace(guest.direct, initramfs=folder / "floor", cmdline=" ".join(words))
    with Watched(replace(guest, direct=direct, forwards=()), tools) as watched:
        watched.until(lambda: watched.has_line(floor.LINE), timeout=PATIENCE, what="the floor boot's line")
        return next(mark for name, mark in watched.marks.items() if floor.LINE in name)


@once_more
def at_rest(image: Path, tools: Tools, *, rest: float = REST) -> int | None:
    """Boot once to a healthy container, let the machine rest, and return the memory in use, in bytes.

    It has no event port, for no machine has one that nobody watches like this. Raises GuestFailed.
    """
    healthy = events.CONTAINER_HEALTHY
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        guest = guest_for(image, tools, Path(name), cmdline=(ON_CONSOLE,))
        with Watched(guest, tools, channel=False) as watched:
            watched.until(lambda: healthy in watched.marks, timeout=PATIENCE, what=healthy)
            watched.rest(rest)
            return watched.used_memory()


def boot(image: Path, tools: Tools, *, rest: float = REST) -> Boot:
    """Boot to a container that answers and switch off, and once more for the memory at rest. Raises GuestFailed."""
    return _to_answer(image, tools, at_rest(image, tools, rest=rest))


@once_more
def _to_answer(image: Path, tools: Tools, used: int | None) -> Boot:
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        folder = Path(name)
        guest = guest_for(image, tools, folder)
        ground = floor_boot(guest, tools, folder)
        started = threading.Event()
        with (
            Watched(guest, tools) as watched,
            asking(guest.forwards[0].host, started, lambda: watched.mark(ANSWER)),
        ):

            def answered() -> bool:
                if events.CONTAINER_STARTED in watched.marks:
                    started.set()
                return ANSWER in watched.marks

            watched.until(answered, timeout=PATIENCE, what="the container's answer")
            healthy = events.CONTAINER_HEALTHY
            watched.until(lambda: healthy in watched.marks, timeout=PATIENCE, what=healthy)
            return Boot(floor=ground, marks=dict(watched.marks), used=used, power_off=watched.power_off())


def ratio(one: Boot, name: str) -> float | None:
    """Return how much more processor a boot had used at a mark than the floor boot in all."""
    mark = one.marks.get(name)
    return None if mark is None or one.floor.processor <= 0 else mark.processor / one.floor.processor


def middle(values: Sequence[float | None]) -> float | None:
    """Return the median of the values that were taken."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
