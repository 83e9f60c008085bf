"""The passage: PID 1 begins Python anew, from the root, and what the early half came to goes along.

An initramfs lies in memory. While PID 1 runs from it, its interpreter and libraries take 10 MiB that nothing can move;
from the root the same files are page cache, shared with every other Python, and given up when memory is short. The
process stays the same, and so do its pid, its mounts and the descriptors that are named here; what else the early half
imported and made is gone. docs/adr/0009-passage.md has the measurement.

The text between the two lies in a file in memory, which the second one takes away.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import dataclass

from init.formats import cmdline, codec
from init.formats.bootphase import BootPhase
from init.formats.release import APP_PATH, Release
from init.pid1.devices import Devices, Loaded, read_index
from init.pid1.earlyresult import EarlyResult
from init.pid1.events import Told
from init.pid1.state import Growth, StateMount
from init.pid1.system import Watchdog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from init.pid1.events import Announcer
    from init.pid1.system import System

    T = TypeVar("T")

FOLDER = "/run/berth"
PLACE = f"{FOLDER}/passage.json"
ARGV = (
    "/usr/bin/python3",
    "-ISB",
    "-c",
    f"import sys; sys.path.insert(0, {APP_PATH!r}); from init.pid1.running import main; sys.exit(main())",
)
_TRIES = 3  # a read that fails once must not cost the boot


@dataclass(frozen=True, kw_only=True, slots=True)
class _Growing:
    """`Growth`, its bytes as base64."""

    disk: str
    partition: str
    start: int
    length: int
    writes: tuple[tuple[int, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Passage:
    """`EarlyResult` without what the second half reads for itself, and the events that were told."""

    release: Release | None
    media: str
    slot: str | None
    disk: str | None
    medium: str | None
    record: tuple[str, ...]
    last_phase: BootPhase | None
    state: StateMount
    growth: _Growing | None
    machine_id: str
    degraded: tuple[str, ...]
    watchdog: Watchdog | None
    uevents: int | None
    loaded: Loaded
    unmount: tuple[str, ...]
    messages: tuple[str, ...]
    told: Told


def begin_anew(system: System, result: EarlyResult, announcer: Announcer) -> None:
    """Become Python from the root, whose `running.main` goes on. Returns only where that can't be: raises OSError."""
    system.make_folder(FOLDER)
    system.replace(PLACE, json.dumps(codec.encode(_pack(result, announcer))).encode(), 0o600)
    keep = [result.uevents] if result.uevents is not None else []
    if result.watchdog is not None:
        system.feed_watchdog(result.watchdog)
        keep.append(result.watchdog.descriptor)
    system.become(ARGV, keep)


def take(system: System, announcer: Announcer) -> EarlyResult:
    """Return what the early half left, and let the announcer go on counting. Raises OSError, ValueError."""
    passage = codec.decode(_Passage, json.loads(_insist(lambda: system.read(PLACE))))
    announcer.go_on(passage.told)
    for descriptor in (passage.uevents, passage.watchdog.descriptor if passage.watchdog else None):
        try:
            if descriptor is not None:
                system.adopt(descriptor)
        except OSError:
            continue  # children then get it, too
    result = _unpack(passage, system)
    try:
        system.remove(PLACE)
    except OSError:
        return result  # it holds no secret, and /run is memory
    return result


def _insist(read: Callable[[], T]) -> T:
    for _ in range(_TRIES - 1):
        try:
            return read()
        except OSError:
            continue
    return read()


def _pack(result: EarlyResult, announcer: Announcer) -> _Passage:
    growth, devices = result.growth, result.devices
    return _Passage(
        release=result.release,
        media=result.media,
        slot=result.slot,
        disk=result.disk,
        medium=result.medium,
        record=result.record,
        last_phase=result.last_phase,
        state=result.state,
        growth=None if growth is None else _Growing(
            disk=growth.disk, partition=growth.partition, start=growth.start, length=growth.length,
            writes=tuple((offset, b64encode(data).decode()) for offset, data in growth.writes),
        ),
        machine_id=result.machine_id,
        degraded=result.degraded,
        watchdog=result.watchdog,
        uevents=result.uevents,
        loaded=Loaded() if devices is None else devices.so_far,
        unmount=result.unmount,
        messages=result.messages,
        told=announcer.told,
    )  # fmt: skip


def _unpack(passage: _Passage, system: System) -> EarlyResult:
    growth = passage.growth
    return EarlyResult(
        outcome="root",
        command_line=cmdline.parse(_insist(lambda: system.read("/proc/cmdline", 65536)).decode("utf-8", "replace")),
        release=passage.release,
        media=passage.media,
        slot=passage.slot,
        disk=passage.disk,
        medium=passage.medium,
        record=passage.record,
        last_phase=passage.last_phase,
        state=passage.state,
        growth=None if growth is None else Growth(
            disk=growth.disk, partition=growth.partition, start=growth.start, length=growth.length,
            writes=tuple((offset, b64decode(data)) for offset, data in growth.writes),
        ),
        machine_id=passage.machine_id,
        degraded=passage.degraded,
        watchdog=passage.watchdog,
        uevents=passage.uevents,
        devices=_devices(system, passage.loaded),
        unmount=passage.unmount,
        messages=passage.messages,
    )  # fmt: skip


def _devices(system: System, so_far: Loaded) -> Devices | None:
    try:
        return Devices(_insist(lambda: read_index(system)), so_far)
    except OSError:
        return None  # a kernel without modules
