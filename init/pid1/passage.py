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

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from init.pid1.loop import Loop
    from init.pid1.system import System

MAPS = "/proc/self/maps"
READ_SECONDS = 1.0  # for a child that reads the root's files ahead, so that comparing them keeps nobody waiting
AGAIN_SECONDS = 5.0
TRIES = 60
"""Looks whether other processes still run from the initramfs: PID 1's forks, of which most end within seconds."""
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

    def __init__(self, system: System, loop: Loop, say: Callable[[str], None]) -> None:
        self._system = system
        self._loop = loop
        self._say = say
        self._begun = False
        self._moved: list[Mapping] = []
        self._tries = 0

    def begin(self) -> None:
        """All is up: from now on nobody waits. Does nothing when it comes again."""
        if self._begun:
            return
        self._begun = True
        mappings = held(self._maps(MAPS))
        if not mappings:
            return
        paths = sorted({mapping.path for mapping in mappings if mapping.movable})
        self._loop.after("passage", READ_SECONDS, self._pass_over)
        try:
            self._system.aside(lambda: read(self._system, paths))
        except OSError:
            return  # then they are read when they are compared

    def _pass_over(self) -> None:
        for mapping in held(self._maps(MAPS)):
            if mapping.movable and self._map_over(mapping):
                self._moved.append(mapping)
        self._give_back()

    def _map_over(self, mapping: Mapping) -> bool:
        try:
            return self._system.map_over(
                mapping.start, mapping.end, mapping.path, mapping.offset, executable=mapping.mode[2] == "x"
            )
        except OSError:
            return False

    def _give_back(self) -> None:
        """Free what nobody maps. A fork that still runs from those pages would find zeros there: it is waited for."""
        files = {mapping.file for mapping in self._moved}
        self._tries += 1
        if self._others(files):
            if self._tries < TRIES:
                self._loop.after("passage", AGAIN_SECONDS, self._give_back)
            return
        left = [mapping for mapping in held(self._maps(MAPS)) if mapping.file in files]
        size = 0
        for one in {mapping.file: mapping for mapping in left}.values():
            of_it = [mapping for mapping in left if mapping.file == one.file]
            free = free_ranges(
                (mapping for mapping in (*self._moved, *of_it) if mapping.file == one.file),
                (mapping for mapping in of_it if not mapping.writable),
            )
            own = [(mapping.start, mapping.end) for mapping in of_it if mapping.writable]
            try:
                self._system.free_pages(one.start, one.end, own=own, free=free)
            except OSError as error:
                if error.errno != errno.ETXTBSY:
                    self._say(f"the initramfs' {one.path} keeps its memory: {error.strerror or error}")
                continue
            size += sum(high - low for low, high in free)
        self._say(f"PID 1 runs from the root's files: {size >> 10} KiB of the initramfs given back")

    def _others(self, files: set[tuple[str, str]]) -> bool:
        """Tell whether another process maps one of these files. Twice, for one may be forked while it looks."""
        try:
            return any(self._maps_one(name, files) for _ in range(2) for name in self._system.names("/proc"))
        except OSError:
            return True  # it can't be told: so they may

    def _maps_one(self, name: str, files: set[tuple[str, str]]) -> bool:
        if not name.isdecimal() or name == "1":
            return False
        return any(mapping.file in files for mapping in held(self._maps(f"/proc/{name}/maps")))

    def _maps(self, path: str) -> str:
        try:
            return self._system.read(path).decode("utf-8", "replace")
        except OSError:
            return ""  # it ended meanwhile


def read(system: System, paths: Sequence[str]) -> None:
    """Read files into the page cache; one that can't be read is passed over."""
    for path in paths:
        try:
            system.read_ahead(path)
        except OSError:
            continue
