"""How far a boot has come, kept in one sector beside the boot record (`disk.PHASE_SECTOR` of record-0).

PID 1 writes it at each phase of a boot that is not confirmed yet, and once more with the reason when it gives up. The
next boot reads what the one before came to. It is advice: a sector that cannot be read says `unknown`, nothing else.

The form is an environment block of 512 bytes, so that GRUB's tools can show it; `check` repeats the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats import envblock

BYTES = 512
PHASES = ("initramfs", "root", "state", "config", "containers", "good")
REASONS = ("", "no-init", "verity", "init-exception", "unhealthy", "watchdog", "unknown")
_VARIABLES = ("slot", "phase", "reason", "boot", "detail", "check")
_MOST_DETAIL = 160  # bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class BootPhase:
    """One boot: its slot, the last phase, why it gave up (`""`: it did not), its boot id, and one line more."""

    slot: str
    phase: str
    reason: str = ""
    boot: str = ""
    detail: str = ""


def encode(value: BootPhase) -> bytes:
    """Return the sector; `detail` is cut to what fits."""
    if value.slot not in ("a", "b") or value.phase not in PHASES or value.reason not in REASONS:
        raise ValueError(f"not a boot's phase: {value}")
    detail = value.detail.replace("\n", " ").encode()[:_MOST_DETAIL].decode("utf-8", "ignore")
    values = {
        "slot": value.slot, "phase": value.phase, "reason": value.reason, "boot": value.boot[:40], "detail": detail,
    }  # fmt: skip
    return envblock.encode({**values, "check": _check(values)}, BYTES)


def decode(sector: bytes) -> BootPhase | None:
    """Read the sector; None where it holds nothing or is damaged."""
    found = envblock.read(sector[:BYTES], _VARIABLES)
    if found is None:
        return None
    values = {name: value.decode("utf-8", "replace") for name, value in found.items()}
    check = values.pop("check", None)
    if set(values) != set(_VARIABLES[:-1]) or check != _check(values):
        return None
    if values["slot"] not in ("a", "b") or values["phase"] not in PHASES or values["reason"] not in REASONS:
        return None
    return BootPhase(**values)


def _check(values: dict[str, str]) -> str:
    return "1/" + "/".join(values[name] for name in ("slot", "phase", "reason", "boot")) + f"/{len(values['detail'])}"
