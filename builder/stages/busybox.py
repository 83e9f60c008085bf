"""Links for busybox's applets: every name that no package provides, and `sh`.

The names are read from the program itself, where they stand sorted, each ended by a NUL (busybox's
`applet_names`), so that a build for another architecture needs not run it.
"""

from __future__ import annotations

from builder.errors import BuildError
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

PROGRAM = "usr/bin/busybox"
_FIRST = b"\0[\0[[\0"

# applets whose own place is a folder of the system administrator (busybox's `--list-full`)
_SYSTEM = frozenset({
    "acpid", "adjtimex", "arp", "arping", "blkid", "blockdev", "brctl", "chroot", "crond", "depmod", "devmem",
    "dumpleases", "fdisk", "findfs", "freeramdisk", "fsfreeze", "fstrim", "getty", "halt", "httpd", "hwclock",
    "ifconfig", "ifdown", "ifup", "insmod", "ip", "ipcalc", "klogd", "loadfont", "loadkmap", "logread",
    "losetup", "lsmod", "mdev", "mkdosfs", "mke2fs", "mkswap", "modinfo", "modprobe", "nameif", "nbd-client",
    "nologin", "ntpd", "partprobe", "pivot_root", "poweroff", "rdate", "reboot", "rmmod", "route", "run-init",
    "setkeycodes", "start-stop-daemon", "sulogin", "svc", "svok", "swapoff", "swapon", "switch_root", "sysctl",
    "syslogd", "tunctl", "ubirename", "udhcpc", "udhcpd", "uevent", "vconfig", "watchdog",
})  # fmt: skip
# applets that would do something else here than their name promises
_LEFT_OUT = {
    "busybox": "the program itself",
    "init": "PID 1 is another one",
    "linuxrc": "PID 1 is another one",
    "run-init": "switches roots, which PID 1 does",
    "switch_root": "switches roots, which PID 1 does",
    "dpkg": "would write a database that belongs to the slot",
    "dpkg-deb": "would write a database that belongs to the slot",
    "rpm": "there is no database of its kind",
    "watchdog": "PID 1 holds the watchdog",
    "mdev": "PID 1 makes device nodes",
}


def applets(program: bytes) -> tuple[str, ...]:
    """Return the names of the applets that a busybox holds; raise BuildError where they are not found."""
    start = program.find(_FIRST)
    end = program.find(b"\0\0", start + 1)
    names = tuple(name.decode("ascii", "replace") for name in program[start + 1 : end].split(b"\0"))
    if start < 0 or end < 0 or list(names) != sorted(names) or "sh" not in names:
        raise BuildError(
            "the applets of busybox cannot be read from the program",
            hint="the package busybox changed its make-up: tell Berth's developers, and use the version before",
        )
    return names


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Link what is free."""
    if PROGRAM not in draft:
        return "no busybox"
    made = 0
    for name in applets(draft.read(PROGRAM)):
        if name in _LEFT_OUT or any(f"usr/{folder}/{name}" in draft for folder in ("bin", "sbin")):
            continue
        if name in _SYSTEM:
            draft.link(f"usr/sbin/{name}", "../bin/busybox")
        else:
            draft.link(f"usr/bin/{name}", "busybox")
        made += 1
    return f"{made} applets"
