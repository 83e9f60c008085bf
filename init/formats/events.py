"""The events of a machine: one table of names, fields and units.

An event is one JSON object on a line. Every one has

    t        seconds since the kernel started (CLOCK_BOOTTIME), microseconds kept
    event    its name, one of `EVENTS`
    seq      counts from 1 at each boot; a gap shows that a reader missed some
    boot_id  `/proc/sys/kernel/random/boot_id`: which boot of the machine it was

and then the fields of its kind, in the order of the table. Writers name an event by the constants below, readers
too; no test spells a name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = "berth.events/1"
PORT = "berth.events"  # the name of the virtio-serial port, in /sys/class/virtio-ports/*/name

INIT_STARTED = "init.started"
CONFIG_APPLIED = "config.applied"
CONFIG_REFUSED = "config.refused"
NETWORK_UP = "network.up"
SERVICE_READY = "service.ready"
SERVICE_FAILED = "service.failed"
CONTAINER_STARTED = "container.started"
CONTAINER_OUTPUT = "container.output"
CONTAINER_HEALTHY = "container.healthy"
CONTAINER_UNHEALTHY = "container.unhealthy"
CONTAINER_EXITED = "container.exited"
HEALTH_PASSED = "health.passed"
HEALTH_DEGRADED = "health.degraded"
BOOT_GOOD = "boot.good"
BOOT_FELLBACK = "boot.fellback"
INSTALL_PLANNED = "install.planned"
INSTALL_DONE = "install.done"
INSTALL_REFUSED = "install.refused"
UPDATE_STATE = "update.state"
RESCUE_ENTERED = "rescue.entered"
SHUTDOWN_BEGUN = "shutdown.begun"
SHUTDOWN_CLEAN = "shutdown.clean"
EVENTS_DROPPED = "events.dropped"
INIT_FAULT = "init.fault"


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field: `kind` is `text`, `count` (≥ 0), `status` (exit code; negative is a signal), `flag` or `list`."""

    name: str
    kind: str
    meaning: str


def _text(name: str, meaning: str) -> Field:
    return Field(name=name, kind="text", meaning=meaning)


_NAME = _text("name", "the service's or container's name")
_IMAGE = _text("image", "the image's reference as it was declared")
_RESTARTS = Field(name="restarts", kind="count", meaning="how often it was started again in this boot")
_STATUS = Field(name="status", kind="status", meaning="exit code of the main process, or minus the signal")
_SOURCE = _text("source", "where the configuration came from: cmdline, smbios, cidata, medium, last-good, recipe")
_REASON = _text("reason", "why, for people")
_VERSION = _text("version", "a release's version")
_CONTAINER = (_NAME, _IMAGE, _RESTARTS)
_INSTALL = (_text("disk", "device"), _text("serial", "the disk's serial number"), _REASON)

EVENTS: Mapping[str, tuple[Field, ...]] = {
    INIT_STARTED: (),
    CONFIG_APPLIED: (
        _SOURCE,
        _text("sha256", "of the source's bytes, hex"),
        Field(name="warnings", kind="count", meaning="diagnostics that are no errors"),
    ),
    CONFIG_REFUSED: (
        _SOURCE,
        Field(name="errors", kind="list", meaning="messages with file, line and column; never a value"),
        _text("in_force", "what runs instead: last-good, lifeline or recipe"),
    ),
    NETWORK_UP: (
        _text("interface", "its name"),
        Field(name="addresses", kind="list", meaning="CIDR texts"),
    ),
    SERVICE_READY: (_NAME,),
    SERVICE_FAILED: (_NAME, _STATUS, _RESTARTS),
    CONTAINER_STARTED: _CONTAINER,
    CONTAINER_OUTPUT: _CONTAINER,  # the first line since this start, of the container or of what starts it
    CONTAINER_HEALTHY: _CONTAINER,
    CONTAINER_UNHEALTHY: _CONTAINER,
    CONTAINER_EXITED: (*_CONTAINER, _STATUS),
    HEALTH_PASSED: (),
    HEALTH_DEGRADED: (Field(name="reasons", kind="list", meaning="one sentence each"),),
    BOOT_GOOD: (_text("slot", "a or b"), _VERSION),
    BOOT_FELLBACK: (
        _text("from", "version that came back"),
        _text("to", "version that runs"),
        _text("reason", "no-init, verity, init-exception, unhealthy, watchdog, unknown"),
        _text("detail", "the last phase, what was unhealthy, or what was found damaged"),
    ),
    INSTALL_PLANNED: _INSTALL,
    INSTALL_DONE: _INSTALL,
    INSTALL_REFUSED: _INSTALL,
    UPDATE_STATE: (
        _text(
            "state", "checking, current, available, downloading, written, switched, refused, failed, good or returned"
        ),
        _VERSION,
        _REASON,
    ),
    RESCUE_ENTERED: (_REASON,),
    SHUTDOWN_BEGUN: (_text("why", "poweroff, reboot or halt, and who asked"),),
    SHUTDOWN_CLEAN: (Field(name="state_unmounted", kind="flag", meaning="state was unmounted, or there is none"),),
    EVENTS_DROPPED: (Field(name="count", kind="count", meaning="events that did not fit into the queue"),),
    INIT_FAULT: (_text("where", "the handler of PID 1's loop that raised"), _text("reason", "the exception")),
}


def line(event: str, fields: Mapping[str, object], *, t: float, seq: int, boot_id: str) -> bytes:
    """Return the event as one line of JSON with its newline.

    Fields that the table does not have are left out, missing ones are null: a reader can rely on the table.
    """
    value: dict[str, object] = {"t": round(t, 6), "event": event, "seq": seq, "boot_id": boot_id}
    for field in EVENTS.get(event, ()):
        value[field.name] = fields.get(field.name)
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n"
