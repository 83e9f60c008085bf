"""Doing what the services' machines ask, through the door to the kernel.

Every answer goes back as an event: a process that could not be made, a pid file that isn't there, a cgroup that is
empty. No failure of the kernel becomes an exception of a state machine. Events wait in a queue, so that one step's
actions are all done before the next step.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats import events
from init.formats.bare import deque
from init.formats.service import Readiness
from init.pid1 import cgroups, lifecycle, supervisor
from init.pid1.lifecycle import Role
from init.pid1.system import Spawn

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from init.formats.service import Service
    from init.pid1.events import Announcer
    from init.pid1.logs import Logs
    from init.pid1.loop import Loop
    from init.pid1.system import System

NOTIFY_FOLDER = "/run/berth/notify"
EMPTY_POLL = 0.02  # seconds between looks at a cgroup that is being killed
SIGKILL = 9
BASE_ENVIRONMENT = (
    ("HOME", "/root"),
    ("LANG", "C.UTF-8"),
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Where things are; another `top` is for tests on machines whose cgroups are elsewhere."""

    top: str = cgroups.TOP
    notify_folder: str = NOTIFY_FOLDER


DEFAULT = Settings()


class Performer:
    """Runs services: keeps the supervisor's state, does its actions, feeds back what happened."""

    def __init__(
        self, system: System, loop: Loop, logs: Logs, announcer: Announcer, settings: Settings = DEFAULT
    ) -> None:
        self._system = system
        self._loop = loop
        self._logs = logs
        self._announcer = announcer
        self.settings = settings
        self.supervisor = supervisor.Supervisor()
        self.environment: tuple[tuple[str, str], ...] = ()
        self._pids: dict[int, tuple[str, Role]] = {}
        self._others: dict[int, Callable[[int], None]] = {}
        self._notify: dict[str, int] = {}
        self._queue: deque[tuple[str, lifecycle.Event]] = deque()
        self._busy = False
        self._silent: set[str] = set()  # containers whose main program has not said a line since its start
        logs.on_output = self._on_output
        self.on_change: Callable[[], None] = lambda: None

    # --- what the rest of PID 1 asks ---------------------------------------------------------------------

    def load(self, services: Iterable[Service]) -> None:
        """Take on services and start those that may."""
        self._take(supervisor.load(self.supervisor, services, self._system.now()))

    def forget(self, names: Iterable[str]) -> None:
        """Drop services that are at rest."""
        self.supervisor = supervisor.forget(self.supervisor, names)

    def reach(self, target: str) -> None:
        """A target is reached."""
        self._take(supervisor.reach(self.supervisor, target, self._system.now()))

    def close(self) -> None:
        """Begin to stop everything, in reverse order."""
        self._take(supervisor.close(self.supervisor, self._system.now()))

    def post(self, name: str, event: lifecycle.Event) -> None:
        """Hand an event to one service."""
        self._queue.append((name, event))
        self._drain()

    def at_rest(self) -> bool:
        """Tell whether no service runs any more."""
        return supervisor.at_rest(self.supervisor)

    def expect(self, pid: int, ended: Callable[[int], None]) -> None:
        """Call `ended` with the status when a child that is no service's ends."""
        self._others[pid] = ended

    def reap(self) -> None:
        """Take the status of every child that ended. A process that nobody knows was an orphan."""
        for pid, status in self._system.reap():
            other = self._others.pop(pid, None)
            if other is not None:
                self._loop.guard(f"end of {pid}", lambda other=other, status=status: other(status))  # type: ignore[misc]
                continue
            owner = self._pids.pop(pid, None) or self._owner_by_state(pid)
            if owner is not None:
                name, role = owner
                self._logs.drain(name, _aside(role), finish=role in (Role.MAIN, Role.PROBE))
                self.post(name, lifecycle.Exited(role=role, pid=pid, status=status))

    def _owner_by_state(self, pid: int) -> tuple[str, Role] | None:
        """A main process that was announced (MAINPID, pid file) is no child that was spawned here."""
        for name, running in self.supervisor.services.items():
            if running.main == pid:
                return name, Role.MAIN
        return None

    # --- the queue ---------------------------------------------------------------------------------------

    def _take(self, outcome: supervisor.Outcome) -> None:
        self.supervisor, asks = outcome
        self._do_all(asks)
        self._drain()

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                name, event = self._queue.popleft()
                now = self._system.now()
                self.supervisor, asks = supervisor.deliver(self.supervisor, name, event, now)
                self._do_all(asks)
        finally:
            self._busy = False
        self._loop.guard("change", self.on_change)

    def _do_all(self, asks: list[supervisor.Ask]) -> None:
        """Do actions in order. Their answers wait until all are done, for they are the answers to this step."""
        busy, self._busy = self._busy, True
        try:
            for ask in asks:
                self._loop.guard(f"{ask.name}: {type(ask.action).__name__}", lambda ask=ask: self._do(ask))  # type: ignore[misc]
        finally:
            self._busy = busy

    # --- actions -----------------------------------------------------------------------------------------

    def _do(self, ask: supervisor.Ask) -> None:
        name, action = ask.name, ask.action
        match action:
            case lifecycle.Run():
                self._run(name, action)
            case lifecycle.Signal():
                self._signal(name, action)
            case lifecycle.KillGroup():
                self._kill_group(name)
            case lifecycle.KillProbe():
                self._kill_probe(name, action.pid)
            case lifecycle.FindMain():
                self._find_main(name, action.path)
            case lifecycle.Arm():
                event = lifecycle.Elapsed(timer=action.timer)
                self._loop.after(f"{name}.{action.timer}", action.seconds, lambda: self.post(name, event))
            case lifecycle.Disarm():
                self._loop.cancel(f"{name}.{action.timer}")
            case lifecycle.Emit():
                self._emit(name, action)
            case lifecycle.Note():
                self._logs.say(name, action.text)

    def _on_output(self, name: str) -> None:
        if name in self._silent:
            self._silent.discard(name)
            self._emit(name, lifecycle.Emit(event=events.CONTAINER_OUTPUT))

    def _emit(self, name: str, action: lifecycle.Emit) -> None:
        running = self.supervisor.services[name]
        self._announcer.emit(
            action.event,
            name=name,
            image=running.service.image,
            restarts=running.restarts,
            status=action.status,
        )

    def _run(self, name: str, action: lifecycle.Run) -> None:
        of = self.supervisor.services[name].service
        role = action.role
        try:
            folder = self._prepare_group(of, role)
            output = self._logs.pipe(name, _aside(role))
            pid = self._system.spawn(
                Spawn(
                    argv=action.argv,
                    environment=self._environment(of),
                    cgroup=folder,
                    stdout=output,
                    stderr=output,
                )
            )
        except OSError as error:
            self._queue.append((name, lifecycle.NotSpawned(role=role, reason=str(error))))
            return
        self._pids[pid] = (name, role)
        if role is Role.MAIN and of.is_container:
            self._silent.add(name)
        self._queue.append((name, lifecycle.Spawned(role=role, pid=pid)))

    def _environment(self, of: Service) -> tuple[tuple[str, str], ...]:
        values = dict(BASE_ENVIRONMENT)
        values.update(self.environment)
        values.update(of.environment)
        if of.readiness is Readiness.NOTIFY:
            self._open_notify(of.name)
            values["NOTIFY_SOCKET"] = f"{self.settings.notify_folder}/{of.name}"
        return tuple(values.items())

    def _prepare_group(self, of: Service, role: Role) -> str | None:
        """Make the cgroup and set its limits; None where there can be none (the kernel's fault is in the log)."""
        top = self.settings.top
        folder = cgroups.probe(of.name, top) if role is Role.PROBE else cgroups.home(of, top)
        try:
            self._system.make_folder(folder)
        except OSError as error:
            self._logs.say(of.name, f"it has no cgroup: {error}")
            return None
        settings = cgroups.limits(of.name, of.limits, top)
        if of.delegate:
            settings += self._hand_down(cgroups.group(of.name, top))
        for setting in settings:
            try:
                self._system.write(setting.path, setting.value.encode())
            except OSError as error:
                self._logs.say(of.name, f"{setting.path}: {error}")
        return folder

    def _hand_down(self, folder: str) -> tuple[cgroups.Setting, ...]:
        try:
            available = self._system.read(f"{folder}/cgroup.controllers").decode("ascii", "replace")
        except OSError as error:
            self._logs.say("init", f"{folder}: limits can't be set, for its controllers can't be read: {error}")
            return ()
        return cgroups.hand_down(folder, available)

    def hand_down_controllers(self) -> None:
        """Let services' cgroups have limits: hand the controllers down from the top."""
        parent = cgroups.parent(self.settings.top)
        try:
            self._system.make_folder(parent)
        except OSError as error:
            self._logs.say("init", f"services have no cgroups: {error}")
            return
        for folder in (self.settings.top, parent):
            for setting in self._hand_down(folder):
                try:
                    self._system.write(setting.path, setting.value.encode())
                except OSError as error:
                    self._logs.say("init", f"{setting.path}: {error}")

    def _signal(self, name: str, action: lifecycle.Signal) -> None:
        try:
            self._system.signal(action.pid, action.number)
        except OSError as error:  # it ended just now, and its exit is on the way
            self._logs.say(name, f"signal {action.number} to {action.pid}: {error}")

    # --- killing -----------------------------------------------------------------------------------------

    def _kill_group(self, name: str) -> None:
        folder = cgroups.group(name, self.settings.top)
        try:
            self._system.write(f"{folder}/cgroup.kill", b"1")
        except OSError:
            self._kill_by_pid(name)
        self._look_empty(name)

    def _kill_by_pid(self, name: str) -> None:
        """There is no cgroup to kill: kill the sessions of what was started for it."""
        for pid, (owner, role) in list(self._pids.items()):
            if owner == name and role is not Role.PROBE:
                try:
                    self._system.signal_session(pid, SIGKILL)
                except OSError:
                    continue

    def _look_empty(self, name: str) -> None:
        running = self.supervisor.services.get(name)
        if running is None or running.state is not lifecycle.State.KILLING:
            return
        folder = cgroups.group(name, self.settings.top)
        try:
            empty = cgroups.is_empty(self._system.read(f"{folder}/cgroup.events").decode("ascii", "replace"))
        except OSError:
            alive = [pid for pid, (owner, role) in self._pids.items() if owner == name and role is not Role.PROBE]
            empty = not alive
        if not empty:
            self._loop.after(f"{name}.empty", EMPTY_POLL, lambda: self._look_empty(name))
            return
        self._loop.cancel(f"{name}.empty")
        self._remove_groups(name)
        self._queue.append((name, lifecycle.GroupEmpty()))
        self._drain()

    def _remove_groups(self, name: str) -> None:
        for folder in (cgroups.group(name, self.settings.top), cgroups.probe(name, self.settings.top)):
            try:
                self._system.remove_group(folder)
            except OSError:
                continue  # a probe is still dying; the folder is used again

    def _kill_probe(self, name: str, pid: int) -> None:
        try:
            self._system.write(f"{cgroups.probe(name, self.settings.top)}/cgroup.kill", b"1")
        except OSError:
            try:
                self._system.signal_session(pid, SIGKILL)
            except OSError:
                return

    # --- main processes that detached --------------------------------------------------------------------

    def _find_main(self, name: str, path: str) -> None:
        try:
            text = self._system.read(path, 64).decode("ascii", "replace").strip()
            pid = int(text)
            self._system.signal(pid, 0)
        except (OSError, ValueError) as error:
            self._queue.append((name, lifecycle.MainFound(pid=None, reason=f"{path}: {error}")))
            return
        self._queue.append((name, lifecycle.MainFound(pid=pid)))

    # --- readiness ---------------------------------------------------------------------------------------

    def _open_notify(self, name: str) -> None:
        if name in self._notify:
            return
        self._system.make_folder(self.settings.notify_folder, 0o755)
        descriptor = self._system.listen_datagrams(f"{self.settings.notify_folder}/{name}", 0o666)
        self._notify[name] = descriptor
        self._loop.watch(descriptor, f"readiness of {name}", lambda: self._on_notify(name, descriptor))

    def _on_notify(self, name: str, descriptor: int) -> None:
        try:
            data = self._system.receive(descriptor, 4096)
        except BlockingIOError:
            return
        ready, main_pid = read_notification(data)
        if main_pid is not None:
            try:
                self._system.signal(main_pid, 0)
            except OSError:
                main_pid = None
        self.post(name, lifecycle.Notified(ready=ready, main_pid=main_pid))


def _aside(role: Role) -> str:
    """A probe's complaint is no output of its container."""
    return "probe" if role is Role.PROBE else ""


def read_notification(data: bytes) -> tuple[bool, int | None]:
    """Read a datagram of sd_notify(3): whether it says READY=1, and MAINPID."""
    ready, main_pid = False, None
    for line in data.decode("utf-8", "replace").splitlines():
        key, _, value = line.partition("=")
        if key == "READY" and value == "1":
            ready = True
        elif key == "MAINPID" and value.isdecimal() and 1 < int(value) < 1 << 22:
            main_pid = int(value)
    return ready, main_pid
