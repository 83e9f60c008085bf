"""The running half's share of the fake kernel: processes, pipes, signals, polling, sockets, cgroups.

Time stands still while PID 1 works and jumps to the next thing that happens while it waits. What a program does is a
`Program`: how long it runs, what it says, what else it causes.
"""

from __future__ import annotations

import errno
import heapq
import itertools
import os
import posixpath
import signal
from collections.abc import Callable, Sequence

from fakes.processes import FOREVER, Connection, Pipe, Process, Program, Stuck
from fakes.recording import Call, recorded
from fakes.system import FakeSystem
from fakes.tree import refuse

from init.pid1.system import SYNC_SECONDS, FileStatus, Peer, Spawn

CGROUPS = "/sys/fs/cgroup/"
CALLS_MOST = 50_000


class RunningSystem(FakeSystem):
    """A `FakeSystem` with processes. `programs_of` says what a command line does."""

    def start(self, programs_of: Callable[[Sequence[str]], Program]) -> None:
        """Set up what `FakeSystem` has not: called by `running`."""
        self.programs_of = programs_of
        self.processes: dict[int, Process] = {}
        self.pipes: list[Pipe] = []
        self.watched: set[int] = set()
        self.pending: list[int] = []
        self.child_ended = False
        self.readable: set[int] = set()
        self.listening: dict[str, int] = {}
        self.queues: dict[int, list[Connection | bytes]] = {}
        self.connections: dict[int, Connection] = {}
        self.started: list[tuple[str, ...]] = []
        self.pids = itertools.count(100)
        self.agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.ticket = itertools.count()
        self.frozen: list[str] = []
        self.mapped_over: list[tuple[int, str, bool]] = []
        self.differing: set[str] = set()  # files whose bytes are not those that are mapped
        self.freed: dict[int, tuple[tuple[int, int], ...]] = {}
        self.started_by_kernel: set[int] = set()  # where the file is mapped that nobody may write to
        self.work_apart = 0.02  # seconds that work in a child takes
        self.records: list[bytes] = []  # of the kernel's log, that nobody has read

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Let something happen at a time."""
        heapq.heappush(self.agenda, (seconds, next(self.ticket), act))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        self.at(self.seconds + seconds, act)

    def raise_signal(self, number: int) -> None:
        self.pending.append(number)

    def connect(self, path: str, sent: bytes, peer: Peer | None = None) -> Connection | None:
        """A client connects; None where nobody listens."""
        if path not in self.listening:
            return None
        connection = Connection(sent=sent, peer=peer or Peer(pid=999, uid=0, groups=(0,)))
        self.queues[self.listening[path]].append(connection)
        return connection

    def begin(self, call: Call) -> None:
        """A life that never ends would hang the tests, and no exception leaves PID 1's nets."""
        if len(self.calls) > CALLS_MOST:
            os.write(2, f"PID 1 is stuck; last: {[str(last) for last in self.calls[-8:]]}\n".encode())
            os._exit(70)
        super().begin(call)

    def sync(self, seconds: float = SYNC_SECONDS) -> bool:
        """It is done in a child of its own: a drive that never answers costs the time that it may take."""
        if ("sync", "") in self.hangs:
            self.wait_readable((), seconds)
            return False
        return super().sync(seconds)

    # Processes

    @recorded
    def is_same(self, start: int, end: int, path: str, offset: int) -> bool:
        self.tree.get(path)
        return path not in self.differing

    @recorded
    def map_over(self, start: int, end: int, path: str, offset: int, *, executable: bool) -> None:
        self.mapped_over.append((start, path, executable))
        lines = self.tree.get("/proc/self/maps").decode().splitlines()
        now = [line.removesuffix(" (deleted)") if int(line.partition("-")[0], 16) == start else line for line in lines]
        self.tree.put("/proc/self/maps", "\n".join(now).encode())

    @recorded
    def free_pages(
        self, start: int, end: int, *, own: Sequence[tuple[int, int]], free: Sequence[tuple[int, int]]
    ) -> None:
        if start in self.started_by_kernel:
            raise refuse(errno.ETXTBSY, hex(start))
        self.freed[start] = tuple(free)

    @recorded
    def spawn(self, spawn: Spawn) -> int:
        program = self.programs_of(spawn.argv)
        process = Process(pid=next(self.pids), spawn=spawn, program=program)
        self.processes[process.pid] = process
        self.started.append(spawn.argv)
        for pipe in self.pipes:
            if pipe.writing in (spawn.stdout, spawn.stderr):
                pipe.writers.add(process.pid)
                if pipe.writing == spawn.stdout:
                    pipe.data += program.output
        program.begins(self, spawn)
        if program.seconds != FOREVER:
            self.later(program.seconds, lambda: self.end(process.pid, program.status))
        return process.pid

    def end(self, pid: int, status: int) -> None:
        process = self.processes.get(pid)
        if process is None or process.status is not None:
            return
        process.status = status
        self.child_ended = True
        for pipe in self.pipes:
            pipe.writers.discard(pid)
        process.program.then(self)

    @recorded
    def reap(self) -> list[tuple[int, int]]:
        ended = [(pid, process.status) for pid, process in self.processes.items() if process.status is not None]
        for pid, _ in ended:
            del self.processes[pid]
        return [(pid, status) for pid, status in ended if status is not None]

    @recorded
    def has_children(self) -> bool:
        return bool(self.processes)

    @recorded
    def apart(self, work: Callable[[], bytes]) -> tuple[int, int]:
        """Work that is stuck keeps its process, and no signal ends it."""
        pid = next(self.pids)
        process = Process(pid=pid, spawn=Spawn(argv=("apart",)), program=Program())
        pipe = Pipe(reading=self._number("pipe"), writing=self._number("pipe"), writers={pid})
        self.processes[pid] = process
        self.pipes.append(pipe)
        self.later(self.work_apart, lambda: self._work_apart(process, pipe, work))
        return pid, pipe.reading

    def _work_apart(self, process: Process, pipe: Pipe, work: Callable[[], bytes]) -> None:
        if process.status is not None:
            return
        self.in_child = True
        try:
            pipe.data += work()
        except Stuck:
            process.program.ignores = (signal.SIGKILL,)
            return
        except Exception:
            pass
        finally:
            self.in_child = False
        self.end(process.pid, 0)

    def _kill(self, process: Process, number: int) -> None:
        if number and number not in process.program.ignores:
            # A program ends a moment after its signal, never within the call.
            self.later(0.01, lambda: self.end(process.pid, -number))

    @recorded
    def signal(self, pid: int, number: int) -> None:
        if pid not in self.processes:
            raise refuse(errno.ESRCH, str(pid))
        self._kill(self.processes[pid], number)

    @recorded
    def signal_session(self, pid: int, number: int) -> None:
        if pid not in self.processes:
            raise refuse(errno.ESRCH, str(pid))
        self._kill(self.processes[pid], number)

    @recorded
    def signal_all(self, number: int) -> None:
        if not self.processes:
            raise refuse(errno.ESRCH, "-1")
        for process in self.processes.values():
            self._kill(process, number)

    @recorded
    def allow_open_files(self, soft: int, hard: int) -> None:
        pass

    @recorded
    def make_pipe(self) -> tuple[int, int]:
        pipe = Pipe(reading=self._number("pipe"), writing=self._number("pipe"))
        pipe.writers.add(1)
        self.pipes.append(pipe)
        return pipe.reading, pipe.writing

    @recorded
    def close(self, descriptor: int) -> None:
        self._descriptors.pop(descriptor, None)
        self.watched.discard(descriptor)  # epoll(7) forgets what is closed
        self.readable.discard(descriptor)
        for pipe in self.pipes:
            if pipe.writing == descriptor:
                pipe.writers.discard(1)
        if descriptor in self.connections:
            self.connections.pop(descriptor).closed = True

    @recorded
    def read_from(self, descriptor: int, limit: int) -> bytes:
        for pipe in self.pipes:
            if pipe.reading == descriptor:
                if not pipe.data and pipe.writers:
                    raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
                data, pipe.data = pipe.data[:limit], pipe.data[limit:]
                return data
        connection = self.connections.get(descriptor)
        if connection is not None and connection.sent:
            data, connection.sent = connection.sent[:limit], connection.sent[limit:]
            return data
        if descriptor in self.readable:
            self.readable.discard(descriptor)
            return b"news"
        if self._descriptors.get(descriptor) == "/dev/kmsg" and self.records:
            return self.records.pop(0)
        if self.typed and self._descriptors.get(descriptor) == self.keyboard:
            return self.typed.pop(0)[:limit]
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    @recorded
    def write_to(self, descriptor: int, data: bytes) -> int:
        connection = self.connections.get(descriptor)
        if connection is not None:
            connection.answer += data
        else:
            self.said += data
        return len(data)

    # Signals, polling

    @recorded
    def open_signals(self, numbers: tuple[int, ...]) -> int:
        return self._number("signals")

    @recorded
    def read_signals(self, descriptor: int) -> list[int]:
        found, self.pending = self.pending, []
        if self.child_ended:
            found.append(signal.SIGCHLD)
            self.child_ended = False
        return found

    @recorded
    def watch(self, descriptor: int, *, writable: bool = False) -> None:
        self.watched.add(descriptor)

    @recorded
    def unwatch(self, descriptor: int) -> None:
        self.watched.discard(descriptor)

    def _ready(self) -> list[int]:
        ready = set(self.readable)
        for descriptor in self.watched:
            kind = self._descriptors.get(descriptor)
            signals = kind == "signals" and bool(self.pending or self.child_ended)
            uevents = kind == "uevents" and bool(self.news) and self.news[0][0] <= self.seconds
            records = kind == "/dev/kmsg" and bool(self.records)
            if signals or uevents or records or self.queues.get(descriptor):
                ready.add(descriptor)
            connection = self.connections.get(descriptor)
            if connection is not None and connection.sent:
                ready.add(descriptor)
        ready |= {pipe.reading for pipe in self.pipes if self._has_news(pipe)}
        return sorted(ready & self.watched)

    @recorded
    def wait(self, seconds: float | None) -> list[int]:
        end = self.seconds + (3600.0 if seconds is None else seconds)
        while True:
            ready = self._ready()
            if ready:
                return ready
            if not self.agenda or self.agenda[0][0] > end:
                self.seconds = max(self.seconds, end)
                return []
            when, _, act = heapq.heappop(self.agenda)
            self.seconds = max(self.seconds, when)
            act()

    @recorded
    def wait_readable(self, descriptors: Sequence[int], seconds: float | None) -> list[int]:
        end = self.seconds + (3600.0 if seconds is None else seconds)
        if not descriptors:  # a pause: what was to happen meanwhile happens
            while self.agenda and self.agenda[0][0] <= end:
                when, _, act = heapq.heappop(self.agenda)
                self.seconds = max(self.seconds, when)
                act()
            self.seconds = max(self.seconds, end)
            return []
        if self.news and self.news[0][0] <= end:
            self.seconds = max(self.seconds, self.news[0][0])
            return [number for number in descriptors if self._descriptors.get(number) == "uevents"]
        while True:
            said = [pipe.reading for pipe in self.pipes if pipe.reading in descriptors and self._has_news(pipe)]
            typing = [number for number in descriptors if self._descriptors.get(number) == self.keyboard]
            if said or (typing and self.typed):
                return said or typing
            if not self.agenda or self.agenda[0][0] > end:
                break
            when, _, act = heapq.heappop(self.agenda)
            self.seconds = max(self.seconds, when)
            act()
        self.seconds = max(self.seconds, end)
        return []

    @staticmethod
    def _has_news(pipe: Pipe) -> bool:
        return bool(pipe.data) or not pipe.writers

    # Sockets

    def _listen(self, path: str) -> int:
        number = self._number("listening")
        self.listening[path] = number
        self.queues[number] = []
        return number

    @recorded
    def listen_local(self, path: str, mode: int) -> int:
        return self._listen(path)

    @recorded
    def listen_datagrams(self, path: str, mode: int) -> int:
        return self._listen(path)

    @recorded
    def listen_tcp(self, port: int) -> int:
        return self._listen(f"tcp:{port}")

    @recorded
    def accept(self, descriptor: int) -> tuple[int, str]:
        queue = self.queues[descriptor]
        if not queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        connection = queue.pop(0)
        assert isinstance(connection, Connection)
        number = self._number("connection")
        self.connections[number] = connection
        return number, ""

    @recorded
    def peer(self, descriptor: int) -> Peer:
        return self.connections[descriptor].peer

    @recorded
    def receive(self, descriptor: int, limit: int) -> bytes:
        queue = self.queues[descriptor]
        if not queue:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        datagram = queue.pop(0)
        assert isinstance(datagram, bytes)
        return datagram[:limit]

    # Cgroups: a folder has its files as soon as it is made

    @recorded
    def make_folder(self, path: str, mode: int = 0o755) -> None:
        whole = self.tree.real(path)
        if self.tree.nodes.get(whole, b"") is not None:
            self.tree.fill({whole: None})
            self.tree.modes[whole] = mode
        if path.startswith(CGROUPS):
            for name in ("cgroup.kill", "cgroup.subtree_control", "memory.max", "cpu.max", "pids.max", "cgroup.procs"):
                self.tree.fill({f"{path}/{name}": b""})
            self.tree.fill(
                {f"{path}/cgroup.controllers": b"cpu memory pids\n", f"{path}/cgroup.events": b"populated 0\n"}
            )

    def _inside(self, group: str) -> list[Process]:
        return [
            process
            for process in self.processes.values()
            if process.status is None and f"{process.spawn.cgroup}/".startswith(f"{group}/")
        ]

    @recorded
    def write(self, path: str, data: bytes) -> None:
        self.tree.get(path)
        if path.endswith("/cgroup.kill"):
            for process in self._inside(posixpath.dirname(path)):
                self.later(0.01, lambda process=process: self.end(process.pid, -9))  # type: ignore[misc]
        else:
            self.tree.put(path, data)

    @recorded
    def read(self, path: str, limit: int = 16 << 20) -> bytes:
        if path.startswith(CGROUPS) and path.endswith("/cgroup.events"):
            self.tree.get(path)
            return b"populated %d\nfrozen 0\n" % bool(self._inside(posixpath.dirname(path)))
        if path == "/proc/self/mounts":
            return "".join(f"{s} {place} {kind} rw 0 0\n" for place, (s, kind) in self.mounted.items()).encode()
        return self.tree.get(path)[:limit]

    @recorded
    def remove_group(self, path: str) -> None:
        if self._inside(path):
            raise refuse(errno.EBUSY, path)
        for below in self.tree.below(path) if self.exists(path) else ():
            del self.tree.nodes[below]

    @recorded
    def status(self, path: str) -> FileStatus:
        return FileStatus(
            mode=0o100644, uid=0, gid=0, size=len(self.tree.get(path)), modified=0, device=0, filesystem=1
        )

    @recorded
    def mount(self, source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
        if flags & 32 and flags & 1:  # remount, read-only
            if target not in self.mounted:
                raise refuse(errno.EINVAL, target)
            self.frozen.append(target)
            return
        unrecorded = FakeSystem.mount.__wrapped__  # type: ignore[attr-defined]
        unrecorded(self, source, target, kind, flags, data)


def running(system: FakeSystem, programs_of: Callable[[Sequence[str]], Program]) -> RunningSystem:
    """Return a machine of `fakes.machine` with processes."""
    whole = RunningSystem.__new__(RunningSystem)
    whole.__dict__.update(system.__dict__)
    whole.start(programs_of)
    return whole
