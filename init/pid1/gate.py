"""The boot gate and the release gate (docs/recovery.md), pure: state + event → state + actions.

    boot gate     root verified (or there would be no boot), state mounted or its lack said, a config in force, and the
                  loop alive for `settle` seconds. Passing it refills the tries of a confirmed slot.
    release gate  the boot gate, and every required container healthy within `within` seconds. Asked only of a slot
                  that is not confirmed. Passing it is `boot.good`; failing it brings back the other slot if that one
                  is confirmed. Otherwise the machine is degraded: said, tried on, never rebooted for it.

    gate       slot           means                                        leaves by
    waiting    any            the boot gate is open yet                    settle → watching
    watching   any            the containers' health is watched            healthy → passed; `within` → degraded, failed
    passed     any            all was well                                 a reason → degraded
    degraded   any            something is not as it should be             no reason left → passed
    failed     unconfirmed    the release is given up, a reboot follows    –

A new slot that refuses a config which the old one took fails its release gate at once: the same document would be
refused after `within`, too. Without a boot record (ISO, a kernel from outside) nothing is confirmed and nothing
reboots; `health.passed` is said all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from init.formats import events
from init.formats.bare import StrEnum

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(StrEnum):
    """Where the gates stand; the table above."""

    WAITING = "waiting"
    WATCHING = "watching"
    PASSED = "passed"
    DEGRADED = "degraded"
    FAILED = "failed"


class Standing(StrEnum):
    """What the boot record says of the slot that runs."""

    NONE = "none"  # there is no record
    ALONE = "alone"  # not confirmed, and the other slot isn't either
    NEW = "new"  # not confirmed; the other slot is
    GOOD = "good"  # confirmed


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """The gates. `reasons` is what is wrong now, one sentence each; `late`: `within` has passed."""

    standing: Standing
    place: Place = Place.WAITING
    reasons: tuple[str, ...] = ()
    pending: bool = True  # a required container is not healthy yet
    refused: str | None = None  # a config that the other slot took was refused
    late: bool = False
    confirmed: bool = False  # boot.good was said


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How things stand. `reasons`: what is wrong; `waiting`: required containers that aren't healthy."""

    reasons: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """The loop has been alive for `settle` seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Overdue:
    """`within` seconds have passed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """The configuration was refused that was in force under the other slot."""

    reason: str


Event = Look | Settled | Overdue | Refused


@dataclass(frozen=True, kw_only=True, slots=True)
class Refill:
    """Boot gate passed: give the running slot its tries back, if it is confirmed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirm:
    """Release gate passed: the running slot is good."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveBack:
    """Release gate failed: let the other slot boot, and reboot."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Emit:
    """Say an event."""

    event: str
    fields: Mapping[str, object]


Action = Refill | Confirm | GiveBack | Emit
Outcome = tuple[Gate, list[Action]]


def step(gate: Gate, event: Event) -> Outcome:
    """Return the gates after the event, and what to do."""
    if gate.place is Place.FAILED:
        return gate, []
    match event:
        case Look():
            return _look(replace(gate, reasons=event.reasons + event.waiting, pending=bool(event.waiting)))
        case Settled() if gate.place is Place.WAITING:
            after, actions = _look(replace(gate, place=Place.WATCHING))
            return after, [Refill(), *actions]
        case Settled():
            return gate, []
        case Overdue():
            return _look(replace(gate, late=True))
        case Refused():
            return _look(replace(gate, refused=event.reason))


def _look(gate: Gate) -> Outcome:
    """Say where the gates stand after something changed."""
    if gate.place is Place.WAITING:
        return gate, []
    if gate.standing is Standing.NEW and not gate.confirmed:
        if gate.refused is not None:
            return _fail(gate, f"the new release refuses the config: {gate.refused}")
        if gate.late and gate.pending:
            return _fail(gate, "; ".join(gate.reasons))
    actions: list[Action] = []
    if not gate.pending and not gate.confirmed and gate.standing in (Standing.NEW, Standing.ALONE):
        gate = replace(gate, confirmed=True)
        actions.append(Confirm())
    if gate.reasons:
        if gate.place is not Place.DEGRADED and (gate.late or not gate.pending or gate.place is Place.PASSED):
            actions.append(Emit(event=events.HEALTH_DEGRADED, fields={"reasons": list(gate.reasons)}))
            gate = replace(gate, place=Place.DEGRADED)
        return gate, actions
    if gate.place is not Place.PASSED:
        gate = replace(gate, place=Place.PASSED)
        actions.append(Emit(event=events.HEALTH_PASSED, fields={}))
    return gate, actions


def _fail(gate: Gate, reason: str) -> Outcome:
    degraded = Emit(event=events.HEALTH_DEGRADED, fields={"reasons": [reason]})
    return replace(gate, place=Place.FAILED, reasons=(reason,)), [degraded, GiveBack(reason=reason)]


def state(gate: Gate) -> str:
    """Return the health's state as `status` says it: healthy, degraded or pending."""
    match gate.place:
        case Place.PASSED:
            return "healthy"
        case Place.DEGRADED | Place.FAILED:
            return "degraded"
        case Place.WAITING | Place.WATCHING:
            return "pending"
