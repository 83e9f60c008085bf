"""The fake kernel: an in-memory machine behind `init.pid1.system.Early` that records each call and fails the n-th.

Calls that never fail by contract (`exists`, `now`, `time`, `random_bytes`) are neither counted nor recorded. A test
builds a `FakeSystem`, gives it a machine (`fakes.machine`), lets the code under test run, and looks at `calls`,
`tree`, `blocks`, `mounted`, `powered`.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from fakes.network import FakeNetwork
from fakes.processes import Stuck
from fakes.recording import Call, recorded
from fakes.tree import Link, Node, Tree, refuse

from init.pid1.system import SYNC_SECONDS, ChildResult, FileStatus, TableRow, Uevent, Watchdog


class Blocks(Protocol):
    """What is behind a block device's node."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...
    def write(self, offset: int, data: bytes) -> None: ...


class FakeSystem(FakeNetwork):
    """An in-memory machine. `fail_at`: the number (from 1) of the call that fails; `fail_with`: its errno."""

    def __init__(self, *, fail_at: int | None = None, fail_with: int = errno.EIO) -> None:
        super().__init__(fail_at=fail_at, fail_with=fail_with)
        self.tree = Tree()
        self.filesystems: dict[str, dict[str, Node]] = {}  # by source for devices, by kind for the kernel's own
        self.kinds: dict[str, str] = {}  # device → the file system on it
        self.mounted: dict[str, tuple[str, str]] = {}  # place → (source, kind)
        self.blocks: dict[str, Blocks] = {}
        self.loops: dict[str, str] = {}
        self.loop_images: dict[str, Blocks] = {}
        self.mappings: dict[str, str] = {}
        self.modules: list[str] = []
        self.on_module: dict[str, Callable[[FakeSystem], None]] = {}  # by file name without `.ko…`
        self.news: list[tuple[float, Callable[[FakeSystem], Uevent | None]]] = []
        self.programs: dict[str, Callable[[FakeSystem, Sequence[str]], ChildResult]] = {}
        self.interfaces = []
        self.addressed = []
        self.routes = []
        self.asides: list[Callable[[], object]] = []
        self.hangs: set[tuple[str, str]] = set()  # calls that never come back: name and first argument
        self.stuck: list[str] = []  # those of them that PID 1 itself made
        self.in_child = False
        self.answers: dict[int, bytes] = {}  # of work in children, by where they are read
        self.seconds = 2.0
        self.wall = 1_700_000_000.0
        self.hostname = "(none)"
        self.watchdogs: list[Watchdog] = []
        self.powered: str | None = None
        self.said = b""
        self.typed: list[bytes] = []  # what people type, line by line
        self.keyboard = "/dev/console"  # where they type it
        self._descriptors: dict[int, str] = dict.fromkeys((0, 1, 2), "/dev/console")  # as the kernel opens them
        self._next = 3

    def begin(self, call: Call) -> None:
        """What hangs in a child costs nobody anything; what hangs in PID 1 is noted, and is the machine's end."""
        if (call.name, "".join(map(str, call.arguments[:1]))) in self.hangs:
            if not self.in_child:
                self.stuck.append(str(call))
            if call.name == "unmount":  # the kernel takes the place away first, and writes then
                self.mounted.pop(str(call.arguments[0]), None)
            raise Stuck
        super().begin(call)

    # Files

    @recorded
    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        return self.tree.get(path)[:limit]

    @recorded
    def write(self, path: str, data: bytes) -> None:
        self.tree.get(path)
        self.tree.put(path, data)

    @recorded
    def replace(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self.tree.put(path, data)
        self.tree.modes[self.tree.real(path)] = mode

    @recorded
    def append(self, path: str, data: bytes, mode: int = 0o644) -> None:
        old = self.tree.get(path) if self.exists(path) else b""
        self.tree.put(path, old + data)

    @recorded
    def names(self, path: str) -> list[str]:
        return self.tree.names(path)

    @recorded
    def status(self, path: str) -> FileStatus:
        whole = self.tree.real_parent(path)
        if whole not in self.tree.nodes:
            raise refuse(errno.ENOENT, path)
        node = self.tree.nodes[whole]
        kind = 0o120000 if isinstance(node, Link) else 0o040000 if node is None else 0o100000
        size = len(node) if isinstance(node, bytes) else 0
        mode = kind | self.tree.modes.get(whole, 0o755)
        return FileStatus(mode=mode, uid=0, gid=0, size=size, modified=self.wall, device=0, filesystem=1)

    @recorded
    def read_ahead(self, path: str) -> None:
        self.tree.get(path)

    def exists(self, path: str) -> bool:
        try:
            return self.tree.real(path) in self.tree.nodes
        except OSError:
            return False

    @recorded
    def make_folder(self, path: str, mode: int = 0o755) -> None:
        whole = self.tree.real(path)
        if self.tree.nodes.get(whole, b"") is not None:
            self.tree.fill({whole: None})
            self.tree.modes[whole] = mode

    @recorded
    def make_link(self, path: str, target: str) -> None:
        whole = self.tree.real_parent(path)
        self.tree.folder(posixpath.dirname(whole))
        self.tree.nodes[whole] = Link(target)

    @recorded
    def read_link(self, path: str) -> str:
        node = self.tree.nodes.get(self.tree.real_parent(path))
        if not isinstance(node, Link):
            raise refuse(errno.EINVAL if self.exists(path) else errno.ENOENT, path)
        return node.target

    @recorded
    def set_mode(self, path: str, mode: int) -> None:
        self.tree.modes[self.tree.real(path)] = mode

    @recorded
    def set_owner(self, path: str, uid: int, gid: int) -> None:
        if not self.exists(path):
            raise refuse(errno.ENOENT, path)

    @recorded
    def rename(self, old: str, new: str) -> None:
        self.tree.move(self.tree.real_parent(old), self.tree.real_parent(new))

    @recorded
    def remove(self, path: str) -> None:
        whole = self.tree.real_parent(path)
        if self.tree.nodes.get(whole) is None:
            raise refuse(errno.ENOENT, path)
        del self.tree.nodes[whole]

    @recorded
    def remove_tree(self, path: str) -> None:
        for below in self.tree.below(self.tree.folder(path)):
            del self.tree.nodes[below]

    @recorded
    def fill_tree(self, source: str, target: str) -> int:
        start, end = self.tree.folder(source), self.tree.folder(target)
        below = self.tree.below(start)
        missing = {p: self.tree.nodes[p] for p in below if end + p[len(start) :] not in self.tree.nodes}
        self.tree.fill({p[len(start) :]: node for p, node in missing.items()}, at=end)
        return len(missing)

    # Descriptors

    @recorded
    def open(self, path: str, flags: int, mode: int = 0o600) -> int:
        if not flags & os.O_CREAT:
            self.tree.get(path)
        elif not self.exists(path):
            self.tree.put(path, b"")
        return self._number(path)

    def _number(self, what: str) -> int:
        self._next += 1
        self._descriptors[self._next] = what
        return self._next

    @recorded
    def close(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        self.answers.pop(descriptor, None)

    @recorded
    def read_from(self, descriptor: int, limit: int) -> bytes:
        if descriptor in self.answers:
            return self.answers.pop(descriptor)[:limit]
        if not self.typed or self._descriptors.get(descriptor) != self.keyboard:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self.typed.pop(0)[:limit]

    @recorded
    def write_to(self, descriptor: int, data: bytes) -> int:
        self.said += data
        return len(data)

    @recorded
    def duplicate(self, descriptor: int, number: int) -> None:
        self._descriptors[number] = self._descriptors.get(descriptor, "")

    @recorded
    def wait_readable(self, descriptors: Sequence[int], seconds: float | None) -> list[int]:
        typing = [number for number in descriptors if self._descriptors.get(number) == self.keyboard]
        if typing and self.typed:
            return typing
        answered = [number for number in descriptors if number in self.answers]
        if answered:
            return answered
        end = self.seconds + (3600.0 if seconds is None else seconds)
        if self.news and self.news[0][0] <= end:
            self.seconds = max(self.seconds, self.news[0][0])
            return [number for number in descriptors if self._descriptors.get(number) == "uevents"]
        self.seconds = end
        return []

    # Mounts

    @recorded
    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        if flags & 8192:
            self.tree.move(source, target)
            self.mounted[target] = self.mounted.pop(source)
            return
        self.tree.folder(target)
        if kind in ("proc", "sysfs", "devtmpfs") and self.mounted.get(target) == (source, kind):
            raise refuse(errno.EBUSY, target)
        if flags & 4096 or kind == "overlay":
            bound = data.partition("upperdir=")[2].partition(",")[0] if kind == "overlay" else source
            self.tree.binds[target] = self.tree.folder(bound)
        elif kind and source.startswith("/dev/"):
            if self.kinds.get(source) != kind:
                raise refuse(errno.EINVAL, target)
            self.tree.fill(self.filesystems.setdefault(source, {}), at=target)
        elif kind:
            self.tree.fill(self.filesystems.get(kind, {}), at=target)
        else:
            return  # only the propagation changed
        self.mounted[target] = (source, kind or "bind")

    @recorded
    def unmount(self, target: str, flags: int = 0) -> None:
        if target not in self.mounted:
            raise refuse(errno.EINVAL, target)
        del self.mounted[target]
        if self.tree.binds.pop(target, None) is None:
            for path in self.tree.below(target):
                if path != target:
                    del self.tree.nodes[path]

    @recorded
    def switch_root(self, path: str) -> int:
        self.mounted = {(place.removeprefix(path) or "/"): what for place, what in self.mounted.items()}
        return self.tree.become(path)

    @recorded
    def space(self, path: str) -> tuple[int, int]:
        return 1 << 29, 1 << 30

    # Blocks

    def _device(self, path: str) -> Blocks:
        if path not in self.blocks:
            raise refuse(errno.ENOENT, path)
        return self.blocks[path]

    @recorded
    def device_size(self, path: str) -> int:
        return self._device(path).size

    @recorded
    def sector_size(self, path: str) -> int:
        self._device(path)
        return 512

    @recorded
    def read_blocks(self, path: str, offset: int, length: int) -> bytes:
        return self._device(path).read(offset, length)

    @recorded
    def write_blocks(self, path: str, offset: int, data: bytes) -> None:
        assert offset % 512 == len(data) % 512 == 0
        self._device(path).write(offset, data)

    @recorded
    def resize_partition(self, disk: str, number: int, start: int, length: int) -> None:
        self._device(disk)

    @recorded
    def attach_loop(self, path: str, *, read_only: bool = True) -> str:
        self.tree.get(path)
        device = f"/dev/loop{len(self.loops)}"
        self.loops[device] = path
        self.blocks[device] = self.loop_images[path]
        return device

    @recorded
    def detach_loop(self, device: str) -> None:
        del self.loops[device], self.blocks[device]

    @recorded
    def map_device(self, name: str, table: Sequence[TableRow], *, read_only: bool = True) -> str:
        device = f"/dev/dm-{len(self.mappings)}"
        self.mappings[name] = device
        self.tree.fill({f"/sys/block/{device.removeprefix('/dev/')}/queue/read_ahead_kb": b"128\n"})
        below = table[0].parameters.split()[1]
        self.kinds[device] = self.kinds.get(below, "")
        self.filesystems[device] = self.filesystems.get(below, {})
        return device

    @recorded
    def unmap_device(self, name: str) -> None:
        del self.mappings[name]

    # Devices

    @recorded
    def load_module(self, path: str, parameters: str = "") -> None:
        self.tree.get(path)
        name = posixpath.basename(path).partition(".ko")[0]
        self.modules.append(name)
        self.on_module.get(name, lambda _: None)(self)

    @recorded
    def open_uevents(self) -> int:
        return self._number("uevents")

    @recorded
    def read_uevents(self, descriptor: int) -> list[Uevent]:
        due = [make for at, make in self.news if at <= self.seconds]
        self.news = self.news[len(due) :]
        return [event for make in due if (event := make(self)) is not None]

    # Clock

    def now(self) -> float:
        self.seconds += 0.0001
        return self.seconds

    def time(self) -> float:
        return self.wall

    @recorded
    def set_time(self, seconds: float) -> None:
        self.wall = seconds

    def random_bytes(self, count: int) -> bytes:
        return bytes((number * 37 + 11) % 256 for number in range(count))

    @recorded
    def add_entropy(self, data: bytes, *, credit: bool) -> None:
        pass

    # Power, children

    @recorded
    def sync(self, seconds: float = SYNC_SECONDS) -> bool:
        return True

    @recorded
    def power(self, how: str) -> None:
        self.powered = how

    @recorded
    def catch_ctrl_alt_del(self) -> None:
        pass

    @recorded
    def open_watchdog(self, path: str, seconds: int) -> Watchdog:
        identity = self.tree.get(f"/sys/class/watchdog/{posixpath.basename(path)}/identity").decode().strip()
        software = identity == "Software Watchdog"
        opened = Watchdog(descriptor=self._number(path), identity=identity, seconds=seconds, software=software)
        self.watchdogs.append(opened)
        return opened

    @recorded
    def feed_watchdog(self, watchdog: Watchdog) -> None:
        assert watchdog in self.watchdogs

    @recorded
    def set_watchdog(self, watchdog: Watchdog, seconds: int) -> Watchdog:
        self.watchdogs[self.watchdogs.index(watchdog)] = changed = replace(watchdog, seconds=seconds)
        return changed

    @recorded
    def close_watchdog(self, watchdog: Watchdog) -> None:
        self.watchdogs.remove(watchdog)

    @recorded
    def run(self, argv: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> ChildResult:
        program = self.programs.get(posixpath.basename(argv[0]))
        if program is None:
            raise refuse(errno.ENOENT, argv[0])
        return program(self, argv)

    def aside(self, work: Callable[[], object]) -> None:
        self.fork()
        self.asides.append(work)  # a child: nothing of it comes back into the process that is tested

    @recorded
    def fork(self) -> None:
        pass

    @recorded
    def reap(self) -> list[tuple[int, int]]:
        return []

    @recorded
    def apart(self, work: Callable[[], bytes]) -> tuple[int, int]:
        reading = self._number("answer")
        self.in_child = True
        try:
            self.answers[reading] = work()
        except Stuck:
            pass  # nothing will ever come
        except Exception:
            self.answers[reading] = b""
        finally:
            self.in_child = False
        return 99, reading
