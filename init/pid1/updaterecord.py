"""The record of updates (`init.formats.updates`) in PID 1's hands: read, changed whole, and told.

The updater writes it while it runs; PID 1 only when none does.
"""

from __future__ import annotations

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init.formats.machine import Update
    from init.formats.updates import UpdateRecord
    from init.pid1.system import System


class Kept:
    """The record of updates on state."""

    def __init__(self, system: System) -> None:
        self._system = system

    def load(self) -> UpdateRecord:
        """Return it; an empty one where there is none or it is damaged."""
        from init.formats import updates  # noqa: PLC0415 - the initramfs can do without it

        try:
            return updates.decode(self._system.read(updates.PATH, 1 << 20))
        except (OSError, ValueError):
            return updates.UpdateRecord()

    def change(self, rule: Callable[[UpdateRecord], UpdateRecord]) -> bool:
        """Keep what `rule` makes of it; tell whether that is something else. Raise OSError."""
        from init.formats import updates  # noqa: PLC0415 - the same

        before = self.load()
        after = rule(before)
        if after != before:
            self._system.make_folder(updates.FOLDER, 0o700)
            self._system.replace(updates.PATH, updates.encode(after), 0o644)
        return after != before


def report(
    kept: UpdateRecord,
    now: Mapping[str, object],
    update: Update | None,
    *,
    action: str,
    running: bool,
    slot: str | None,
) -> dict[str, object]:
    """Return `berth.update/1`. `now` is the updater's last word in this boot; `{}`: there was none. `slot` runs.

    A release that is written and boots next is not forgotten over a later look: to `status` that goes on, and a `check`
    that finds it once more finds nothing to take.
    """
    from init.formats import codec, redact, updates  # noqa: PLC0415 - the same

    last = kept.last
    kept_words = {"state": last.state, "version": last.version, "reason": last.reason} if last else {}
    left = kept.holds(last.image) if last is not None and last.state == updates.GOOD and last.slot != slot else None
    if left is not None:  # it was confirmed, and does not run any more: somebody went back
        kept_words |= {"state": updates.RETURNED, "reason": left.reason}
    said = now or kept_words
    if last is not None and last.state == updates.SWITCHED and not running:
        found = (now.get("state"), now.get("version")) == (updates.AVAILABLE, last.version)
        if action in ("status", "history") or (action == "check" and found):
            said = kept_words
    result: dict[str, object] = {
        "format": "berth.update/1",
        "action": action,
        "running": running,
        "state": said.get("state", "none"),
        "version": said.get("version", ""),
        "reason": said.get("reason", ""),
        "progress": dict(now) if running else None,
        "interrupted": not running and last is not None and last.state in (updates.DOWNLOADING, updates.WRITTEN),
        "repository": redact.address(update.repository) if update and update.repository else None,
        "channel": update.channel if update else None,
        "policy": update.policy if update else None,
        "window": update.window if update else None,
        "sequence": kept.sequence,
        "checked": codec.encode(kept.checked) if kept.checked else None,
        "last": codec.encode(last) if last else None,
        "held": [codec.encode(held) for held in kept.held],
    }
    if action == "history":
        result["attempts"] = [codec.encode(attempt) for attempt in kept.attempts]
    return result
