"""The running half put together: what happens is handed to the pure machines, what they ask is done.

Each source of news (signals, devices, the network, buttons, the control socket, timers) has a handler in the loop; the
machines of boot, gates and shutdown live here, the services' in `perform`. Every piece of the start is under a net of
its own: a machine without a control socket, or without a kernel log, still runs its containers.
"""

from __future__ import annotations

import json
from dataclasses import replace

from init.formats import events, release
from init.formats.logfile import FOLDER
from init.formats.machine import Machine, decode
from init.pid1 import boot, gate, sources, supervisor
from init.pid1.apply import Applier
from init.pid1.buttons import Buttons
from init.pid1.configchild import ConfigChild
from init.pid1.configuring import Configuring
from init.pid1.console import Console
from init.pid1.control import Control
from init.pid1.descent import Descent
from init.pid1.evidence import Evidence
from init.pid1.faults import Faults
from init.pid1.formerboots import put_away
from init.pid1.installation import Installation
from init.pid1.kernellog import KernelLog
from init.pid1.lastword import LastWord
from init.pid1.lifecycle import AT_REST, State
from init.pid1.logs import FILE_MOST_DISK, FILE_MOST_MEMORY, Logs
from init.pid1.loop import Loop, origin
from init.pid1.passage import Passage
from init.pid1.perform import DEFAULT, Performer, Settings
from init.pid1.record import BootRecord
from init.pid1.report import Reporter
from init.pid1.returned import Returned
from init.pid1.scripts import BOOTCMD
from init.pid1.seeddisk import SeedDisk
from init.pid1.seednetwork import SeedNetwork
from init.pid1.sshd import SshDoor
from init.pid1.updates import Updates
from init.pid1.upkeep import Upkeep

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.earlyresult import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.system import System

OPEN_FILES = (1024, 524288)  # soft, hard: the kernel's own hard limit of 4096 is too small for engines


class Conductor:
    """PID 1 after the early half. `begin` starts everything, `run` goes on until the machine is off."""

    def __init__(self, system: System, early: EarlyResult, announcer: Announcer, settings: Settings = DEFAULT) -> None:
        self.system = system
        self.early = early
        self.announcer = announcer
        self.loop = Loop(system, self._on_fault)
        self.logs = Logs(system, self.loop)
        self.console = Console(system, self.loop)
        self.performer = Performer(system, self.loop, self.logs, announcer, settings)
        self.ssh = SshDoor(system, self.loop, self.performer, self.logs, self.say)
        self.applier = Applier(
            system,
            self.loop,
            performer=self.performer,
            announcer=announcer,
            ssh=self.ssh,
            early=early,
            say=self.say,
        )
        self.descent = Descent(
            system,
            self.loop,
            performer=self.performer,
            announcer=announcer,
            early=early,
            logs=self.logs,
            console=self.console,
            close_doors=self.ssh.close,
        )
        self.buttons = Buttons(system, self.loop, lambda: self.ask("poweroff", "power button"))
        boot_id = self._text("/proc/sys/kernel/random/boot_id")
        self.record = BootRecord(system, early.record, early.slot, boot_id)
        self.returned = Returned(self, Evidence(system, self.loop, self.performer, self.logs))
        self.updates = Updates(
            system,
            self.loop,
            performer=self.performer,
            logs=self.logs,
            announcer=announcer,
            early=early,
            record=self.record,
            returned=self.returned,
            ask=self.ask,
            is_up=lambda: self.descent.is_up,
            say=self.say,
        )
        self.upkeep = Upkeep(
            system,
            self.loop,
            early,
            reap=self.performer.reap,
            ask=self.ask,
            is_up=lambda: self.descent.is_up,
            on_devices=self._on_devices,
            attempt=self.applier.attempt,
        )
        self.boot = boot.Boot(default=Machine())
        self.gate = gate.Gate(standing=gate.Standing.NONE)
        self.installation = Installation(
            system,
            self.loop,
            performer=self.performer,
            announcer=announcer,
            logs=self.logs,
            media=early.media,
            ask=self.ask,
            go_on=self._serve,
        )
        self.reporter = Reporter(self)
        self.last_word = LastWord(self)
        self.passage = Passage(system, self.loop, lambda text: self.logs.say("init", text), lambda: self.descent.is_up)
        self.faults = Faults(self.console, self.logs)
        self.configuring = Configuring(self)
        self.control = Control(system, self.loop, self.reporter.answer, self.say)
        self._config: ConfigChild | None = None
        self._seed_disk = SeedDisk(system, self.loop, early, self.applier.problem, self._find_sources)
        self._seed = SeedNetwork(system, self.loop, self.performer, self.logs)
        self._bootcmd_told = False
        self._settled = False
        self._rested = False  # has had `settle` seconds
        self._argv: tuple[str, ...] = ()
        self._look: gate.Look | None = None

    # --- telling -----------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Tell people one thing: the console, and the log of `init`."""
        self.logs.say("init", text)
        self.console.say(text)

    def _on_fault(self, where: str, error: BaseException) -> None:
        """The last net caught something."""
        text = f"{type(error).__name__}: {error}"
        self.logs.say("init", f"fault in {where}: {text}{origin(error)}")
        self.announcer.emit(events.INIT_FAULT, where=where, reason=text)

    def _text(self, path: str) -> str:
        try:
            return self.system.read(path, 1 << 16).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    # --- the start ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start everything, each under a net of its own; the boot's machine begins when the disks were looked at."""
        parts: tuple[tuple[str, Callable[[], object]], ...] = (
            ("signals", self.upkeep.open_signals),
            ("early messages", self._take_over_messages),
            ("console", self.console.open),
            ("watchdog", self.upkeep.feed),
            ("cgroups", self.performer.hand_down_controllers),
            ("disk labelled cidata", self._seed_disk.begin),
            ("open files", lambda: self.system.allow_open_files(*OPEN_FILES)),
            ("log files", self._keep_logs),
            ("kernel log", lambda: KernelLog(self.system, self.loop, self.logs)),
            ("devices", self.upkeep.watch_devices),
            ("buttons", self.buttons.look),
            ("event port", self.announcer.open_port),
            ("control socket", self.control.open),
            ("returned slot", self.returned.look),
            ("default machine", self._read_default),
            ("reaping", self.upkeep.reap),
            ("clock", self.upkeep.begin_clock),
        )
        self.announcer.attach(self.loop)
        self.announcer.listen(self._show_event)
        self.applier.consoles = self.console.names()
        for name, part in parts:
            self.applier.insist(name, part)
        self.applier.consoles = self.console.names()
        for sentence in self.early.degraded:
            self.applier.problem(sentence)
        self.applier.on_change = self._on_change
        self.performer.on_change = self._on_change

    def run(self) -> None:
        """Go on until the machine is off."""
        self.loop.run()

    def _take_over_messages(self) -> None:
        for message in self.early.messages:
            self.logs.say("init", message)

    def _keep_logs(self) -> None:
        self.logs.on_lost = self.say
        if self.early.state.kind != "none":
            on_disk = self.early.state.kind == "ext4"
            self.applier.attempt("logs of the boot before", lambda: put_away(self.system, FOLDER))
            self.logs.keep_in(FOLDER, FILE_MOST_DISK if on_disk else FILE_MOST_MEMORY)

    def _on_devices(self) -> None:
        self.buttons.look()
        self.announcer.open_port()

    def ask(self, how: str, why: str) -> None:
        """Somebody wants the machine down: `poweroff`, `reboot` or `halt`."""
        self.descent.ask(how, why)

    # --- boot --------------------------------------------------------------------------------------------

    def _read_default(self) -> None:
        """The boot can't wait for another try, so a read that fails is repeated at once."""
        for again in (True, True, False):
            try:
                value = json.loads(self.system.read(release.DEFAULT_MACHINE_PATH, 8 << 20))
            except OSError:
                if again:
                    continue
                raise
            self.boot = replace(self.boot, default=decode(value))
            return

    def _find_sources(self, seed: str | None) -> None:
        """The disks were looked at; `seed` is the one labelled `cidata`."""
        found = sources.collect(self.system, self.early, seed)
        self._argv = found.argv
        kept = "last-good" in found.found
        self._boot(boot.Begun(sources=bool(found.found), network=found.network, last_good=kept))

    def _boot(self, event: boot.Event) -> None:
        self.boot, actions = boot.step(self.boot, event)
        settled = self.boot.stage is boot.Stage.SETTLED and not self._settled
        for action in actions:
            self.loop.guard(f"boot: {type(action).__name__}", lambda action=action: self._do_boot(action))  # type: ignore[misc]

        if settled:  # all its actions are done: whoever looks now sees every service but the DHCP client
            self._settled = True
            if self._rested:  # a boot that takes longer than `settle`: without a network nothing else would say it
                self._finally(up=self._is_up())
            self._on_change()

    def _do_boot(self, action: boot.Action) -> None:
        match action:
            case boot.EnterPhase(phase=phase):
                self._enter_phase(phase)
            case boot.Perform(stage=boot.Stage.CONFIG):
                self._config = ConfigChild(self.system, self.loop, self.performer, self.logs, self._boot)
                asks = ("--network", f"{boot.FETCH_BOUND:g}") if self._seed.is_up else ()
                self._config.start(sources.last_good_argv() if self.boot.lost else (*self._argv, *asks))
            case boot.Perform(stage=boot.Stage.SEED):
                self._seed.begin(lambda: self._boot(boot.NetworkUp()))
            case boot.Perform(stage=boot.Stage.NETWORK):
                machine = self.boot.in_force.machine
                self._seed.end(lambda: self.applier.perform(boot.Stage.NETWORK, machine))
            case boot.Perform(stage=boot.Stage.SERVICES):
                if not self.installation.begins(self.boot.in_force.machine):
                    self._serve()
            case boot.Perform(stage=stage):
                if stage is boot.Stage.IDENTITY:
                    self._in_force()
                self.applier.perform(stage, self.boot.in_force.machine)
            case boot.Abandon():
                if self._config is not None:
                    self._config.abandon()
            case boot.Bound(stage=stage, seconds=seconds):
                self.loop.after(f"boot.{stage}", seconds, lambda: self._boot(boot.Late(stage=stage)))
            case boot.KeepLastGood(document=document, sha256=digest):
                self.applier.insist("keeping the config", lambda: self.applier.keep_last_good(document, digest))
            case boot.Emit(event=event, fields=fields):
                self.announcer.emit(event, **fields)
            case boot.Note(text=text):
                self.say(text)

    def _serve(self) -> None:
        self.applier.perform(boot.Stage.SERVICES, self.boot.in_force.machine)

    def _enter_phase(self, phase: str) -> None:
        try:
            self.record.enter(phase)
        except OSError as error:
            self.say(f"the boot's phase could not be written: {error}")

    def _in_force(self) -> None:
        """A configuration is in force: from now on the gates' time runs."""
        machine = self.boot.in_force.machine
        self.performer.environment = machine.environment
        self.loop.after("gate.settle", machine.health.settle, self._on_settle)
        self.loop.after("gate.within", machine.health.within, lambda: self._gate(gate.Overdue()))
        now = self.boot.in_force
        # Only what the other slot took counts against this one: a new config may simply be wrong.
        same = bool(now.refused_sha256) and now.refused_sha256 == self._text(sources.LAST_GOOD_SHA256)
        if now.refused is not None and (now.lost or same):
            self._gate(gate.Refused(reason=now.refused))

    def _on_settle(self) -> None:
        self.applier.insist("boot record", self._pass_boot_gate)

    def _pass_boot_gate(self) -> None:
        """Raise OSError where the record can't be read now: then this comes again."""
        self.gate = replace(self.gate, standing=self.record.standing())
        self._gate(gate.Settled())
        self._rested = True
        self._finally(up=self._is_up())
        self.updates.boot_gate_passed(self.boot.in_force.machine)

    # --- health ------------------------------------------------------------------------------------------

    def _gate(self, event: gate.Event) -> None:
        self.gate, actions = gate.step(self.gate, event)
        for action in actions:
            self.loop.guard(f"gate: {type(action).__name__}", lambda action=action: self._do_gate(action))  # type: ignore[misc]

    def _do_gate(self, action: gate.Action) -> None:
        match action:
            case gate.Refill():
                self.applier.insist("refilling the tries", self._refill)
            case gate.Confirm():
                self.applier.insist("confirming the release", self._confirm)
            case gate.GiveBack(reason=reason):
                self.say(f"this release is given up: {reason}")
                self.applier.attempt("giving the release back", self.record.hold)
                self._give_reason("unhealthy", reason)
                self.ask("reboot", f"release gate: {reason}")
            case gate.Emit(event=event, fields=fields):
                self.announcer.emit(event, **fields)

    def _refill(self) -> None:
        self.record.refill()
        if self.gate.standing is gate.Standing.GOOD:
            self._enter_phase("good")  # what comes later is no boot any more
            # The power may have failed between the slot's confirmation and the update's end.
            self.applier.insist("keeping the update's end", self.updates.confirmed)

    def _confirm(self) -> None:
        self.record.confirm()
        version = self.early.release.version if self.early.release else ""
        self.announcer.emit(events.BOOT_GOOD, slot=self.early.slot, version=version)
        self._enter_phase("good")
        self.applier.insist("keeping the update's end", self.updates.confirmed)

    def _give_reason(self, reason: str, detail: str) -> None:
        try:
            self.record.enter("containers", reason=reason, detail=detail)
        except OSError as error:
            self.say(f"the reason could not be written: {error}")

    def _on_change(self) -> None:
        """A service changed: what hangs on it?"""
        services = self.performer.supervisor
        self.descent.look()
        self.configuring.look()
        if not self.descent.is_up:
            return
        bootcmd = services.services.get(BOOTCMD)
        if bootcmd is not None and not self._bootcmd_told and bootcmd.state in AT_REST - {State.WAITING}:
            self._bootcmd_told = True
            self.loop.soon("bootcmd", lambda: self._boot(boot.BootcmdEnded()))
        self.ssh.look()
        if self._settled:
            self.look()

    def look(self) -> None:
        """Tell the gates how things stand, when that changed."""
        services = self.performer.supervisor
        waiting = (*self.installation.waiting, *supervisor.waiting(services))
        wrong = supervisor.wrong(services)
        refused = self.boot.in_force.refused
        config = (f"config refused: {refused}",) if refused else ()
        self.faults.tell(wrong)
        now = gate.Look(reasons=(*self.applier.problems, *config, *wrong.values()), waiting=waiting)
        if now != self._look:
            self._look = now
            self._gate(now)
        if self._is_up():
            self._finally(up=True)
        self.last_word.look()

    def _is_up(self) -> bool:
        return supervisor.is_up(self.performer.supervisor) and bool(self.applier.uplink.up)

    def _finally(self, *, up: bool) -> None:
        """All is up, or has had `settle` seconds."""
        if self._settled and not self.installation.waiting:
            self.last_word.tell(up=up)
            self.loop.guard("passage", self.passage.begin)

    def _show_event(self, name: str, line: bytes) -> None:
        if self.early.command_line.console_events:
            self.console.show(line.decode("utf-8", "replace"))
            return
        text = self.reporter.sentence(name, line)
        if text:
            self.console.say(text)
