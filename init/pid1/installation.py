"""Installing from the live ISO: the installer is a child, whose words become events and answers to `berthctl install`.

Unattended (`berth.install`) it runs in the place of the config's services: what is meant for the installed machine must
not run here first. Where nothing was installed, they start after all, and the live system goes on. An installer has
as long as it needs while anything moves: one that waits for a dead drive is given up.
"""

from __future__ import annotations

import json

from init.formats import events, release
from init.pid1 import cgroups, disks
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from init.formats.machine import Machine
    from init.pid1.control import Client
    from init.pid1.events import Announcer
    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.system import System

NAME = "install"
FORMAT = "berth.install/1"
THEN = ("poweroff", "reboot", "stay")
_PROGRAM = ("/usr/bin/python3", "-I", "-B", release.APP_PATH, "install")
_ENVIRONMENT = (("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8"))
_LINE_MOST = 1 << 16  # bytes
STILL_MOST = 300.0  # seconds in which no disk does anything; the kernel itself tries a SCSI command for 180 s
_LOOK = 10.0  # seconds between looks whether anything moves
_SIGKILL = 9
_EVENTS = {
    "planned": events.INSTALL_PLANNED,
    "done": events.INSTALL_DONE,
    "refused": events.INSTALL_REFUSED,
}


class Installation:
    """At most one installer at a time. `ask` brings the machine down, `go_on` starts what waited for it."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        *,
        performer: Performer,
        announcer: Announcer,
        logs: Logs,
        media: str,
        ask: Callable[[str, str], None],
        go_on: Callable[[], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._performer = performer
        self._announcer = announcer
        self._logs = logs
        self._media = media
        self._ask = ask
        self._go_on = go_on
        self._client: Client | None = None
        self._unattended = False
        self._dry_run = False
        self._is_quiet = False  # no events: nothing is installed
        self._then = "stay"
        self._reading: int | None = None
        self._rest = b""
        self._heard = 0  # bytes
        self._pid: int | None = None
        self._status: int | None = None
        self._last = ""
        self.running = False

    @property
    def waiting(self) -> tuple[str, ...]:
        """Say that the config's services wait for an installation, where they do: until then all is not well yet."""
        return ("an installation is under way",) if self.running and self._unattended else ()

    def begins(self, machine: Machine) -> bool:
        """Install unattended where that is asked for, and tell so. On an installed machine the words mean nothing."""
        wanted = machine.install
        if wanted is None or self._media != "iso":
            return False
        self._unattended, self._then = True, wanted.then
        self._is_quiet = False
        self._start(_words(wanted.disk, wanted.wipe))
        return True

    def asked(self, client: Client, request: Mapping[str, object], refused: str | None) -> None:
        """Answer `berthctl install`. `refused` says why no configuration of the user is in force, where that is so."""
        disk, wipe, then = request.get("disk"), request.get("wipe"), request.get("then", "stay")
        loader = request.get("loader") is True
        well_formed = isinstance(disk, str | None) and isinstance(wipe, str | None) and then in THEN
        if self.running:
            client.fail("busy", "an installation is under way", "see berthctl events")
        elif not well_formed or not (disk or loader):
            client.fail("request", "install wants a disk", "see berthctl install --help")
        elif loader:
            self._begin_for(client, ("--loader", *(("--disk", str(disk)) if disk else ())), request)
        elif refused is not None:
            client.fail("config", f"the configuration was refused: {refused}", "mend it and start the medium again")
        else:
            self._begin_for(client, _words(str(disk), str(wipe) if wipe else None), request)

    def _begin_for(self, client: Client, words: tuple[str, ...], request: Mapping[str, object]) -> None:
        client.send({"format": FORMAT})
        client.follow(self._forget)
        self._is_quiet = "--loader" in words or request.get("dry_run") is True
        self._client, self._unattended, self._then = client, False, str(request.get("then", "stay"))
        self._start((*words, *(("--dry-run",) if request.get("dry_run") is True else ())))

    def _forget(self) -> None:
        self._client = None

    def _start(self, words: tuple[str, ...]) -> None:
        self.running, self._dry_run = True, "--dry-run" in words
        self._rest, self._status, self._last = b"", None, ""
        try:
            reading, writing = self._system.make_pipe()
        except OSError as error:
            self._failed(f"no pipe for the installer: {error}")
            return
        try:
            self._loop.watch(reading, "installer", self._read)
            self._reading = reading
            spawn = Spawn(
                argv=(*_PROGRAM, *words),
                environment=_ENVIRONMENT,
                cgroup=self._group(),
                stdout=writing,
                stderr=self._logs.pipe(NAME),
            )
            self._pid = pid = self._system.spawn(spawn)
            self._performer.expect(pid, lambda status: self._ended(pid, status))
            self._watch_over(STILL_MOST, ())
        except OSError as error:
            self._close()
            self._failed(f"the installer could not be started: {error}")
        finally:
            self._system.close(writing)

    def _group(self) -> str | None:
        folder = cgroups.group(NAME, self._performer.settings.top)
        try:
            self._system.make_folder(folder)
        except OSError:
            return None
        return folder

    def _read(self) -> None:
        if self._reading is None:
            return
        try:
            data = self._system.read_from(self._reading, _LINE_MOST)
        except BlockingIOError:
            return
        self._heard += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._on_line(line)
        if not data or len(self._rest) > _LINE_MOST:
            self._close()
            self._look()

    def _on_line(self, line: bytes) -> None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(value, dict):
            return
        state = str(value.get("state"))
        self._last = state
        event = _EVENTS.get(state)
        if event is not None and not self._is_quiet:
            fields = {key: value.get(key) for key in ("disk", "serial", "reason")}
            self._announcer.emit(event, **fields)
        elif state == "writing":
            self._logs.say(NAME, str(value.get("step")))
        if self._client is not None:
            self._client.send(value)

    def _ended(self, pid: int, status: int) -> None:
        if pid == self._pid:  # else it was given up
            self._status = status
            self._look()

    def _watch_over(self, left: float, before: object) -> None:
        """Give the installer up where nothing has moved for too long: it waits for a drive, and nothing ends that."""
        now = (disks.moved(self._system), self._heard)
        left = STILL_MOST if now != before else left - _LOOK
        if left > 0:
            self._loop.after(NAME, _LOOK, lambda: self._watch_over(left, now))
            return
        pid, self._pid = self._pid, None
        if pid is not None:
            self._loop.guard(NAME, lambda: self._system.signal_session(pid, _SIGKILL))
        self._loop.guard(NAME, self._close)
        self._failed(f"the drive does not answer: for {STILL_MOST / 60:g} minutes no disk has done anything")

    def _close(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            try:
                self._loop.unwatch(reading)
            finally:
                self._system.close(reading)

    def _look(self) -> None:
        """Both the end of the output and the end of the process are needed."""
        if self._reading is not None or self._status is None:
            return
        if self._last in ("done", "refused") or (self._last == "planned" and self._dry_run):
            self._finish()
        else:
            self._failed(f"the installer ended with {self._status}")

    def _failed(self, reason: str) -> None:
        """The child did not say its last word itself."""
        hint = "see berthctl logs install"
        self._on_line(json.dumps({"state": "refused", "reason": reason, "hint": hint}).encode())
        self._finish()

    def _finish(self) -> None:
        self.running = False
        self._loop.cancel(NAME)
        client, self._client = self._client, None
        if client is not None:
            client.finish()
        if self._last == "done" and self._then != "stay":
            self._ask(self._then, "the installation is done")
        elif self._unattended:
            self._unattended = False
            self._go_on()


def _words(disk: str, wipe: str | None) -> tuple[str, ...]:
    return ("--disk", disk, *(("--wipe", wipe) if wipe else ()))
