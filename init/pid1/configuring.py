"""The verb `config`: what is in force, what another document would change, and putting it in force.

A document is read by the config child, as at a boot; its path is the client's private copy of it. What is applied is
first kept as the last good configuration, then what can be done on a running machine is done, and the rest is said to
come with the next boot. Where something that comes before the last good one gave the configuration (a disk labelled
`cidata`, the command line), nothing is applied: the next boot would take it back.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats import events
from init.pid1 import boot, change, sources
from init.pid1.configchild import ConfigChild
from init.pid1.lifecycle import AT_REST, Stop

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from init.formats.machine import Machine
    from init.pid1.boot import Report
    from init.pid1.conductor import Conductor
    from init.pid1.control import Client

BEFORE_LAST_GOOD = ("cmdline", "smbios", "cidata", "medium")
FORMAT = "berth.config/1"


class Configuring:
    """Answers the verb; one document at a time."""

    def __init__(self, conductor: Conductor) -> None:
        self._of = conductor
        self._child: ConfigChild | None = None
        self._stopping: tuple[str, ...] = ()
        self._wanted: Machine | None = None

    def answer(self, client: Client, request: Mapping[str, object]) -> None:
        """Answer one request."""
        action, path = request.get("action"), request.get("path")
        if action == "show":
            client.send(self._show())
            client.finish()
        elif action not in ("check", "plan", "apply"):
            client.fail("action", f"config can't {action}", "it can show, check, plan and apply")
        elif not isinstance(path, str) or not path.startswith("/"):
            client.fail("request", "the request names no document", "send its absolute path")
        elif self._child is not None or self._stopping:
            client.fail("busy", "another configuration is being worked on", "ask again in a moment")
        elif action == "apply" and not self._of.descent.is_up:
            client.fail("shutdown", "the machine is going down", "ask again after the boot")
        else:
            self._read(client, str(action), path)

    def _show(self) -> dict[str, object]:
        from init.formats import redact  # noqa: PLC0415 - only whoever asks pays for it

        now = self._of.boot.in_force
        later = change.changes(now.machine, self._wanted) if self._wanted is not None else ()
        return {
            "format": FORMAT,
            "action": "show",
            "source": now.source,
            "sha256": now.sha256,
            "refused": now.refused,
            "lifeline": now.lifeline,
            "at_next_boot": [each.to_json() for each in later],
            "machine": redact.redacted(now.machine),
        }

    def _read(self, client: Client, action: str, path: str) -> None:
        of = self._of
        child = ConfigChild(
            of.system, of.loop, of.performer, of.logs, lambda event: self._read_it(event, client, action)
        )

        def late() -> None:
            child.abandon()
            self._read_it(boot.ConfigLost(reason=f"it took longer than {boot.CONFIG_BOUND:g} s"), client, action)

        self._child = child
        of.loop.after("config document", boot.CONFIG_BOUND, late)
        child.start(sources.document_argv(of.system, path, of.boot.in_force.machine.instance_id))

    def _read_it(self, event: boot.Event, client: Client, action: str) -> None:
        self._child = None
        self._of.loop.cancel("config document")
        if not isinstance(event, boot.ConfigRead):
            reason = event.reason if isinstance(event, boot.ConfigLost) else "no answer"
            client.fail("config", f"the document could not be read: {reason}", "see berthctl logs config")
            return
        report = event.report
        valid = report.refused is None and report.machine is not None
        answer: dict[str, object] = {
            "format": FORMAT,
            "action": action,
            "valid": valid,
            "diagnostics": list(report.findings),
        }
        if valid and report.machine is not None and action != "check":
            self._plan(client, action, report, report.machine, answer)
            return
        client.send(answer)
        client.finish()

    def _plan(self, client: Client, action: str, report: Report, wanted: Machine, answer: dict[str, object]) -> None:
        now = self._of.boot.in_force
        plan = change.changes(now.machine, wanted)
        answer |= {
            "changes": [each.to_json() for each in plan],
            "reboot": any(each.when == change.NEXT_BOOT for each in plan),
            "applied": False,
        }
        if action == "apply":
            if now.source in BEFORE_LAST_GOOD:
                hint = "change it there and reboot; `berthctl config plan` shows what would change"
                client.fail("overridden", f"the configuration comes from {now.source}, at each boot anew", hint)
                return
            try:
                self._of.applier.keep_last_good(report.document, report.sha256)
            except (OSError, ValueError) as error:
                client.fail("state", f"the document can't be kept: {error}", "nothing was changed")
                return
            answer["applied"] = True
            self._apply(report, wanted)
        client.send(answer)
        client.finish()

    def _apply(self, report: Report, wanted: Machine) -> None:
        """Put in force what can be now. Containers stop first; `look` goes on when they have."""
        of = self._of
        old = of.boot.in_force
        machine = change.in_force(old.machine, wanted)
        self._wanted = wanted
        in_force = boot.InForce(machine=machine, source="last-good", sha256=report.sha256)
        of.boot = replace(of.boot, in_force=in_force)
        of.announcer.emit(events.CONFIG_APPLIED, source="file", sha256=report.sha256, warnings=report.warnings)
        of.applier.renew(old.machine, machine)
        self._stopping = change.stopping(old.machine, machine)
        for name in self._stopping:
            of.performer.post(name, Stop())
        of.loop.soon("config containers", self._start_containers)

    def look(self) -> None:
        """A service changed: have those that were asked to stop done so?"""
        if self._stopping:
            self._start_containers()

    def _start_containers(self) -> None:
        of = self._of
        services = of.performer.supervisor.services
        if any(name in services and services[name].state not in AT_REST for name in self._stopping):
            return
        of.performer.forget(self._stopping)
        self._stopping = ()
        of.applier.start_containers(of.boot.in_force.machine)
