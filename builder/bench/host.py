"""What figures were measured on, since a time without its machine says nothing."""

from __future__ import annotations

import datetime
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.emulate.accelerator import Accelerator

if TYPE_CHECKING:
    from builder.tools.call import Tools


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """The machine. `load` is its load average over a minute before anything was measured; `memory` is in bytes."""

    date: str
    processor: str
    cores: int
    memory: int
    system: str
    python: str
    qemu: str
    accelerator: str
    load: float

    def line(self) -> str:
        """Return it as a sentence."""
        busy = f"; the machine was shared (load {self.load:.1f})" if self.load > self.cores / 2 else ""
        return (
            f"{self.date}, {self.processor}, {self.cores} cores, {self.memory / (1 << 30):.0f} GiB, {self.system}, "
            f"Python {self.python}, {self.qemu}, {self.accelerator}{busy}"
        )


def look(tools: Tools, accelerator: Accelerator) -> Host:
    """Return what can be said of this machine, without its name or any path."""
    version = tools.run("qemu-system-x86_64", "--version").decode().partition("\n")[0]
    return Host(
        date=f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
        processor=processor(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        cores=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=f"Linux {platform.release()}",
        python=platform.python_version(),
        qemu=version.replace("emulator version ", "").partition(" (")[0],
        accelerator=" ".join(accelerator.arguments),
        load=os.getloadavg()[0],
    )


def processor(cpuinfo: str) -> str:
    """Return the first processor's name in the text of /proc/cpuinfo."""
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return "unknown processor"
