"""Updates as PID 1 sees them: it starts the updater, changes the boot record for it, tells how it goes, and reboots.

The updater is a child that downloads and writes; PID 1 reads its lines and never waits for it. What an update came to
is kept in the record of updates (`init.formats.updates`): the updater writes it while it runs, this does at all other
times, so that whoever asks gets the same answer in any boot.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats import bootrecord, events, release
from init.pid1 import updatepolicy, updaterecord
from init.pid1.disklook import DiskLook
from init.pid1.gate import Standing
from init.pid1.logs import stamp
from init.pid1.system import Spawn
from init.pid1.updaterchild import NAME, UpdaterChild

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init.formats.bootrecord import Record, Slot
    from init.formats.machine import Machine, Update
    from init.formats.updates import UpdateRecord
    from init.pid1.control import Client
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.record import BootRecord
    from init.pid1.returned import Returned
    from init.pid1.system import System

ROOT_PATH = "/run/berth/update-root.json"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
REFUSED_AGAIN = 300.0  # seconds until policy tries again what could not be begun
_TIMER = "update.look"
_SAID = ("checking", "current", "available", "downloading", "written", "switched", "refused", "failed")
_RULES: Mapping[str, Callable[[Record, Slot], Record]] = {
    "vacate": bootrecord.vacate,
    "prefer": lambda record, slot: bootrecord.prefer(record, slot, good=False),
}


class Updates:
    """Starts the updater when somebody or the policy asks, one at a time."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        *,
        performer: Performer,
        logs: Logs,
        announcer: Announcer,
        early: EarlyResult,
        record: BootRecord,
        returned: Returned,
        ask: Callable[[str, str], None],
        is_up: Callable[[], bool],
        say: Callable[[str], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._announcer = announcer
        self._early = early
        self._record = record
        self._returned = returned
        self._ask = ask
        self._is_up = is_up
        self._say = say
        self._machine: Machine | None = None
        self.kept = updaterecord.Kept(system)
        self._child = UpdaterChild(system, loop, performer=performer, logs=logs, hear=self._hear, ended=self._on_end)
        self._look = DiskLook(system, loop, "reading the record of updates", self._read_apart)
        self._now: dict[str, object] = {}
        self._clients: list[Client] = []
        self._action = ""
        self._by_policy = False
        self._reboot = False

    # --- the boot tells ----------------------------------------------------------------------------------

    def boot_gate_passed(self, machine: Machine) -> None:
        """From now on the machine may be changed; the policy begins."""
        self._machine = machine
        self._plan(first=True)

    def confirmed(self) -> None:
        """The slot that runs passed its release gate. Raise OSError."""
        from init.formats import updates  # noqa: PLC0415 - the same

        slot, at = str(self._early.slot), stamp(self._system.time())
        if self._system.exists(updates.PATH) and self.kept.change(lambda was: updates.confirmed(was, slot, at)):
            version = self._early.release.version if self._early.release else ""
            self._emit(updates.GOOD, version)

    @property
    def _update(self) -> Update | None:
        return self._machine.update if self._machine else None

    # --- asked by people ---------------------------------------------------------------------------------

    def answer(self, client: Client, request: Mapping[str, object]) -> None:
        """Answer `update` (check, apply), `update-show` (status, history) and `update-record` (the updater's own)."""
        action = str(request.get("action", ""))
        match request["verb"], action:
            case "update-record", _:
                self._change_record(client, request)
            case "update-show", "status" | "history":
                self._look.ask(lambda answer: self._show(client, action, answer))
            case "update", "check" | "apply":
                problem = self.start(action, again=request.get("again") is True)
                if problem is not None:
                    client.fail("update", *problem)
                    return
                self._reboot = self._reboot or request.get("reboot") is True
                self._clients.append(client)
                client.follow(lambda: self._clients.remove(client) if client in self._clients else None)
            case _:
                client.fail("action", f"update can't {action}", "it can check, apply, status, history")

    def _read_apart(self) -> bytes:
        """In a child: whatever it reads, PID 1 then finds in memory."""
        self._report("history")
        return b"read"

    def _show(self, client: Client, action: str, answer: bytes | None) -> None:
        if answer is None:
            client.fail("state", "the disk that state is on does not answer", "berthctl status; berthctl logs kernel")
            return
        client.send(self._report(action))
        client.finish()

    def rollback(self, client: Client, *, reboot: bool) -> None:
        """Let the other slot boot next, if it is confirmed; give up a release in it that only waits for its boot."""
        problem = self._no_rollback()
        if problem is not None:
            client.fail("rollback", *problem)
            return
        from init.formats import updates  # noqa: PLC0415 - the same

        slot = self._record.slot
        assert slot is not None
        back, at = bootrecord.other(slot), stamp(self._system.time())
        stays = self._waits_for_boot()
        if stays:
            self._record.change(lambda record, own: bootrecord.hold(record, bootrecord.other(own)))
            self.kept.change(lambda was: updates.came_back(was, back, updates.BY_HAND, at))
            self._now = {}
            self._loop.cancel(_TIMER)  # a reboot into it may wait for a window
            self._plan(first=False)
        else:
            self._record.change(lambda record, own: bootrecord.prefer(record, bootrecord.other(own)))
            self.kept.change(lambda was: updates.rolled_back(was, slot, at))
        chosen = slot if stays else back
        version = self._returned.versions.get(chosen)
        reboot = reboot and not stays
        answer = {"slot": chosen, "version": version, "rebooting": reboot, "running": stays}
        client.send({"format": "berth.rollback/1", **answer})
        client.finish()
        if reboot:
            self._loop.soon("reboot", lambda: self._ask("reboot", f"rollback to {version or back}"))

    def _waits_for_boot(self) -> bool:
        """Tell whether the other slot boots next, unconfirmed, while a confirmed one runs; raise OSError."""
        slot, record = self._record.slot, self._record.read()
        if slot is None or record is None:
            return False
        other = record.slot(bootrecord.other(slot))
        return record.slot(slot).good and record.order[0] != slot and other.tries > 0 and not other.good

    def _no_rollback(self) -> tuple[str, str] | None:
        if self._child.pid is not None:
            return "an update is under way", "wait for its end: berthctl update status"
        slot, record = self._record.slot, self._record.read()
        if slot is None or record is None:
            return (
                "there is no boot record: this machine did not boot from a slot",
                "rollback is for installed machines",
            )
        if not record.slot(bootrecord.other(slot)).good and not self._waits_for_boot():
            other = bootrecord.other(slot)
            return f"slot {other} holds no confirmed release to go back to", "berthctl status shows both slots"
        return None

    # --- starting ----------------------------------------------------------------------------------------

    def start(self, action: str, *, again: bool = False) -> tuple[str, str] | None:
        """Start the updater, or join the one that runs. Return what is against it, and what helps."""
        if self._child.pid is not None:
            if action == "apply" and self._action == "check":
                return "the repository is being looked at", "ask again in a moment"
            return None
        problem = self._obstacle()
        if problem is not None:
            return problem
        try:
            self._child.start(self._command(action, again=again))
        except OSError as error:
            return f"the updater could not be started: {error}", "berthctl logs init"
        self._action, self._now = action, {"state": "checking"}
        return None

    def _obstacle(self) -> tuple[str, str] | None:
        update = self._update
        if not self._is_up():
            return "the machine is going down", "ask again after the boot"
        if self._early.media != "disk" or self._early.disk is None or not self._record.present:
            return "this machine did not boot from a slot of a disk", "install it first: berthctl install"
        if self._early.state.kind != "ext4":
            return "state is not on the disk, so an update could not be remembered", "berthctl status says why"
        if update is None:
            return "the boot gate is not passed yet", "ask again in a moment"
        if update.repository is None:
            return "no repository is configured", "set berth.update.repository in the machine's config"
        if self._record.standing() is Standing.NEW:
            return "this release is not confirmed yet", "ask again when berthctl status says that it is"
        return None

    def _command(self, action: str, *, again: bool) -> Spawn:
        """Return what to start; raise OSError where the config's trusted root can't be put down."""
        update = self._update
        assert update is not None
        argv = [
            "/usr/bin/python3", "-I", "-B", release.APP_PATH, NAME, action,
            "--disk", str(self._early.disk), "--slot", str(self._early.slot),
            "--repository", str(update.repository), "--channel", update.channel,
            "--floor", str(int(self._system.time())),
        ]  # fmt: skip
        if update.root is not None:
            self._system.replace(ROOT_PATH, update.root.encode(), 0o600)
            argv += ["--root", ROOT_PATH]
        if again:
            argv.append("--again")
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "SSL_CERT_FILE": CERTIFICATES}
        environment.update(self._machine.environment if self._machine else ())
        return Spawn(argv=tuple(argv), environment=tuple(environment.items()))

    # --- listening ---------------------------------------------------------------------------------------

    def _hear(self, value: Mapping[str, object]) -> None:
        if value.get("state") not in _SAID:
            return
        before, self._now = self._now, dict(value)
        if value["state"] != before.get("state") or value["state"] == "checking":
            self._emit(value["state"], value.get("version", ""), value.get("reason", ""))
        for client in list(self._clients):
            client.send({"progress": value})

    def _on_end(self, status: int) -> None:
        """It ended, and all that it said was heard."""
        if self._now.get("state") not in ("current", "available", "switched", "refused", "failed"):
            self._died(f"status {status}" if status >= 0 else f"signal {-status}")
        answer = self._report(self._action)
        for client in list(self._clients):
            client.send(answer)
            client.finish()
        self._clients = []
        self._follow_up()

    def _died(self, how: str) -> None:
        """It ended without a last word: that is kept as how the update ended."""
        from init.formats import updates  # noqa: PLC0415 - the same

        reason = f"the updater ended with {how} (berthctl logs updater)"
        self._now = {**self._now, "state": updates.FAILED, "reason": reason}
        self._emit(updates.FAILED, self._now.get("version", ""), reason)
        at = stamp(self._system.time())

        def rule(was: UpdateRecord) -> UpdateRecord:
            last = was.last
            if last is None or last.state not in (updates.DOWNLOADING, updates.WRITTEN):
                return was
            return updates.advanced(was, replace(last, state=updates.FAILED, reason=reason, changed=at))

        self._loop.guard("keeping an update's end", lambda: _ignore(self.kept.change(rule)))

    def _follow_up(self) -> None:
        """What comes after an update: the reboot, the next look."""
        by_policy, self._by_policy = self._by_policy, False
        reboot, self._reboot = self._reboot, False
        if self._now.get("state") == "switched":
            version = str(self._now.get("version", ""))
            if by_policy or reboot:
                self._reboot_into(version, hold=by_policy and not reboot)
                return
        self._plan(first=False)

    def _reboot_into(self, version: str, *, hold: bool) -> None:
        """Reboot in order; a policy's window that has closed meanwhile is waited for."""
        update = self._update
        window = updatepolicy.parse(update.window or "") if update and update.policy == "window" else None
        wait = updatepolicy.until_opening(window, self._system.time()) if window and hold else 0.0
        self._loop.after(_TIMER, wait, lambda: self._ask("reboot", f"update to {version}"))

    # --- policy ------------------------------------------------------------------------------------------

    def _plan(self, *, first: bool) -> None:
        update = self._update
        if update is None or update.repository is None or not self._record.present:
            return
        window = updatepolicy.parse(update.window or "")
        place = updatepolicy.fraction(self._early.machine_id)
        wait = updatepolicy.until_look(update.policy, window, self._system.time(), place, first=first)
        if wait is not None:
            self._loop.after(_TIMER, wait, self._look_by_policy)

    def _look_by_policy(self) -> None:
        if self._child.pid is not None:
            self._by_policy = True  # somebody was faster: the policy still wants what comes out of it
            return
        problem = self.start("apply")
        if problem is not None:
            self._say(f"no update: {problem[0]}")
            self._loop.after(_TIMER, REFUSED_AGAIN, self._look_by_policy)
            return
        self._by_policy = True

    # --- the boot record ---------------------------------------------------------------------------------

    def _change_record(self, client: Client, request: Mapping[str, object]) -> None:
        """The updater asks for a change: of the other slot only, and nobody else may ask."""
        slot = self._record.slot
        rule = _RULES.get(str(request.get("rule")))
        if self._child.pid is None or client.peer.pid != self._child.pid:
            client.fail("permission", "only the updater changes the boot record", "use berthctl update or rollback")
            return
        if rule is None or slot is None or request.get("slot") != bootrecord.other(slot):
            client.fail("rule", "only the slot that does not run can be changed", "this is a fault of the updater")
            return
        self._loop.guard("slot's version", lambda: self._name(str(request["rule"]), bootrecord.other(slot)))
        try:
            self._record.change(lambda record, own: rule(record, bootrecord.other(own)))
        except OSError as error:
            client.fail("record", f"the boot record can't be written: {error}", "the disk may be failing")
            return
        client.send({"format": "berth.update-record/1", "done": True})
        client.finish()

    def _name(self, rule: str, slot: str) -> None:
        """Keep what a slot holds before the record changes: whatever is cut short, no release has another's name."""
        if rule == "vacate":
            self._returned.forget(slot)
        else:
            self._returned.learn(slot, str(self._now.get("version", "")))

    def _emit(self, state: object, version: object, reason: object = "") -> None:
        self._announcer.emit(events.UPDATE_STATE, state=state, version=version, reason=reason)

    def _report(self, action: str) -> dict[str, object]:
        running = self._child.pid is not None
        kept, slot = self.kept.load(), self._record.slot
        return updaterecord.report(kept, self._now, self._update, action=action, running=running, slot=slot)


def _ignore(_: object) -> None:
    """Take a value that is only made for what its making does."""
