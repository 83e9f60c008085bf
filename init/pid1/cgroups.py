"""Cgroup plans, pure: which folders a service has, and what is written into them (cgroup v2).

/sys/fs/cgroup/berth               all of Berth's services; the controllers are handed down here
/sys/fs/cgroup/berth/NAME          one service: its limits, and `cgroup.kill` for all that it started
/sys/fs/cgroup/berth/NAME/main     where the processes of a `delegate` service start: a cgroup that hands
                                   controllers down may not hold processes itself (cgroups(7), no inner processes)
/sys/fs/cgroup/berth/NAME.probe    its health probe, so that a late one is killed with all that it started
"""

from __future__ import annotations

from dataclasses import dataclass

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.service import Limits, Service

TOP = "/sys/fs/cgroup"
PARENT = "berth"
CONTROLLERS = ("cpu", "memory", "pids", "io")
PERIOD = 100_000  # microseconds: the kernel's own period for cpu.max


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """One file to write. Nothing of it is needed for the service to run, so a failure is told and no more."""

    path: str
    value: str


def parent(top: str = TOP) -> str:
    """Return the folder that all services' cgroups are in."""
    return f"{top}/{PARENT}"


def group(name: str, top: str = TOP) -> str:
    """Return a service's cgroup: what is killed when it ends."""
    return f"{top}/{PARENT}/{name}"


def home(service: Service, top: str = TOP) -> str:
    """Return the cgroup that a service's processes start in."""
    return f"{group(service.name, top)}/main" if service.delegate else group(service.name, top)


def probe(name: str, top: str = TOP) -> str:
    """Return the cgroup of a service's health probe."""
    return f"{top}/{PARENT}/{name}.probe"


def hand_down(folder: str, available: str) -> tuple[Setting, ...]:
    """Return the writes that hand the controllers of `cgroup.controllers` down to a folder's children.

    One write for each: a kernel that lacks one would refuse them all together.
    """
    names = available.split()
    return tuple(
        Setting(path=f"{folder}/cgroup.subtree_control", value=f"+{name}") for name in CONTROLLERS if name in names
    )


def limits(name: str, wanted: Limits, top: str = TOP) -> tuple[Setting, ...]:
    """Return the writes that set a service's limits. Memory in bytes; a container that swaps is no faster."""
    folder = group(name, top)
    settings = []
    if wanted.memory is not None:
        settings.append(Setting(path=f"{folder}/memory.max", value=str(wanted.memory)))
    if wanted.cpus is not None:
        quota = max(int(wanted.cpus * PERIOD), 1000)
        settings.append(Setting(path=f"{folder}/cpu.max", value=f"{quota} {PERIOD}"))
    if wanted.pids is not None:
        settings.append(Setting(path=f"{folder}/pids.max", value=str(wanted.pids)))
    return tuple(settings)


def is_empty(events: str) -> bool:
    """Tell from the text of `cgroup.events` whether no process is left in a cgroup and those below it."""
    return "populated 0" in events.splitlines()
