"""What `berthctl` is told: the objects of docs/formats.md, made from values; nothing here acts."""

from __future__ import annotations

import json

from init.pid1 import gate as gates
from init.pid1 import lifecycle
from init.pid1.logs import stamp
from init.pid1.state import FOLDERS
from init.pid1.supervisor import containers

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from init.formats.bootrecord import Record
    from init.pid1.boot import InForce
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.gate import Gate
    from init.pid1.lifecycle import Running
    from init.pid1.logs import Line
    from init.pid1.state import StateMount
    from init.pid1.supervisor import Supervisor


def status(
    *,
    early: EarlyResult,
    in_force: InForce,
    gate: Gate,
    supervisor: Supervisor,
    record: Record | None,
    versions: Mapping[str, str],
    last_return: Mapping[str, object] | None,
    free: int | None,
    addresses: Mapping[str, tuple[str, ...]],
    memory: Mapping[str, int],
    now: float,
) -> dict[str, object]:
    """Return `berth.status/1`. Sizes are bytes, times seconds."""
    from init.formats import redact  # noqa: PLC0415 - only whoever asks pays for it

    release = early.release
    dog = early.watchdog
    return {
        "format": "berth.status/1",
        "version": release.version if release else None,
        "class": release.machine_class if release else None,
        "hostname": in_force.machine.hostname,
        "machine_id": early.machine_id,
        "loader": release.loader if release else None,
        "media": medium(early.media),
        "uptime": round(now, 3),
        "state": {"kind": early.state.kind, "free": free, "kept": kept(early.state)},
        "slots": slots(record, early.slot, versions),
        "order": "".join(record.order) if record else None,
        "health": {"state": gates.state(gate), "reasons": list(gate.reasons)},
        "last_return": last_return,
        "config": {"source": in_force.source, "sha256": in_force.sha256, "refused": in_force.refused},
        "containers": [_container(running) for running in containers(supervisor)],
        "addresses": {name: list(values) for name, values in addresses.items()},
        "memory": dict(memory),
        "watchdog": {"identity": dog.identity, "seconds": dog.seconds, "software": dog.software} if dog else None,
        "update": {
            "repository": redact.address(in_force.machine.update.repository or "") or None,
            "channel": in_force.machine.update.channel,
            "policy": in_force.machine.update.policy,
        },
    }


def medium(booted: str) -> str:
    """Return where the root lies: for a kernel that was loaded directly (`direct`) that is a disk, too."""
    return "iso" if booted == "iso" else "disk"


def kept(of: StateMount) -> list[str]:
    """Return the folders that outlive a boot."""
    return [place for _, place, _ in FOLDERS] if of.kind == "ext4" else []


def slots(record: Record | None, booted: str | None, versions: Mapping[str, str]) -> dict[str, object]:
    """Return what is known of both slots; the version of one that never ran here is null."""
    if record is None:
        return {}
    return {
        name: {
            "version": versions.get(name),
            "tries": state.tries,
            "good": state.good,
            "booted": name == booted,
        }
        for name, state in (("a", record.a), ("b", record.b))
    }


def _container(running: Running) -> dict[str, object]:
    return {
        "name": running.service.name,
        "state": str(running.state),
        "health": str(running.health),
        "restarts": running.restarts,
        "image": running.service.image,
        "required": running.service.required,
    }


def processes(supervisor: Supervisor, memory: Mapping[str, int], now: float) -> dict[str, object]:
    """Return `berth.ps/1`: every service. `since` is seconds in its state, `memory` bytes of its cgroup."""
    return {
        "format": "berth.ps/1",
        "services": [
            {
                "name": name,
                "kind": "container" if running.service.is_container else "service",
                "state": str(running.state),
                "health": str(running.health),
                "pid": running.main,
                "restarts": running.restarts,
                "status": running.status,
                "since": round(now - running.since, 3),
                "memory": memory.get(name),
                "after": list(running.service.after),
            }
            for name, running in sorted(supervisor.services.items())
        ],
    }


def log_line(line: Line) -> dict[str, object]:
    """Return one line of what `berthctl logs --json` prints."""
    return {"time": stamp(line.time), "t": round(line.t, 6), "name": line.name, "text": line.text}


def timeline(lines: Iterable[bytes]) -> dict[str, object]:
    """Return `berth.timeline/1`: when what happened in this boot, from the events."""
    marks = []
    for line in lines:
        value = json.loads(line)
        marks.append(
            {
                "t": value["t"],
                "event": value["event"],
                "name": value.get("name") or value.get("interface") or value.get("source") or "",
            }
        )
    return {"format": "berth.timeline/1", "marks": marks}


def read_memory(meminfo: str) -> dict[str, int]:
    """Return the machine's memory in bytes, from the text of /proc/meminfo."""
    wanted = {"MemTotal": "total", "MemAvailable": "available"}
    found = {}
    for line in meminfo.splitlines():
        key, _, rest = line.partition(":")
        words = rest.split()
        if key in wanted and words and words[0].isdecimal():
            found[wanted[key]] = int(words[0]) * 1024
    return found


SERVICE_VERBS: Mapping[str, lifecycle.Event] = {
    "start": lifecycle.Start(),
    "stop": lifecycle.Stop(),
    "restart": lifecycle.Again(),
}
