"""Logs: what services say, stamped, capped, kept in memory and in rotated files.

PID 1 reads each service's pipe without waiting. A line longer than `lines.LINE_MOST` is cut into several. Lines stand
in one ring in memory (bounded by bytes, so that `berthctl logs` answers on a machine without any disk) and, once a
folder is given, in `FOLDER/NAME.log`, one write(2) a batch and nothing held back: what was read is in the page cache,
and outlives PID 1. A file that grew to `file_most` bytes becomes `NAME.log.1`. A line of a file is

    2026-11-25T08:01:02.123Z 12.345678 text

: the time of day, the seconds since the kernel started, what was said.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats.bare import deque
from init.formats.logfile import file_name
from init.pid1.lines import Splitter

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from init.pid1.loop import Loop
    from init.pid1.system import System

READ_MOST = 65536  # bytes of one pipe in one turn: a chatty service must not starve the others
RING_MOST = 256 * 1024  # bytes of text in memory
LAST_MOST = 300  # letters
FILE_MOST_DISK = 4 << 20
FILE_MOST_MEMORY = 128 << 10
LOST_CALM = 60.0  # seconds after which it may be told again that lines are lost
_LOST = "lost lines"


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line. `time` is seconds since 1970 UTC, `t` seconds since the kernel started."""

    number: int
    time: float
    t: float
    name: str
    text: str


class Ring:
    """The newest lines of all services, bounded by the bytes of their text."""

    def __init__(self, most: int = RING_MOST) -> None:
        self._lines: deque[Line] = deque()
        self._bytes = 0
        self._most = most

    def add(self, line: Line) -> None:
        """Add a line, and drop the oldest where there is no room."""
        self._lines.append(line)
        self._bytes += len(line.text) + 64
        while self._bytes > self._most and len(self._lines) > 1:
            self._bytes -= len(self._lines.popleft().text) + 64

    def newest(self, count: int, name: str | None = None) -> list[Line]:
        """Return the newest lines, oldest first, of one service or of all."""
        found: list[Line] = []
        for line in reversed(self._lines):
            if len(found) >= count:
                break
            if name is None or line.name == name:
                found.append(line)
        return found[::-1]

    def names(self) -> tuple[str, ...]:
        """Return whose lines there are."""
        return tuple(sorted({line.name for line in self._lines}))


def stamp(seconds: float) -> str:
    """Return a time of day in UTC as RFC 3339 text with milliseconds (`datetime` costs 10 ms to import)."""
    whole = int(seconds)
    days, rest = divmod(whole, 86400)
    # Days to a date: Howard Hinnant's civil_from_days, eras of 400 years that begin in March.
    days += 719468
    era, day = divmod(days, 146097)
    year_of_era = (day - day // 1460 + day // 36524 - day // 146096) // 365
    day -= 365 * year_of_era + year_of_era // 4 - year_of_era // 100
    shifted = (5 * day + 2) // 153
    date = day - (153 * shifted + 2) // 5 + 1
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (1 if month <= 2 else 0)
    hour, minute = divmod(rest // 60, 60)
    milliseconds = int((seconds - whole) * 1000)
    return f"{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{rest % 60:02}.{milliseconds:03}Z"


class Logs:
    """All logs. `open_pipe` gives a service's writing end; PID 1's own lines go through `say`."""

    def __init__(self, system: System, loop: Loop) -> None:
        self._system = system
        self._loop = loop
        self.ring = Ring()
        self.lost = 0  # lines that could not be written to their file
        self.on_lost: Callable[[str], None] = lambda _: None  # people hear that there are some
        self.last: dict[str, str] = {}  # each service's last line of its own, cut to `LAST_MOST`
        self._number = 0
        self._pipes: dict[tuple[str, str], tuple[int, int]] = {}
        self._splitters: dict[tuple[str, str], Splitter] = {}
        self._folder: str | None = None
        self._file_most = FILE_MOST_MEMORY
        self._sizes: dict[str, int] = {}
        self._early: list[Line] = []
        self._listeners: list[Callable[[Line], None]] = []
        self.on_output: Callable[[str], None] = lambda _: None
        self.on_leaving: Callable[[], None] = lambda: None

    def listen(self, listener: Callable[[Line], None]) -> None:
        """Call `listener` with every line from now on."""
        self._listeners.append(listener)

    def forget(self, listener: Callable[[Line], None]) -> None:
        """Don't call a listener any more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def pipe(self, name: str, aside: str = "") -> int | None:
        """Return what a service writes into; None, and a line that says so, where no pipe can be had.

        `aside` names who else writes into its log: what comes that way is no output of the service itself, of which
        `on_output` is told.
        """
        key = (name, aside)
        if key not in self._pipes:
            try:
                reading, writing = self._system.make_pipe()
                self._loop.watch(reading, f"log of {name}", lambda: self._read(key, reading))
            except OSError as error:
                self.say(name, f"its output is lost, for there is no pipe: {error}")
                return None
            self._pipes[key] = (reading, writing)
            self._splitters[key] = Splitter()
        return self._pipes[key][1]

    def _read(self, key: tuple[str, str], reading: int) -> None:
        try:
            data = self._system.read_from(reading, READ_MOST)
        except BlockingIOError:
            return
        self._said(key, self._splitters[key].feed(data))

    def _said(self, key: tuple[str, str], lines: list[str]) -> None:
        name, aside = key
        self._add(name, lines)
        said = [line for line in lines if line.strip()]
        if said:
            self.last[name] = said[-1][:LAST_MOST]
        if lines and not aside:
            self.on_output(name)

    def names(self) -> tuple[str, ...]:
        """Return whose lines are in memory."""
        return self.ring.names()

    def drain(self, name: str, aside: str = "", *, finish: bool) -> None:
        """Read what a process that ended left in its pipe; `finish`: nobody will end a line that was begun."""
        key = (name, aside)
        if key not in self._pipes:
            return
        reading = self._pipes[key][0]
        splitter = self._splitters[key]
        for _ in range(64):  # a pipe holds 64 KiB; a child of it that lives on may go on writing
            try:
                data = self._system.read_from(reading, READ_MOST)
            except OSError:
                break
            if not data:
                break
            self._said(key, splitter.feed(data))
        if finish:
            self._said(key, splitter.finish())

    def say(self, name: str, text: str) -> None:
        """Add one line (or several) under a name."""
        self._add(name, _parts(text))

    def say_earlier(self, name: str, said: Iterable[tuple[float, str]]) -> None:
        """Add what was said before now, each with its seconds since the kernel started, in one write."""
        since = self._system.time() - self._system.now()
        self._keep(name, [(since + t, t, part) for t, text in said for part in _parts(text)])

    def _add(self, name: str, texts: Iterable[str]) -> None:
        now, wall = self._system.now(), self._system.time()
        self._keep(name, [(wall, now, text) for text in texts])

    def _keep(self, name: str, stamped: Iterable[tuple[float, float, str]]) -> None:
        """Add lines: each the time of day, the seconds since the kernel started, and the text."""
        lines = []
        for wall, t, text in stamped:
            self._number += 1
            line = Line(number=self._number, time=wall, t=t, name=name, text=text)
            self.ring.add(line)
            lines.append(line)
            for listener in list(self._listeners):
                listener(line)
        if self._folder is not None:
            self._write(name, lines)
        else:
            self._early = (self._early + lines)[-4096:]

    def keep_in(self, folder: str, file_most: int) -> None:
        """From now on keep lines in files of this folder, those that came before it too."""
        self._system.make_folder(folder, 0o755)
        self._folder, self._file_most = folder, file_most
        early, self._early = self._early, []
        by_name: dict[str, list[Line]] = {}
        for line in early:
            by_name.setdefault(line.name, []).append(line)
        for name, lines in by_name.items():
            self._write(name, lines)

    def let_go(self) -> None:
        """Write into no file any more: its file system is about to be unmounted."""
        self._loop.guard("last lines", self.on_leaving)
        self._folder = None

    def _write(self, name: str, lines: list[Line]) -> None:
        if not lines:
            return
        path = f"{self._folder}/{file_name(name)}.log"
        text = "".join(f"{stamp(line.time)} {line.t:.6f} {line.text}\n" for line in lines)
        data = text.encode("utf-8", "replace")
        try:
            if name not in self._sizes:
                self._sizes[name] = self._system.status(path).size if self._system.exists(path) else 0
            if self._sizes[name] and self._sizes[name] + len(data) > self._file_most:
                self._system.rename(path, f"{path}.1")
                self._sizes[name] = 0
            self._system.append(path, data, 0o640)
            self._sizes[name] += len(data)
        except OSError as error:  # no room: what is in the ring has to do
            before, self.lost = self.lost, self.lost + len(lines)
            if not self._loop.armed(_LOST):  # armed before it is told: that is a line, too
                self._loop.after(_LOST, LOST_CALM, lambda: self._look_lost(before))
                self.on_lost(f"lines of the logs can't be kept: {error.strerror}")

    def _look_lost(self, before: int) -> None:
        self.on_lost(f"{self.lost - before} lines of the logs could not be kept; berthctl logs shows the newest")


def _parts(text: str) -> list[str]:
    return [part for part in text.splitlines() if part] or [""]
