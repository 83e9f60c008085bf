"""The tables: Markdown, so that what the command prints can stand in the documentation as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from builder.bench.boots import ANSWER, Boot, middle, ratio
from builder.bench.goals import GOALS, MORE, more, verdict
from builder.bench.sizes import SHOWN, Sizes
from init.formats import events

if TYPE_CHECKING:
    from builder.bench.builds import Builds
    from builder.bench.poweron import PowerOn

MB = 10**6
MIB = 1 << 20
SHOWN_MARKS = (
    (events.INIT_STARTED, "PID 1"),
    (events.NETWORK_UP, "network"),
    (events.CONTAINER_STARTED, "container begun"),
    (events.CONTAINER_OUTPUT, "its first line"),
    (ANSWER, "container answers"),
    (events.CONTAINER_HEALTHY, "container healthy"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What was measured of one recipe with one kernel; parts that were not asked for are None or empty."""

    recipe: str
    kernel: str
    sizes: Sizes | None = None
    builds: Builds | None = None
    boots: tuple[Boot, ...] = ()
    restarts: tuple[float, ...] = ()  # seconds
    counted: Mapping[str, float] = field(default_factory=dict)  # billions of instructions, by event
    power_ons: tuple[PowerOn, ...] = ()  # one a firmware
    least: int | None = None  # MB


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table, the first column to the left and the others to the right."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def report(figures: Sequence[Figures]) -> str:
    """Return all tables for which something was measured.

    Goals are for the cloud kernel. Beside the full kernel's stands how much more they are than the cloud kernel's of
    the same recipe, where that was measured, too.
    """
    lines = [
        *_sizes([each for each in figures if each.sizes]),
        *_packages([each for each in figures if each.sizes]),
        *_builds([each for each in figures if each.builds]),
        *_boots([each for each in figures if each.boots]),
        *_counted([each for each in figures if each.counted]),
        *_power_ons([each for each in figures if each.power_ons]),
        *_restarts([each for each in figures if each.restarts]),
        *_memory([each for each in figures if each.boots or each.least]),
    ]
    return "\n".join(lines)


def _name(each: Figures) -> str:
    return f"{each.recipe}, {each.kernel}"


def _beside(each: Figures, value: float | None, goal: str) -> str:
    known = GOALS.get(each.recipe) if each.kernel == "cloud" else None
    return verdict(value, getattr(known, goal) if known else None)


def _cloud(each: Figures, figures: Sequence[Figures]) -> Figures | None:
    """Return what was measured of the same recipe with the cloud kernel."""
    return next((one for one in figures if (one.recipe, one.kernel) == (each.recipe, "cloud")), None)


def _against(each: Figures, figures: Sequence[Figures], goal: str, value: Callable[[Figures], float | None]) -> str:
    """Return a figure beside its goal: the recipe's own, or how much more than the cloud kernel's it is."""
    cloud = _cloud(each, figures)
    if each.kernel == "cloud" or cloud is None:
        return _beside(each, value(each), goal)
    return more(value(each), value(cloud), MORE[goal])


def _iso(each: Figures) -> float | None:
    return each.sizes.iso / MB if each.sizes else None


def _first_line(each: Figures) -> float | None:
    return middle(
        [one.marks[events.CONTAINER_OUTPUT].wall for one in each.boots if events.CONTAINER_OUTPUT in one.marks]
    )


def _sizes(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    rows = []
    for each in figures:
        size = each.sizes
        assert size is not None
        parts = (size.kernel, size.initramfs, size.root, size.download)
        rows.append([_name(each), _against(each, figures, "iso", _iso), *(f"{part / MB:.1f}" for part in parts)])
    return [
        "Sizes, in MB (10⁶ bytes); `more` than with the cloud kernel",
        "",
        *table(("recipe, kernel", "ISO", "kernel", "initramfs", "root image", "download"), rows),
    ]


def _packages(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    columns = [list(each.sizes.packages[:SHOWN]) for each in figures if each.sizes]
    rows = [
        [f"{name} {size / MB:.1f}" for name, size in row]
        for row in zip(*columns, strict=False)  # the shortest list ends the table
    ]
    return ["The largest origins in the root, in MB uncompressed", "", *table([_name(each) for each in figures], rows)]


def _builds(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    rows = []
    for each in figures:
        made = each.builds
        assert made is not None
        rows.append(
            [
                _name(each),
                f"{made.fetched.seconds:.1f}, {made.fetched.processor:.0f}",
                f"{_beside(each, made.cold.seconds, 'build')}, {made.cold.processor:.0f}",
                f"{made.changed.seconds:.1f}, {made.changed.processor:.0f}",
                _beside(each, made.unchanged.seconds, "unchanged"),
                f"{max(made.fetched.memory, made.cold.memory, made.changed.memory) / MIB:.0f}",
            ]
        )
    head = ("recipe, kernel", "nothing cached", "packages cached", "one package more", "unchanged: s", "peak, MiB")
    return [
        "Builds: seconds, seconds of processor; the peak is that of all processes together. With nothing cached all",
        "packages come from a mirror on the same computer; else nothing is downloaded",
        "",
        *table(head, rows),
    ]


def _boots(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    rows = []
    for each in figures:
        ground = middle([one.floor.wall for one in each.boots])
        rows.append([_name(each), f"{verdict(ground, None)}", *(_mark(each, figures, name) for name, _ in SHOWN_MARKS)])
    return [
        "Boots, medians: seconds since QEMU's start / since the kernel's / times the processor time of a floor boot",
        "(the same kernel with a PID 1 that says one line); `more` than with the cloud kernel",
        "",
        *table(("recipe, kernel", "floor", *(title for _, title in SHOWN_MARKS)), rows),
    ]


def _counted(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    shown = [(event, title) for event, title in SHOWN_MARKS if any(event in each.counted for each in figures)]
    rows = [[_name(each), *(verdict(each.counted.get(event), None) for event, _ in shown)] for each in figures]
    return [
        "The same by counted instructions, in billions since the kernel's start, on one virtual CPU: whoever else uses",
        "the computer, they stay within a per cent",
        "",
        *table(("recipe, kernel", *(title for _, title in shown)), rows),
    ]


def _power_ons(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    rows = [
        [f"{_name(each)}, {one.firmware}", *(verdict(value, None) for value in (one.live, one.install, one.installed))]
        for each in figures
        for one in each.power_ons
    ]
    return [
        "From power-on, with firmware and GRUB, to the container's first line, and an installation from plan to end: s",
        "",
        *table(("recipe, kernel, firmware", "ISO as a CD", "installation", "installed disk"), rows),
    ]


def _restarts(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    rows = [
        [_name(each), _beside(each, middle(each.restarts), "restart"), verdict(max(each.restarts), None)]
        for each in figures
    ]
    return [
        "A killed container: seconds from its end until its next start says its first word",
        "",
        *table(("recipe, kernel", "median", "longest"), rows),
    ]


def _mark(each: Figures, figures: Sequence[Figures], name: str) -> str:
    marks = [one.marks[name] for one in each.boots if name in one.marks]
    if name == events.CONTAINER_OUTPUT:
        shown = _against(each, figures, "container", _first_line)
    else:
        shown = verdict(middle([mark.wall for mark in marks]), None)
    kernel = verdict(middle([mark.kernel for mark in marks]), None)
    return f"{shown} / {kernel} / {verdict(middle([ratio(one, name) for one in each.boots]), None)}"


def _memory(figures: Sequence[Figures]) -> list[str]:
    if not figures:
        return []
    rows = []
    for each in figures:
        used = middle([one.used for one in each.boots])
        rows.append(
            [
                _name(each),
                _beside(each, None if used is None else used / MIB, "idle"),
                _beside(each, each.least, "least"),
                _beside(each, middle([one.power_off for one in each.boots]), "power_off"),
            ]
        )
    return [
        "Memory (MemTotal - MemAvailable 25 s after the container is healthy, and the least that reaches it, both of a",
        "machine without the bench's event port) and power-off",
        "",
        *table(("recipe, kernel", "at rest, MiB", "least, MiB", "power-off, s"), rows),
    ]
