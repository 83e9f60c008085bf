"""The boot as a timeline for people: when each event came, and how long after the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH = 24  # columns of the bar
_NOT_SHOWN = {"t", "event", "seq", "boot_id", "format"}


def lines(reports: Sequence[tuple[float, Mapping[str, Any]]]) -> list[str]:
    """Return the lines. Each report is (seconds since QEMU's start, event); the guest's own clock is its `t`."""
    if not reports:
        return ["no event came from the guest"]
    longest = max(at for at, _ in reports) or 1.0
    before = 0.0
    result = [f"{'QEMU':>8} {'kernel':>8} {'step':>7}  event"]
    for at, event in reports:
        kernel = event.get("t")
        clock = f"{kernel:8.2f}" if isinstance(kernel, int | float) else " " * 8
        bar = " " * int(before / longest * _WIDTH)
        bar += "█" * max(1, int(at / longest * _WIDTH) - len(bar))
        result.append(f"{at:8.2f} {clock} {at - before:+7.2f}  {bar:<{_WIDTH}}  {event['event']}{_facts(event)}")
        before = at
    return result


def _facts(event: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in event.items() if key not in _NOT_SHOWN and value not in (None, "", [], 0)}
    parts = [str(shown.pop("name"))] if "name" in shown else []
    parts += [f"{key}={_short(value)}" for key, value in shown.items()]
    return f"  {' '.join(parts)}" if parts else ""


def _short(value: object) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
