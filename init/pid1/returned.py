"""A slot that came back: found in the record at boot, said, kept on state, so that `status` can tell later."""

from __future__ import annotations

import json

from init.formats import bootrecord, events
from init.pid1 import watchdog
from init.pid1.logs import stamp
from init.pid1.record import gave_up, last_phase_of, why_back, with_evidence
from init.pid1.updaterecord import Kept

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.conductor import Conductor
    from init.pid1.evidence import Evidence, Findings

VERSIONS = "/var/lib/berth/slots.json"
LAST = "/var/lib/berth/last-return.json"


class Returned:
    """Looks once, at the start. `last` is the newest return that is known, `versions` what each slot is."""

    def __init__(self, of: Conductor, evidence: Evidence) -> None:
        self._system = of.system
        self._record = of.record
        self._early = of.early
        self._announcer = of.announcer
        self._evidence = evidence
        self._held = False
        self._told = False
        self.last: dict[str, object] | None = None
        self.versions: dict[str, str] = {}

    def look(self) -> None:
        """Find out whether this boot is a return; keep which release is in the slot that runs."""
        self.last = self._load(LAST)
        self.versions = {key: str(value) for key, value in (self._load(VERSIONS) or {}).items()}
        slot = self._record.slot
        if not self._record.present or slot is None:
            return
        mine = self._early.release.version if self._early.release else ""
        record = self._record.read()
        came = bootrecord.came_back(record, slot) if record else None
        if came is not None:
            if not self._told:  # where the record can't be changed, all this comes again
                self._tell(came, mine)
            self._record.change(bootrecord.settle)
        elif gave_up(self._early.last_phase, slot):  # it handed over in order, so the record shows no lost tries
            self._tell(bootrecord.other(slot), mine)
        self.learn(slot, mine)

    def learn(self, slot: str, version: str) -> None:
        """Keep which release a slot holds; raise OSError."""
        if slot and self.versions.get(slot) != version:
            self.versions[slot] = version
            self._keep(VERSIONS, self.versions)

    def forget(self, slot: str) -> None:
        """Keep that it is not known what a slot holds: it is about to be written over. Raise OSError."""
        if self.versions.pop(slot, None) is not None:
            self._keep(VERSIONS, self.versions)

    def _tell(self, came: bootrecord.Slot, mine: str) -> None:
        """Keep and hold at once what is known; say it when the slot was read, where that could tell more."""
        phase = self._early.last_phase
        reason, detail = why_back(phase, came, watchdog=watchdog.has_fired(self._system))
        self.last = {
            "from": self.versions.get(came) or None,
            "version": mine,
            "reason": reason,
            "detail": detail,
            "phase": last_phase_of(phase, came),
            "at": stamp(self._system.time()),
        }
        self._keep(LAST, self.last)
        self._held = self._hold(came, _sentence(reason, detail))
        self._told = True
        if reason not in ("no-init", "unknown") or self._early.disk is None:
            self._say(came)
            return
        try:
            self._evidence.gather(self._early.disk, came, lambda found: self._explain(came, found))
        except OSError:  # what is known is said all the same
            self._say(came)

    def _explain(self, came: bootrecord.Slot, found: Findings) -> None:
        """The slot was read. Raise OSError where what it tells can't be kept."""
        assert self.last is not None
        before = str(self.last["reason"]), str(self.last["detail"])
        reason, detail = with_evidence(*before, found.get("boot", ""), found.get("root", ""))
        self.last = {**self.last, "reason": reason, "detail": detail}
        self._say(came)
        if (reason, detail) != before:
            self._keep(LAST, self.last)
            if self._held:
                from init.formats import updates  # noqa: PLC0415 - the initramfs can do without it

                Kept(self._system).change(lambda was: updates.explained(was, came, _sentence(reason, detail)))

    def _say(self, came: bootrecord.Slot) -> None:
        from init.formats import updates  # noqa: PLC0415 - the same

        assert self.last is not None
        reason, detail, mine = str(self.last["reason"]), str(self.last["detail"]), self.last["version"]
        other = self.versions.get(came, "")
        self._announcer.emit(events.BOOT_FELLBACK, **{"from": other, "to": mine, "reason": reason, "detail": detail})
        if self._held:
            said = _sentence(reason, detail)
            self._announcer.emit(events.UPDATE_STATE, state=updates.RETURNED, version=other, reason=said)

    def _hold(self, came: bootrecord.Slot, reason: str) -> bool:
        """The release that came back is not taken again by itself; tell whether an update had brought it."""
        from init.formats import updates  # noqa: PLC0415 - the same

        at = stamp(self._system.time())
        return self._system.exists(updates.PATH) and Kept(self._system).change(
            lambda was: updates.came_back(was, came, reason, at)
        )

    def _load(self, path: str) -> dict[str, object] | None:
        if not self._system.exists(path):
            return None
        try:
            value = json.loads(self._system.read(path, 1 << 16))
        except ValueError:
            return None  # torn by a power cut, or damaged: it is only for show
        return value if isinstance(value, dict) else None

    def _keep(self, path: str, value: object) -> None:
        self._system.replace(path, json.dumps(value).encode() + b"\n")


def _sentence(reason: str, detail: str) -> str:
    return f"{reason}: {detail}" if detail else reason
