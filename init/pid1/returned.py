"""A slot that came back: found in the record at boot, said, kept on state, so that `status` can tell later."""

from __future__ import annotations

import json

from init.formats import bootrecord, events
from init.pid1 import watchdog
from init.pid1.logs import stamp
from init.pid1.record import gave_up, why_back
from init.pid1.updaterecord import Kept

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.early import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.record import BootRecord
    from init.pid1.system import System

VERSIONS = "/var/lib/berth/slots.json"
LAST = "/var/lib/berth/last-return.json"


class Returned:
    """Looks once, at the start. `last` is the newest return that is known, `versions` what each slot is."""

    def __init__(self, system: System, record: BootRecord, early: EarlyResult, announcer: Announcer) -> None:
        self._system = system
        self._record = record
        self._early = early
        self._announcer = announcer
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
        reason, detail = why_back(self._early.last_phase, came, watchdog=watchdog.has_fired(self._system))
        other = self.versions.get(came, "")
        self.last = {
            "from": other or None,
            "version": mine,
            "reason": reason,
            "detail": detail,
            "at": stamp(self._system.time()),
        }
        self._announcer.emit(events.BOOT_FELLBACK, **{"from": other, "to": mine, "reason": reason, "detail": detail})
        self._keep(LAST, self.last)
        self._hold(came, f"{reason}: {detail}" if detail else reason)

    def _hold(self, came: bootrecord.Slot, reason: str) -> None:
        """The release that came back is not taken again by itself."""
        from init.formats import updates  # noqa: PLC0415 - the initramfs can do without it

        at = stamp(self._system.time())
        if self._system.exists(updates.PATH) and Kept(self._system).change(
            lambda was: updates.came_back(was, came, reason, at)
        ):
            self._announcer.emit(
                events.UPDATE_STATE, state=updates.RETURNED, version=self.versions.get(came, ""), reason=reason
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
