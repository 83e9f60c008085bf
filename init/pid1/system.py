"""The one door to the kernel: what PID 1 may ask of it, as small protocols whose sum is `System`.

Everything that decides is pure and takes values; everything that acts takes the protocol that it needs. The
only real body is `init.pid1.linux`; `tests/fakes/system.py` records the calls and lets the n-th one fail.

Every method raises OSError, with the kernel's number, when the kernel refuses; no other exception. Paths are
text, sizes bytes, times seconds. Nothing here blocks for longer than one disk access, but for methods that take
a time limit.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.pid1.links import Network

# Spelt so, type checkers take it for true, and `typing` (40 ms under emulation) isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol
else:
    Protocol = object


@dataclass(frozen=True, kw_only=True, slots=True)
class FileStatus:
    """What lstat(2) says of a path. `size` in bytes, `modified` in seconds UTC, `device` is st_rdev."""

    mode: int
    uid: int
    gid: int
    size: int
    modified: float
    device: int
    filesystem: int  # st_dev


class Files(Protocol):
    """Files, folders and links."""

    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        """Return a file's content, at most `limit` bytes of it."""

    def read_ahead(self, path: str) -> None:
        """Let the kernel read a whole file into its cache, and don't wait for it."""

    def write(self, path: str, data: bytes) -> None:
        """Write into an existing file or device in place with one write(2): /proc, /sys, device nodes."""

    def replace(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Put a file in place whole: a temporary name beside it, fsync, rename, fsync of the folder."""

    def append(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add to a file's end, making it where it is missing."""

    def names(self, path: str) -> list[str]:
        """Return the names in a folder, sorted."""

    def status(self, path: str) -> FileStatus:
        """Return what lstat(2) says; a link is not followed."""

    def exists(self, path: str) -> bool:
        """Tell whether a path leads to something (links are followed). Never fails."""

    def make_folder(self, path: str, mode: int = 0o755) -> None:
        """Make a folder and the ones above it; one that is there already keeps its mode."""

    def make_link(self, path: str, target: str) -> None:
        """Make a symbolic link at `path`, in place of a link or file that is there."""

    def read_link(self, path: str) -> str:
        """Return a symbolic link's target as it stands there."""

    def set_mode(self, path: str, mode: int) -> None:
        """Set a path's permissions (links are followed)."""

    def set_owner(self, path: str, uid: int, gid: int) -> None:
        """Set a path's owner and group (a link's own)."""

    def rename(self, old: str, new: str) -> None:
        """Move a file within a file system, in place of what is there."""

    def remove(self, path: str) -> None:
        """Take away one file or link."""

    def remove_tree(self, path: str) -> None:
        """Take away what is below a folder, and the folder, never crossing into another file system."""

    def fill_tree(self, source: str, target: str) -> int:
        """Copy below `target` what is missing there, with owner, mode, links, attributes; return how many."""


class Descriptors(Protocol):
    """Open files. A descriptor is a small number; all are opened close-on-exec."""

    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        """Open a file with the flags of open(2); O_CLOEXEC is added."""

    def close(self, descriptor: int) -> None:
        """Close a descriptor."""

    def read_from(self, descriptor: int, limit: int) -> bytes:
        """Read at most `limit` bytes: `b""` at the end, BlockingIOError where nothing is there yet."""

    def write_to(self, descriptor: int, data: bytes) -> int:
        """Write once; return how many bytes went."""

    def duplicate(self, descriptor: int, number: int) -> None:
        """Let `number` be the same open file (dup2(2)), inherited by children: for the standard streams."""

    def wait_readable(self, descriptors: Sequence[int], seconds: float | None) -> list[int]:
        """Wait until one can be read, at most `seconds` (None: for ever); return those that can."""


class Mounts(Protocol):
    """File systems and the root."""

    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        """mount(2): `flags` are the MS_… of `init.pid1.mounts`."""

    def unmount(self, target: str, flags: int = 0) -> None:
        """umount2(2)."""

    def switch_root(self, path: str) -> int:
        """Make the file system at `path` the root, then empty the initramfs; return how many nodes went."""

    def space(self, path: str) -> tuple[int, int]:
        """Return the bytes that are free for use, and all, of the file system at `path`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """One row of a device-mapper table: `start` and `length` in sectors of 512 bytes."""

    start: int
    length: int
    target: str
    parameters: str


class Blocks(Protocol):
    """Block devices by the path of their node."""

    def device_size(self, path: str) -> int:
        """Return a block device's size in bytes."""

    def sector_size(self, path: str) -> int:
        """Return a block device's logical sector size in bytes."""

    def read_blocks(self, path: str, offset: int, length: int) -> bytes:
        """Read from a block device or file; shorter at its end."""

    def write_blocks(self, path: str, offset: int, data: bytes) -> None:
        """Write past the page cache (O_DIRECT) and sync; offset and length are multiples of 512."""

    def resize_partition(self, disk: str, number: int, start: int, length: int) -> None:
        """Tell the kernel that a partition in use has grown (BLKPG); bytes."""

    def attach_loop(self, path: str, *, read_only: bool = True) -> str:
        """Attach a file to a free loop device; return `/dev/loopN`."""

    def detach_loop(self, device: str) -> None:
        """Let go of a loop device's file."""

    def map_device(self, name: str, table: Sequence[TableRow], *, read_only: bool = True) -> str:
        """Make a device-mapper device; return `/dev/dm-N`."""

    def unmap_device(self, name: str) -> None:
        """Take a device-mapper device away."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Uevent:
    """One message of the kernel about a device. `variables` holds SUBSYSTEM, MODALIAS, DEVNAME, MAJOR …"""

    action: str  # `add`, `remove`, `change`, `move`, `bind`, `unbind`
    path: str  # below /sys, beginning with `/devices`
    variables: Mapping[str, str]


class Devices(Protocol):
    """Kernel modules and the kernel's news about devices."""

    def load_module(self, path: str, parameters: str = "") -> None:
        """Load a module file (`.ko`, `.ko.xz`, `.ko.zst`); one that is loaded already is fine."""

    def open_uevents(self) -> int:
        """Return a descriptor that becomes readable when the kernel has news (netlink, non-blocking)."""

    def read_uevents(self, descriptor: int) -> list[Uevent]:
        """Return the news that have come, without waiting. ENOBUFS: some were lost, look at /sys again."""


class Clock(Protocol):
    """Time and randomness."""

    def now(self) -> float:
        """Seconds since the kernel started, never going back."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""

    def set_time(self, seconds: float) -> None:
        """Set the system's clock."""

    def random_bytes(self, count: int) -> bytes:
        """Return random bytes, never waiting for the pool (getrandom(2), GRND_INSECURE early)."""

    def add_entropy(self, data: bytes, *, credit: bool) -> None:
        """Feed a seed to the kernel's pool; `credit` counts it as entropy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watchdog:
    """An open watchdog. `seconds` is the time-out that the driver took; feed it at a third of that."""

    descriptor: int
    identity: str
    seconds: int
    software: bool  # softdog: it can't help when the kernel itself hangs


SYNC_SECONDS = 10.0


class Power(Protocol):
    """The end of things."""

    def sync(self, seconds: float = SYNC_SECONDS) -> bool:
        """Write all that is dirty to the disks; tell whether that was done within so many seconds."""

    def power(self, how: str) -> None:
        """reboot(2): `reboot`, `poweroff` or `halt`; returns only on a fake."""

    def catch_ctrl_alt_del(self) -> None:
        """Let Ctrl-Alt-Del be a SIGINT to PID 1, not a sudden reset."""

    def open_watchdog(self, path: str, seconds: int) -> Watchdog:
        """Open a watchdog and set its time-out; from now on it has to be fed."""

    def feed_watchdog(self, watchdog: Watchdog) -> None:
        """Put off the reset by the watchdog's time-out."""

    def set_watchdog(self, watchdog: Watchdog, seconds: int) -> Watchdog:
        """Set another time-out; return the watchdog with the one that the driver took."""

    def close_watchdog(self, watchdog: Watchdog) -> None:
        """Disarm it (the magic close), where the driver allows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChildResult:
    """How a short program ended. `status`: its exit status, minus the signal, or None: ran out of time."""

    status: int | None
    output: bytes  # stdout and stderr, the first 64 KiB


class Children(Protocol):
    """Short programs that are waited for, and work in children. The running half has `Processes`, too."""

    def run(self, argv: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> ChildResult:
        """Run a program to its end or kill it after `seconds`; OSError when it can't be started."""

    def aside(self, work: Callable[[], object]) -> None:
        """Do work in a child that nobody waits for and that nobody hears of; OSError when there can be none."""

    def apart(self, work: Callable[[], bytes]) -> tuple[int, int]:
        """Do work that may never end in a child; return its pid, and where its answer is read, which never waits.

        The answer has at most 4096 bytes and comes whole; a child whose work raises ends without one.
        """


class Early(Files, Descriptors, Mounts, Blocks, Devices, Clock, Network, Power, Children, Protocol):
    """All that the early half needs. The running half adds to it: `System`."""


# --- the running half -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Spawn:
    """A program to start, in a session of its own. A stream of None is /dev/null.

    `argv[0]` is the program's path; `cgroup` the folder of the cgroup that it starts in; `root` the folder that becomes
    its root, in which its path and `folder` are looked for (chroot(2)); `terminal` a device that becomes its three
    streams and its controlling terminal.
    """

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    cgroup: str | None = None
    stdin: int | None = None
    stdout: int | None = None
    stderr: int | None = None
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    root: str = "/"
    folder: str = "/"
    terminal: str | None = None


class Processes(Protocol):
    """Children, and the children of children that nobody else waits for."""

    def spawn(self, spawn: Spawn) -> int:
        """Start a program; return its pid. What fails after the fork is said on its stderr, and it ends with 127."""

    def reap(self) -> list[tuple[int, int]]:
        """Return those that ended since, without waiting: (pid, exit status or minus the signal)."""

    def has_children(self) -> bool:
        """Tell whether any child is left, ended or not; for PID 1 that is: any other process."""

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to one process."""

    def signal_session(self, pid: int, number: int) -> None:
        """Send a signal to the process group that a spawned program leads."""

    def signal_all(self, number: int) -> None:
        """Send a signal to every process but PID 1."""

    def allow_open_files(self, soft: int, hard: int) -> None:
        """Set how many files a process may open (RLIMIT_NOFILE), inherited by children."""

    def make_pipe(self) -> tuple[int, int]:
        """Return the reading end, which never waits, and the writing end of a pipe."""


class Pages(Protocol):
    """The pages that PID 1 itself runs from; addresses and offsets in bytes, of whole pages."""

    def is_same(self, start: int, end: int, path: str, offset: int) -> bool:
        """Tell whether memory from `start` to `end` holds the file's bytes from `offset` on, and zeros past its end."""

    def map_over(self, start: int, end: int, path: str, offset: int, *, executable: bool) -> None:
        """Let the file be what is mapped from `start` to `end`, read-only and private. Its bytes must be the same."""

    def free_pages(
        self, start: int, end: int, *, own: Sequence[tuple[int, int]], free: Sequence[tuple[int, int]]
    ) -> None:
        """Give back pages of the file in memory that is mapped from `start` to `end`: `free`, from and to, by offset.

        First each page of `own`, from and to, by address, gets a copy of this process's own: private mappings of such
        pages that can be written to. ETXTBSY: it is the file that the kernel itself started.
        """


class Signals(Protocol):
    """Signals that PID 1 itself gets."""

    def open_signals(self, numbers: tuple[int, ...]) -> int:
        """Block these signals; return a descriptor that becomes readable when one came."""

    def read_signals(self, descriptor: int) -> list[int]:
        """Return the numbers that came, without waiting."""


class Poll(Protocol):
    """Waiting for many descriptors at once."""

    def watch(self, descriptor: int, *, writable: bool = False) -> None:
        """From now on wait until a descriptor is readable (or writable, too)."""

    def unwatch(self, descriptor: int) -> None:
        """Don't wait for it any more; before it is closed."""

    def wait(self, seconds: float | None) -> list[int]:
        """Wait at most `seconds`; return the descriptors with news."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Who is at the other end of a local socket, as the kernel knows it. `groups` begins with the primary one."""

    pid: int
    uid: int
    groups: tuple[int, ...]


class Sockets(Protocol):
    """Sockets by number; none of them waits. Data go through `read_from` and `write_to`."""

    def listen_local(self, path: str, mode: int) -> int:
        """Listen on a stream socket at a path, in place of one that is there."""

    def listen_datagrams(self, path: str, mode: int) -> int:
        """Receive datagrams on a socket at a path, in place of one that is there."""

    def listen_tcp(self, port: int) -> int:
        """Listen on a TCP port, on all addresses of both families."""

    def accept(self, descriptor: int) -> tuple[int, str]:
        """Take a connection; return its descriptor and the peer's address (empty for a local one)."""

    def peer(self, descriptor: int) -> Peer:
        """Tell who is at the other end of a local stream."""

    def receive(self, descriptor: int, limit: int) -> bytes:
        """Return one datagram; BlockingIOError where there is none."""


class Cgroups(Protocol):
    """Cgroup folders; their files are written by `Files.write`."""

    def remove_group(self, path: str) -> None:
        """Take away a cgroup and those below it; what is gone already is fine, EBUSY when one is not empty."""


class System(Early, Processes, Signals, Poll, Sockets, Cgroups, Pages, Protocol):
    """The whole door."""
