"""Whether a release may be taken: a pure rule over what is offered, what runs and what was before.

| offered                                          | verdict                          |
|--------------------------------------------------|----------------------------------|
| another class or channel than was asked for      | refused                          |
| a loader format newer than this disk's           | refused                          |
| larger than the slot                             | refused                          |
| what runs already                                | current                          |
| a sequence below the highest confirmed here      | refused; no request changes that |
| one that came back, or was rolled back from      | refused until asked for `again`  |
| anything else                                    | available                        |

Where no sequence is known yet (a machine that was never updated), the release's own date stands in for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats import updates
from init.formats.offer import Offer
from init.formats.updates import UpdateRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """The machine: its class, channel, the loader's format, the slot that runs, and the other slot's room in bytes."""

    machine_class: str
    channel: str
    version: str
    epoch: int
    loader: int
    slot_hash: str  # of the slot that runs; empty where it can't be read
    boot_room: int
    root_room: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """`state`: available, current or refused, and for the last why."""

    state: str
    reason: str = ""


def decide(offer: Offer, running: Running, record: UpdateRecord, *, again: bool = False) -> Verdict:
    """Return the verdict."""
    reason = _misfit(offer, running)
    if reason:
        return Verdict(state=updates.REFUSED, reason=reason)
    if offer.slot_hash == running.slot_hash:
        return Verdict(state=updates.CURRENT)
    reason = _older(offer, running, record)
    if reason:
        return Verdict(state=updates.REFUSED, reason=reason)
    held = record.holds(offer.slot_hash)
    if held is not None and not again:
        return Verdict(
            state=updates.REFUSED,
            reason=f"{offer.version} is held since {held.at}: {held.reason} (berthctl update apply --again takes it)",
        )
    return Verdict(state=updates.AVAILABLE)


def _misfit(offer: Offer, running: Running) -> str:
    """Say why the release can't be this machine's at all."""
    if offer.machine_class != running.machine_class:
        return f"it is for the class {offer.machine_class}; this machine's is {running.machine_class}"
    if offer.channel != running.channel:
        return f"it is on the channel {offer.channel}; this machine follows {running.channel}"
    if offer.loader > running.loader:
        return (
            f"it needs loader format {offer.loader}; this disk has {running.loader}"
            " (berthctl install --loader renews it)"
        )
    for what, size, room in (
        ("boot", offer.boot.size, running.boot_room),
        ("root", offer.root.size, running.root_room),
    ):
        if size > room:
            return f"no space: its {what} image has {size} bytes, the slot {room}"
    return ""


def _older(offer: Offer, running: Running, record: UpdateRecord) -> str:
    if offer.sequence < record.sequence:
        return f"its sequence {offer.sequence} is older than {record.sequence}, which ran here"
    if record.sequence == 0 and offer.epoch < running.epoch:
        return "it was made before the release that runs"
    return ""
