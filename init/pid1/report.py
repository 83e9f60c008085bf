"""Answering `berthctl`, and the sentences and the page on the console: reads the running half, decides nothing."""

from __future__ import annotations

import json

from init.formats import bootrecord, events
from init.formats.logfile import LINES_MOST
from init.pid1 import answers, cgroups, lifecycle, reset, supervisor
from init.pid1.console import page
from init.pid1.disklook import DiskLook
from init.pid1.handover import hand_over
from init.pid1.logs import stamp
from init.pid1.state import PLACE

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from init.formats.bootrecord import Record
    from init.pid1.apply import Applier
    from init.pid1.boot import Boot
    from init.pid1.configuring import Configuring
    from init.pid1.control import Client
    from init.pid1.descent import Descent
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.gate import Gate
    from init.pid1.installation import Installation
    from init.pid1.logs import Line, Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.record import BootRecord
    from init.pid1.returned import Returned
    from init.pid1.system import System
    from init.pid1.updates import Updates
else:
    Protocol = object

_RECORD = "reading the boot record"
_SENTENCES = {
    events.CONFIG_APPLIED: "config from {source}",
    events.CONFIG_REFUSED: "config refused ({source}): {errors}; in force: {in_force}",
    events.NETWORK_UP: "network: {interface} {addresses}",
    events.SERVICE_FAILED: "service {name} failed ({status})",
    events.CONTAINER_STARTED: "container {name} started",
    events.CONTAINER_HEALTHY: "container {name} is healthy",
    events.CONTAINER_UNHEALTHY: "container {name} is unhealthy",
    events.CONTAINER_EXITED: "container {name} ended ({status})",
    events.HEALTH_PASSED: "all is well",
    events.HEALTH_DEGRADED: "degraded: {reasons}",
    events.BOOT_GOOD: "this release is confirmed (slot {slot}, {version})",
    events.BOOT_FELLBACK: "{from} came back: {reason} ({detail})",
    events.INSTALL_PLANNED: "installing to {disk}: {reason}",
    events.INSTALL_DONE: "installed to {disk}: {reason}",
    events.INSTALL_REFUSED: "not installed: {reason}",
    events.UPDATE_STATE: "update {version}: {state} {reason}",
    events.SHUTDOWN_BEGUN: "going down: {why}",
    events.SHUTDOWN_CLEAN: "state unmounted: {state_unmounted}",
}


class Whole(Protocol):
    """The parts of the running half that are told about: `init.pid1.conductor` puts them together."""

    system: System
    early: EarlyResult
    announcer: Announcer
    loop: Loop
    logs: Logs
    performer: Performer
    applier: Applier
    descent: Descent
    record: BootRecord
    returned: Returned
    updates: Updates
    boot: Boot
    gate: Gate
    installation: Installation
    configuring: Configuring

    def ask(self, how: str, why: str) -> None:
        """Somebody wants the machine down."""


class Reporter:
    """What the machine says of itself."""

    def __init__(self, whole: Whole) -> None:
        self._of = whole
        self._look = DiskLook(whole.system, whole.loop, _RECORD, self._read_record, tell=self._tell_of_disk)

    # --- the control socket ------------------------------------------------------------------------------

    def answer(self, client: Client, request: Mapping[str, object]) -> None:
        """Answer one request that its sender may make."""
        match request["verb"]:
            case "status":
                if self._of.record.present:
                    self._look.ask(lambda answer: self._status(client, answer))
                else:
                    self._status(client, b"")
            case "ps":
                client.send(self.processes())
                client.finish()
            case "timeline":
                client.send(answers.timeline(self._of.announcer.ring))
                client.finish()
            case "logs":
                self._logs(client, request)
            case "events":
                self._events(client, request)
            case "service":
                self._service(client, request)
            case "install":
                force = self._of.boot.in_force
                self._of.installation.asked(client, request, force.refused)
            case "update" | "update-show" | "update-record":
                self._of.updates.answer(client, request)
            case "rollback":
                self._of.updates.rollback(client, reboot=request.get("reboot") is not False)
            case "config":
                self._of.configuring.answer(client, request)
            case "reset":
                self._reset(client, request)
            case "reboot" | "poweroff" | "halt" as how:
                who = f"berthctl, uid {client.peer.uid}"
                client.send({"format": f"berth.{how}/1", "accepted": True})
                client.finish()
                self._of.loop.soon(how, lambda: self._of.ask(how, f"{how} by {who}"))
            case "rescue" | "rescue-show":
                client.fail("rescue", "this machine is not in rescue", "berthctl status tells how it is")
            case verb:
                client.fail("verb", f"this release does not know {verb}", "see berthctl --help")

    def _logs(self, client: Client, request: Mapping[str, object]) -> None:
        name = request.get("name")
        name = name if isinstance(name, str) and name else None
        count = request.get("lines")
        count = min(count, LINES_MOST) if isinstance(count, int) and count >= 0 else 100
        boot = request.get("boot")
        if isinstance(boot, int) and boot < 0:
            words = ("former-logs", str(-boot), str(count), *((name,) if name is not None else ()))
            of = self._of
            hand_over(client, words, system=of.system, performer=of.performer, logs=of.logs)
            return
        known = {*self._of.performer.supervisor.services, *self._of.logs.names()}
        if name is not None and name not in known:
            client.fail("name", f"there is no log of {name}", f"there are: {', '.join(sorted(known))}")
            return
        client.send({"format": events.FORMAT})
        for line in self._of.logs.ring.newest(count, name):
            client.send(answers.log_line(line))
        if not request.get("follow"):
            client.finish()
            return

        def on_line(line: Line) -> None:
            if name is None or line.name == name:
                client.send(answers.log_line(line))

        self._of.logs.listen(on_line)
        client.follow(lambda: self._of.logs.forget(on_line))

    def _events(self, client: Client, request: Mapping[str, object]) -> None:
        client.send({"format": events.FORMAT})
        for line in self._of.announcer.ring:
            client.send_line(line)
        if not request.get("follow"):
            client.finish()
            return

        def on_event(_: str, line: bytes) -> None:
            client.send_line(line)

        self._of.announcer.listen(on_event)
        client.follow(lambda: self._of.announcer.forget(on_event))

    def _service(self, client: Client, request: Mapping[str, object]) -> None:
        name, verb = request.get("name"), request.get("action")
        services = self._of.performer.supervisor.services
        if not isinstance(name, str) or name not in services:
            client.fail("name", f"there is no service {name}", f"there are: {', '.join(sorted(services))}")
            return
        if verb not in answers.SERVICE_VERBS:
            client.fail("action", f"a service can't {verb}", f"it can {', '.join(answers.SERVICE_VERBS)}")
            return
        if not self._of.descent.is_up:
            client.fail("shutdown", "the machine is going down", "ask again after the boot")
            return
        self._of.performer.post(name, answers.SERVICE_VERBS[str(verb)])
        state = self._of.performer.supervisor.services[name].state
        client.send({"format": "berth.service/1", "name": name, "action": verb, "state": str(state)})
        client.finish()

    def _reset(self, client: Client, request: Mapping[str, object]) -> None:
        everything = request.get("everything") is True
        if self._of.early.state.kind != "ext4":
            client.fail("state", "this machine's state is in memory", "a reboot makes it new")
            return
        try:
            reset.wish(self._of.system, everything=everything)
        except OSError as error:
            client.fail("state", f"the wish can't be written: {error.strerror}", "nothing was changed")
            return
        client.send({"format": "berth.reset/1", "accepted": True, "everything": everything})
        client.finish()
        self._of.loop.soon("reset", lambda: self._of.ask("reboot", f"reset by berthctl, uid {client.peer.uid}"))

    def _read_record(self) -> bytes:
        """In a child: read what the answer takes from the disk, its code, too."""
        from init.formats import redact  # noqa: F401, PLC0415 - the initramfs can do without it

        record = self._of.record.read()
        return bootrecord.encode(record) if record is not None else b"none"

    def _tell_of_disk(self, answer: bytes | None) -> None:
        def check() -> None:
            if not answer:
                why = "its disk does not answer" if answer is None else "it can't be read now"
                raise OSError(f"{why}, so what is told of the slots is what was last known")

        self._of.applier.attempt(_RECORD, check)

    def _status(self, client: Client, answer: bytes | None) -> None:
        if answer:
            self._of.record.known = bootrecord.decode(answer)
        client.send(self.status(self._of.record.known))
        client.finish()

    def status(self, record: Record | None) -> dict[str, object]:
        """Return `berth.status/1`."""
        of = self._of
        try:
            free: int | None = of.system.space(PLACE)[0]
        except OSError:
            free = None
        return answers.status(
            early=of.early,
            in_force=of.boot.in_force,
            gate=of.gate,
            supervisor=of.performer.supervisor,
            record=record,
            versions=of.returned.versions,
            last_return=of.returned.last,
            free=free,
            addresses=of.applier.uplink.up,
            memory=answers.read_memory(self._text("/proc/meminfo")),
            now=of.system.now(),
        )

    def processes(self) -> dict[str, object]:
        """Return `berth.ps/1`."""
        memory = {}
        for name in self._of.performer.supervisor.services:
            text = self._text(f"{cgroups.group(name, self._of.performer.settings.top)}/memory.current")
            if text.isdecimal():
                memory[name] = int(text)
        return answers.processes(self._of.performer.supervisor, memory, self._of.system.now())

    def _text(self, path: str) -> str:
        try:
            return self._of.system.read(path, 1 << 16).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    # --- the console -------------------------------------------------------------------------------------

    def sentence(self, name: str, line: bytes) -> str:
        """Return what people read of an event; empty for one that is only for programs."""
        form = _SENTENCES.get(name)
        if form is None:
            return ""
        values = json.loads(line)
        fields = {
            key: ", ".join(str(part) for part in value) if isinstance(value, list) else value
            for key, value in values.items()
        }
        if "status" in values:
            fields["status"] = lifecycle.describe(values["status"])
        return form.format_map(fields).rstrip()

    def facts(self) -> dict[str, str]:
        """Return what a `final_message` may name (cloud-init's `cc_final_message`)."""
        of = self._of
        return {
            "version": of.early.release.version if of.early.release else "",
            "timestamp": stamp(of.system.time()),
            "datasource": of.boot.in_force.source,
            "uptime": f"{of.system.now():.2f}",
        }

    def page(self) -> str:
        """Return the short status page."""
        of = self._of
        release = of.early.release
        kind = ", VM image" if release and release.vm_image else ""
        facts = {
            "Berth": f"{release.version} ({release.machine_class}{kind})" if release else "",
            "machine": of.boot.in_force.machine.hostname,
            "network": "  ".join(f"{name} {' '.join(values)}" for name, values in of.applier.uplink.up.items()),
            "config": of.boot.in_force.source,
            "state": "in memory, lost at power-off" if of.early.state.kind != "ext4" else "",
        }
        ports = {
            container.name: " ".join(f"{port.host}→{port.container}" for port in container.ports)
            for container in of.boot.in_force.machine.containers
        }
        shown = [
            (running.service.name, str(running.health), ports.get(running.service.name, ""))
            for running in supervisor.containers(of.performer.supervisor)
        ]
        return page(facts, shown)
