"""What the kernel is set to before the first service: memory for the users, a name until the configuration has one."""

from __future__ import annotations

from dataclasses import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.pid1.system import Early

FACTORY_ETC = "/usr/share/factory/etc"
HOSTNAME = "berth"
_SMALL = 2 << 30  # bytes
_HUGE_PAGES = "/sys/kernel/mm/transparent_hugepage/enabled"
_RESERVE = "/proc/sys/vm/min_free_kbytes"
_RESERVE_MOST = 4096  # kB
_LOW = "/proc/sys/vm/lowmem_reserve_ratio"
_LISTS = "/proc/sys/vm/percpu_pagelist_high_fraction"
_READ_AHEAD = 16  # KiB
_PIDS_MOST = 4 << 20  # PID_MAX_LIMIT of a 64-bit kernel (include/linux/threads.h)


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A value that is written into one of the kernel's files."""

    path: str
    value: str

    def write_to(self, system: Early) -> Callable[[], None]:
        """Return the act of writing it; it raises OSError."""
        return lambda: system.write(self.path, self.value.encode())


PIDS = Setting(path="/proc/sys/kernel/pid_max", value=f"{_PIDS_MOST}")
"""As many processes as memory allows. The kernel begins with 32768, threads too: one container could use up all."""
DISCS = Setting(path="/sys/module/block/parameters/events_dfl_poll_msecs", value="2000")
"""How often drives with removable media are asked, in milliseconds. The kernel begins with never."""


def read_ahead(device: str) -> Setting:
    """Return the setting of how much is read around a page that is asked for of the root, on `/dev/dm-N`.

    EROFS unpacks whole clusters: the cluster is the read-ahead. The kernel's 128 KiB have neighbours unpacked as well,
    which nobody asked for. Whoever reads a file from its beginning to its end asks for more at once, and gets it.
    """
    return Setting(path=f"/sys/block/{device.removeprefix('/dev/')}/queue/read_ahead_kb", value=f"{_READ_AHEAD}")


def memory(system: Early) -> int:
    """Return the machine's memory in bytes; 0 when it can't be told."""
    try:
        text = system.read("/proc/meminfo", 4096).decode("ascii", "replace")
    except OSError:
        return 0
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdecimal():
            return int(words[1]) * 1024
    return 0


def for_memory(total: int) -> tuple[Setting, ...]:
    """Return the settings for so many bytes.

    With huge pages on, khugepaged raises the kernel's reserve from 4 to 45 MB, which a small machine never gains
    back; with `madvise` whoever asks for them still gets them. The reserve is put back after the first write, which
    raises it (measured: 64 to 85 MB of 1 GiB), to what the kernel itself begins with: four times the root of the memory
    in kB (mm/page_alloc.c). The lowest 16 MB are kept back for cards on an ISA bus, which no machine of today has: 0
    gives them to everybody (3.7 MB more that is available). Each processor hoards freed pages, by default up to an
    eighth of the memory in all; at rest that were 7 MB of 1 GiB, and are now at most 1 MB a processor.
    """
    if not 0 < total <= _SMALL:
        return ()
    return (
        Setting(path=_HUGE_PAGES, value="madvise"),
        Setting(path=_RESERVE, value=f"{min(_RESERVE_MOST, int((total // 1024 * 16) ** 0.5))}"),
        Setting(path=_LOW, value="0 0 0 0 0"),
        Setting(path=_LISTS, value="1024"),
    )
