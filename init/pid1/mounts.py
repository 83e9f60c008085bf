"""The file systems of a boot as lists of values that print themselves; `perform` is the only thing that acts.

What podman and docker need stands in the lists and nothing else does: no securityfs, so no AppArmor.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from init.pid1.system import Early

READ_ONLY = 1
NO_SUID = 2
NO_DEVICES = 4
NO_EXECUTE = 8
REMOUNT = 32
NO_ACCESS_TIME = 1024
BIND = 4096
MOVE = 8192
RECURSIVE = 16384
SHARED = 1 << 20

_WORDS = (
    (READ_ONLY, "ro"), (NO_SUID, "nosuid"), (NO_DEVICES, "nodev"), (NO_EXECUTE, "noexec"), (REMOUNT, "remount"),
    (NO_ACCESS_TIME, "noatime"), (BIND, "bind"), (MOVE, "move"), (RECURSIVE, "rec"), (SHARED, "shared"),
)  # fmt: skip
_STRICT = NO_SUID | NO_DEVICES | NO_EXECUTE


@dataclass(frozen=True, kw_only=True, slots=True)
class MountStep:
    """One mount(2). `mode` is that of the folder when it has to be made."""

    source: str
    target: str
    kind: str = ""
    flags: int = 0
    data: str = ""
    mode: int = 0o755

    def __str__(self) -> str:
        words = [word for bit, word in _WORDS if self.flags & bit]
        options = ",".join([*words, self.data] if self.data else words)
        kind = f" -t {self.kind}" if self.kind else ""
        return f"mount{kind}{' -o ' + options if options else ''} {self.source} {self.target}"


FIRST = (
    MountStep(source="sysfs", target="/sys", kind="sysfs", flags=_STRICT),
    MountStep(source="devtmpfs", target="/dev", kind="devtmpfs", flags=NO_SUID, data="mode=755"),
    MountStep(
        source="tmpfs", target="/run", kind="tmpfs", flags=NO_SUID | NO_DEVICES, data="mode=755,size=25%",
    ),
    MountStep(source="proc", target="/proc", kind="proc", flags=_STRICT),  # last: it tells of all
)  # fmt: skip
"""Before anything else, in the initramfs."""

MOVED = ("/dev", "/proc", "/sys", "/run")
"""What goes along to the root."""

AFTER_SWITCH = (
    MountStep(source="", target="/", flags=SHARED | RECURSIVE),  # as containers' engines expect it
    MountStep(
        source="devpts", target="/dev/pts", kind="devpts", flags=NO_SUID | NO_EXECUTE,
        data="mode=620,ptmxmode=666,gid=5",
    ),
    MountStep(source="tmpfs", target="/dev/shm", kind="tmpfs", flags=NO_SUID | NO_DEVICES, data="mode=1777"),  # noqa: S108 - the place itself
    MountStep(source="mqueue", target="/dev/mqueue", kind="mqueue", flags=_STRICT),
    MountStep(source="cgroup2", target="/sys/fs/cgroup", kind="cgroup2", flags=_STRICT, data="nsdelegate"),
    MountStep(
        source="tmpfs", target="/tmp", kind="tmpfs",  # noqa: S108 - the place itself
        flags=NO_SUID | NO_DEVICES, data="mode=1777,size=25%",
    ),
    MountStep(source="tmpfs", target="/etc", kind="tmpfs", flags=NO_SUID | NO_DEVICES, data="mode=755,size=10%"),
)  # fmt: skip
"""In the root; each can fail without ending the boot."""

LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)


def link(system: Early, path: str, target: str) -> Callable[[], None]:
    """Return the act of making a link; it raises OSError."""
    return lambda: system.make_link(path, target)


def perform(system: Early, step: MountStep) -> None:
    """Make the folder where it is missing, and mount; raise OSError."""
    if not system.exists(step.target):
        system.make_folder(step.target, step.mode)
    system.mount(step.source, step.target, step.kind, step.flags, step.data)


def perform_first(system: Early) -> None:
    """Mount the kernel's file systems unless they are there; raise OSError. It can be tried again after a failure."""
    if system.exists("/proc/cmdline"):
        return
    for step in FIRST:
        try:
            perform(system, step)
        except OSError as error:
            if error.errno != errno.EBUSY:  # mount(2): the same one is mounted there
                raise


def perform_all(system: Early, steps: Iterable[MountStep]) -> tuple[str, ...]:
    """Do what can be done; return a sentence for each that failed."""
    problems = []
    for step in steps:
        try:
            perform(system, step)
        except OSError as error:
            problems.append(f"{step.target} could not be mounted: {error.strerror}")
    return tuple(problems)
