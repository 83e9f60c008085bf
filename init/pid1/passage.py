"""The passage: the pages that PID 1 runs from become the root's, while it runs, and the initramfs' are given back.

PID 1 begins in the initramfs and goes on as the same process. An initramfs lies in memory, and a file of it that is
mapped keeps all its pages when it is unlinked, so that the interpreter and its libraries would hold 10 MiB that nothing
can move. The root has the same files. Once the machine is at rest, each mapping of such a file that nobody can have
written to, and whose bytes are found to be the root's, is replaced in place by a mapping of the root's file (mmap(2),
MAP_FIXED), and the pages that nobody maps any more are punched out of the initramfs' file (fallocate(2)). From then on
they are page cache, shared with every other Python, and given up when memory is short.

Not before the machine is at rest: what was run already is in the processor's caches, or translated by an emulator, and
the root's pages would all have to be read first. docs/adr/0017-passage-in-place.md.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from init.pid1.apart import Child

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from init.pid1.loop import Loop
    from init.pid1.system import System

MAPS = "/proc/self/maps"
AGAIN_FIRST, AGAIN_MOST = 2.0, 3600.0
"""Seconds between looks whether others still run from the initramfs: forks of PID 1, most of which end in seconds."""
_GONE = " (deleted)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Mapping:
    """A line of /proc/PID/maps about a file that was taken away (proc_pid_maps(5)); addresses and offset in bytes."""

    start: int
    end: int
    mode: str  # `r-xp`
    offset: int
    file: tuple[str, str]  # device and inode
    path: str  # where the file was

    @property
    def movable(self) -> bool:
        """Tell whether what is mapped can't have been written to through this mapping."""
        return self.mode[:2] == "r-" and self.mode[3:] == "p"

    @property
    def writable(self) -> bool:
        """Tell whether it is private and can be written to, so that each page written has a copy of its own."""
        return self.mode[:2] == "rw" and self.mode[3:] == "p"

    @property
    def range(self) -> tuple[int, int]:
        """Return which bytes of the file are mapped: from, to."""
        return self.offset, self.offset + self.end - self.start


def held(maps: str) -> tuple[Mapping, ...]:
    """Return the mappings of files that are gone. Lines of another form are passed over."""
    found = []
    for line in maps.splitlines():
        words = line.split(None, 5)
        if len(words) != 6 or not words[5].startswith("/") or not words[5].endswith(_GONE) or words[4] == "0":
            continue
        start, _, end = words[0].partition("-")
        found.append(
            Mapping(
                start=int(start, 16), end=int(end, 16), mode=words[1], offset=int(words[2], 16),
                file=(words[3], words[4]), path=words[5].removesuffix(_GONE),
            )
        )  # fmt: skip
    return tuple(found)


def free_ranges(moved: Iterable[Mapping], left: Iterable[Mapping]) -> tuple[tuple[int, int], ...]:
    """Return the ranges of one file, from and to, that were mapped by `moved` and are not by `left`."""
    ranges = sorted(mapping.range for mapping in moved)
    for low, high in (mapping.range for mapping in left):
        cut = []
        for start, end in ranges:
            cut += [(start, min(end, low)), (max(start, high), end)]
        ranges = [(start, end) for start, end in cut if start < end]
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return tuple(joined)


class Passage:
    """Takes PID 1 over to the root's files, some time after `begin`; whatever fails costs memory, and nothing else."""

    def __init__(self, system: System, loop: Loop, say: Callable[[str], None], is_up: Callable[[], bool]) -> None:
        self._system = system
        self._loop = loop
        self._say = say
        self._is_up = is_up  # on the way down nothing of this matters
        self._mappings: tuple[Mapping, ...] | None = None  # as they were when it began
        self._moved: list[Mapping] = []
        self._freed = 0
        self._pause = AGAIN_FIRST

    def begin(self) -> None:
        """All is up: from now on nobody waits. Once begun it does nothing when it comes again."""
        if self._mappings is not None or not self._is_up():
            return
        try:
            self._mappings = held(self._system.read(MAPS).decode("utf-8", "replace"))
        except OSError:
            return
        movable = [mapping for mapping in self._mappings if mapping.movable]

        def go() -> None:
            self._go(movable, child.answer or b"")

        # In a child, for a drive may not answer: its memory is the same, and what it has read is in the page cache.
        child = Child(self._system, self._loop, "passage", lambda: compare(self._system, movable), go)
        if movable:
            child.start()

    def _go(self, movable: Sequence[Mapping], answer: bytes) -> None:
        """The child has told which mappings hold the root's bytes."""
        same = {int(word, 16) for word in answer.decode("ascii", "replace").split()}
        if not self._is_up():
            return
        self._moved = [mapping for mapping in movable if mapping.start in same and self._map_over(mapping)]
        if self._moved:
            self._give_back()

    def _map_over(self, mapping: Mapping) -> bool:
        try:
            self._system.map_over(
                mapping.start, mapping.end, mapping.path, mapping.offset, executable=mapping.mode[2] == "x"
            )
        except OSError:
            return False
        return True

    def _give_back(self) -> None:
        """Free what nobody maps. A fork that still runs from those pages would find zeros there: it is waited for."""
        if not self._is_up():
            return
        files = {mapping.file for mapping in self._moved}
        try:
            left = [mapping for mapping in held(self._system.read(MAPS).decode()) if mapping.file in files]
            others = [mapping for mapping in self._of_others() if mapping.file in files]
        except OSError:  # it can't be told who maps them: so nothing goes
            self._again()
            return
        freed = sum(self._free(file, left, others) for file in sorted(files))
        if freed != self._freed:
            self._freed = freed
            self._say(f"PID 1 runs from the root's files: {freed >> 10} KiB of the initramfs given back")
        if others:
            self._again()

    def _again(self) -> None:
        self._loop.after("passage", self._pause, self._give_back)
        self._pause = min(self._pause * 2, AGAIN_MOST)

    def _free(self, file: tuple[str, str], left: Sequence[Mapping], others: Sequence[Mapping]) -> int:
        """Free what of one file nobody maps; return how many bytes that is."""
        of_it = [mapping for mapping in left if mapping.file == file]
        if not of_it:
            return 0  # it went with its last mapping
        one, own = of_it[0], [mapping for mapping in of_it if mapping.writable]
        free = free_ranges(
            (mapping for mapping in (*self._moved, *own) if mapping.file == file),
            [mapping for mapping in of_it if not mapping.writable] + [other for other in others if other.file == file],
        )
        try:
            copies = [(mapping.start, mapping.end) for mapping in own]
            self._system.free_pages(one.start, one.end, own=copies, free=free)
        except OSError as error:
            if error.errno != errno.ETXTBSY:
                self._say(f"the initramfs' {one.path} keeps its memory: {error.strerror or error}")
            return 0
        return sum(high - low for low, high in free)

    def _of_others(self) -> list[Mapping]:
        """Return what the forks of this process map that still run its program. Raise OSError: it can't be told.

        Looked at twice, for one may be forked by another while this looks.
        """
        own = self._system.read_link("/proc/self/exe")
        found: list[Mapping] = []
        for _ in range(2):
            for name in self._system.names("/proc"):
                if name.isdecimal() and name != "1":
                    found += self._of_fork(name, own)
        return found

    def _of_fork(self, name: str, own: str) -> tuple[Mapping, ...]:
        try:
            if self._system.read_link(f"/proc/{name}/exe") == own:
                return held(self._system.read(f"/proc/{name}/maps").decode("utf-8", "replace"))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ESRCH):  # it has ended, or is one of the kernel's own
                raise
        return ()


def compare(system: System, mappings: Iterable[Mapping]) -> bytes:
    """Return where the mappings begin whose bytes are those of the root's file, as hexadecimal words."""
    same = []
    for mapping in mappings:
        try:
            if system.is_same(mapping.start, mapping.end, mapping.path, mapping.offset):
                same.append(f"{mapping.start:x}")
        except OSError:
            continue
    return " ".join(same).encode()
