"""What each figure is to reach: `build.kernel=cloud`, two quiet cores under emulation, 1024 MB, direct boots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """Upper bounds of one recipe: sizes in MB (10⁶ bytes), memory in MB (2²⁰ bytes), times in seconds."""

    iso: float
    container: float  # from QEMU's start to the container's first line
    idle: float  # MemTotal - MemAvailable, 25 s after the container is healthy
    least: float
    power_off: float
    build: float
    unchanged: float = 3.0
    restart: float = 1.0  # of a killed container


GOALS: Mapping[str, Goal] = {
    "minimal": Goal(iso=43, container=5, idle=54, least=112, power_off=1, build=30),
    "podman": Goal(iso=82, container=12, idle=66, least=160, power_off=2, build=45),
    "docker": Goal(iso=140, container=24, idle=130, least=320, power_off=4, build=80),
}

# What the full kernel may cost more than the cloud kernel of the same run: MB of an ISO, seconds to the first line.
MORE: Mapping[str, float] = {"iso": 30, "container": 1.5}


def verdict(value: float | None, most: float | None) -> str:
    """Return a figure beside its goal: `46.1 (≤ 43: no)`; a figure that was not taken is a dash."""
    if value is None:
        return "–"
    if most is None:
        return _text(value)
    return f"{_text(value)} (≤ {most:g}{'' if value <= most else ': no'})"


def more(value: float | None, other: float | None, most: float) -> str:
    """Return a figure beside how much more than `other` it is, and may be: `57.7 (14.7 more ≤ 30)`."""
    if value is None or other is None:
        return verdict(value, None)
    extra = value - other
    told = f"{_text(extra)} more" if extra >= 0 else f"{_text(-extra)} less"
    return f"{_text(value)} ({told} ≤ {most:g}{'' if extra <= most else ': no'})"


def _text(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
