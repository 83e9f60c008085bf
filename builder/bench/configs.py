"""Machine configurations: `berth check` of a long one, and what reading one costs a boot."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder.bench.boots import CPUS, MEMORY, PATIENCE
from builder.bench.goals import verdict
from builder.bench.guest import Watched, once_more
from builder.bench.measured import Measured, measure
from builder.bench.report import MIB, table
from builder.emulate.options import Options
from builder.emulate.run import prepare
from init.formats import events

if TYPE_CHECKING:
    from builder.tools.call import Tools

LINES = 1000
CHECK_GOAL = 0.3  # seconds of processor
_ENTRY = """  - path: /etc/app/{0}.conf
    permissions: '0640'
    owner: root:root
    content: |
      first{0} = value
      second = {0}
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configs:
    """`check` is of a long document, `empty` of one with nothing in it; the others are seconds
    of the guest's processor from PID 1 to the configuration in force."""

    check: Measured
    empty: Measured
    short: float  # a host name
    long: float


def document(lines: int) -> str:
    """Return a document of about so many lines."""
    head = "#cloud-config\nhostname: measured\n"
    entries = max(lines - 3, 0) // 6
    return head + ("write_files:\n" + "".join(_ENTRY.format(n) for n in range(entries)) if entries else "")


def check(lines: int, folder: Path) -> Measured:
    """Measure `berth check` of a document."""
    path = folder / f"{lines}.yaml"
    path.write_text(document(lines), encoding="utf-8")
    argv = (str(Path(sys.executable).with_name("berth")), "check", str(path))
    return measure(argv, cwd=Path.cwd(), environment=os.environ)


@once_more
def applied(image: Path, tools: Tools, lines: int, folder: Path) -> float:
    """Boot once with a document on a disk; return the seconds of processor from PID 1 to the configuration in force."""
    config = document(lines).encode()
    options = Options(image=image, direct=True, memory=MEMORY, cpus=CPUS, config=config)
    guest, _ = prepare(options, tools=tools, folder=folder)
    with Watched(replace(guest, forwards=()), tools) as watched:
        name = events.CONFIG_APPLIED
        watched.until(lambda: name in watched.marks, timeout=PATIENCE, what=name)
        return watched.marks[name].processor - watched.marks[events.INIT_STARTED].processor


def configs(image: Path, tools: Tools) -> Configs:
    """Measure everything; raises GuestFailed, BuildError."""
    with tempfile.TemporaryDirectory(prefix="berth-bench-") as name:
        folder = Path(name)
        return Configs(
            check=check(LINES, folder),
            empty=check(2, folder),
            short=applied(image, tools, 2, folder),
            long=applied(image, tools, LINES, folder),
        )


def lines(found: Configs) -> list[str]:
    """Return the table."""
    rows = [
        ["`berth check`, processor s", f"{found.empty.processor:.2f}", verdict(found.check.processor, CHECK_GOAL)],
        ["`berth check`, peak MiB", *(f"{each.memory / MIB:.0f}" for each in (found.empty, found.check))],
        ["on the machine, from PID 1 to its configuration: processor s", f"{found.short:.1f}", f"{found.long:.1f}"],
    ]
    head = ("a configuration", "2 lines", f"{LINES} lines")
    return [f"Configurations; the goal of {CHECK_GOAL:g} s is for a quiet machine", "", *table(head, rows)]
