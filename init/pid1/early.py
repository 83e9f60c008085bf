"""From `/init` to the switched root, and what the root needs before the first service.

Two halves. Until the switch each step is essential: the first failure ends in rescue, or, when a slot of a disk was
booted, in a reboot, for its try is spent and the other slot comes. After the switch nothing is essential any more:
each failure is said, noted in `degraded`, and the boot goes on. No exception leaves `run`.
"""

from __future__ import annotations

import sys

from init.formats import cmdline
from init.formats.release import PATH as RELEASE_PATH
from init.formats.release import Release
from init.pid1 import apart, awaited, forerun, identity, mounts, reset, root, settings, state, watchdog
from init.pid1 import devices as device_modules
from init.pid1.earlyresult import EarlyResult
from init.pid1.messages import Messages
from init.pid1.outermost import RECORD_BOUND
from init.pid1.record import BootRecord
from init.pid1.state import NO_STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from init.pid1.state import Growth
    from init.pid1.system import Early

    class Events(Protocol):
        """Where events go; never blocks, never fails."""

        def emit(self, event: str, **fields: object) -> None:
            """Tell of one event."""


SYSROOT = "/sysroot"
MOUNTING = "mounting the root"
WAIT_SECONDS = 20.0
"""How long a root may take to appear. A slow USB stick takes 5 to 10 seconds."""
ANSWER_SECONDS = 90.0
"""How long where a disk has not answered, or GRUB read this slot from one that is not here yet.

The kernel gives a disk that fails half a minute, and tries again; a SATA port is reset for up to a minute, and a SAS
controller may look at its expanders for half of one.
"""
_FEED_SECONDS = 10.0
DRIVERS_SECONDS = 120.0
"""How long drivers may look at their devices: AHCI resets a port for a minute, and then asks its disk."""
_STORAGE_SECONDS = 10.0
"""How long the root waits for storage that a bus announced and that is no disk yet: the configuration may lie on it."""
_BUS_SECONDS = 3.0  # for a USB bus that does not come to rest: a device that is broken is tried again and again
_BUS_LOOK = 0.1  # seconds between looks at it: that it rests is no news


_LEFT = b"left"

# Why rescue was asked for, by GRUB's word for it (`bootrecord.Decision.why`).
_ASKED = {
    "": "the kernel command line asks for rescue",
    "no-record": "neither copy of the boot record can be read",
    "no-tries": "neither slot has a try left",
    "not-writable": "neither copy of the boot record can be written",
}


def run(system: Early, events: Events, previous: EarlyResult | None = None) -> EarlyResult:
    """Boot to the root. `previous` is the result that ended in rescue, when this is another try."""
    boot = _Boot(system, events, previous)
    try:
        boot.reach_root()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        kind = "verity" if boot.step.startswith(MOUNTING) else "init-exception"
        return boot.give_up(f"{boot.step}: {where}{error.strerror or error}", kind)
    except _NoRootError as error:
        return boot.give_up(str(error), "verity")  # this disk's root, or nothing of this will be kept at all
    except Exception as error:  # the last net: PID 1 must not end, whatever is wrong with it
        return boot.give_up(f"{boot.step}: {type(error).__name__}: {error}", "init-exception")
    try:
        boot.settle_in()
    except Exception as error:  # the same; the root is there, so the machine goes on as it is
        boot.note(f"{boot.step}: {type(error).__name__}: {error}")
    return boot.result("root", "")


def forget_folders() -> None:
    """Let late imports look into the folders on sys.path anew, for they are others now.

    Not `importlib.invalidate_caches`: since Python 3.10 it imports `importlib.metadata` and with it half of the
    library, 0.9 s under emulation.
    """
    for finder in sys.path_importer_cache.values():
        if finder is not None and hasattr(finder, "invalidate_caches"):
            finder.invalidate_caches()


class _NoRootError(Exception):
    """There is no root, or none was asked for."""


class _Boot:
    """One boot's progress. `step` says in words what is being done, for the message when it fails."""

    def __init__(self, system: Early, events: Events, previous: EarlyResult | None) -> None:
        self._system = system
        self._events = events
        self._previous = previous
        self.step = "starting"
        self._messages = Messages(system)
        self._line = previous.command_line if previous else cmdline.parse("")
        self._devices = previous.devices if previous else None
        self._uevents = previous.uevents if previous else None
        self._watchdog = previous.watchdog if previous else None
        self._found: root.Found | None = None
        self._release: Release | None = None
        self._state = NO_STATE
        self._growth: Growth | None = None
        self._machine_id = ""
        self._record: tuple[str, ...] = previous.record if previous else ()
        self._last_phase = previous.last_phase if previous else None
        self._degraded: list[str] = []

    # Until the switch: OSError ends it.

    def reach_root(self) -> None:
        """Find the root, check it, and make it the root."""
        system = self._system
        self.step = "mounting the kernel's file systems"
        mounts.perform_first(system)
        self._messages.open_consoles()
        self._events.emit("init.started")
        self.step = "reading the kernel command line"
        self._line = cmdline.parse(system.read("/proc/cmdline", 65536).decode("utf-8", "replace"))
        self._plug_in()
        if self._line.rescue and self._previous is None:
            raise _NoRootError(_ASKED.get(self._line.parameters.get("berth.reason", ""), _ASKED[""]))
        if self._line.root_hash is None or self._line.root_offset is None:
            raise _NoRootError("the kernel command line names no root (berth.root=HASH,OFFSET)")
        self._found = self._find_root()
        self._watch()
        self.attempt("finding the boot record", self._find_record)
        self.step = f"{MOUNTING} from {self._found.device}"
        mapped = root.mount(system, self._found, self._line.root_hash, self._line.root_offset, SYSROOT)
        self._messages.say(f"root: {self._found.device}, verity {self._line.root_hash[:12]}")
        self._read_less_ahead(mapped)
        self._switch()

    def _plug_in(self) -> None:
        """Load the modules for the devices that are there, and those that no device asks for."""
        system = self._system
        self.step = "reading the module tables"
        if self._devices is None:
            self._devices = device_modules.Devices(device_modules.read_index(system))
        self.step = "listening to the kernel's news about devices"
        if self._uevents is None:
            self._uevents = system.open_uevents()  # first this, so that none is missed
        if self._line.media == "iso":
            self._look_for_discs()
        self._devices.coldplug(system)
        needed = forerun.NEEDED + (root.NEEDED_FOR_ISO if self._line.media == "iso" else ())
        for name in needed:
            self._devices.load(system, name)  # a kernel may have it built in: the mount will tell

    def _look_for_discs(self) -> None:
        """Let the kernel ask drives for their disc: one that still spins up says that it has none, and no more."""
        setting = settings.DISCS
        try:
            setting.write_to(self._system)()
        except OSError as error:
            self._messages.say(f"{setting.path} can't be set ({error.strerror}): a disc that comes late is not seen")

    def _find_root(self) -> root.Found:
        """Wait for the root, by the kernel's news and never by sleeping."""
        system, devices, uevents = self._system, self._devices, self._uevents
        assert devices is not None
        assert uevents is not None
        self.step = "looking for the root"
        search = root.Search(self._line)
        begun, patience = system.now(), WAIT_SECONDS
        try:
            while True:
                found = search.look(system)
                if found is not None:
                    return found
                left = begun + patience - system.now()
                owed = "a disk that does not answer" if search.asking.waiting else search.owed
                if left <= 0 and owed and patience < ANSWER_SECONDS:
                    left, patience = left + ANSWER_SECONDS - patience, ANSWER_SECONDS
                    self._messages.say(f"no root yet, and {owed}: {ANSWER_SECONDS:.0f} s for it")
                if left <= 0 or search.hopeless is not None:
                    break
                self._watch_early()
                ready = system.wait_readable([uevents, *search.asking.waiting], min(left, _FEED_SECONDS))
                if uevents in ready:
                    self._take_news(search)
        finally:
            search.asking.end(system)
        for line in search.explain():
            self._messages.say(line)
        self._messages.say(f"drivers: {' '.join(devices.loaded) or 'none'}")
        if search.hopeless is not None:
            raise _NoRootError(f"no root: {search.hopeless}")
        raise _NoRootError(f"no root was found within {patience:.0f} s")

    def _watch_early(self) -> None:
        """Open a watchdog in hardware as soon as its driver has one, and feed it: a hang here ends, too."""
        try:
            if self._watchdog is None:
                self._watchdog = watchdog.open_hardware(self._system)
            else:
                self._system.feed_watchdog(self._watchdog)
        except OSError:
            return  # tried again at the next look, and told once the root is there

    def _take_news(self, search: root.Search | None) -> None:
        assert self._devices is not None
        assert self._uevents is not None
        try:
            news = self._system.read_uevents(self._uevents)
        except OSError:  # some were lost: look at everything again
            self._devices.coldplug(self._system)
            return
        for event in news:
            self._devices.handle(self._system, event)
            if search is not None and event.variables.get("SUBSYSTEM") == "block":
                search.forget(event.variables.get("DEVNAME", ""))

    def _read_less_ahead(self, mapped: str) -> None:
        """Set the root's read-ahead; without it all is as it should be, and slower: a failure is no more than said."""
        setting = settings.read_ahead(mapped)
        try:
            setting.write_to(self._system)()
        except OSError as error:
            self._messages.say(f"{setting.path} could not be set: {error.strerror}")

    def _switch(self) -> None:
        system = self._system
        self.step = "reading the release's name"
        text = system.read(f"{SYSROOT}{RELEASE_PATH}", 65536).decode("utf-8", "replace")
        self._release = Release.from_json(text)
        self.step = "switching to the root"
        for place in mounts.MOVED:
            system.mount(place, SYSROOT + place, "", mounts.MOVE)
        system.switch_root(SYSROOT)
        forget_folders()
        self._enter("root")

    # After the switch: everything is tried.

    def attempt(self, what: str, action: Callable[[], object]) -> bool:
        """Do one thing; when the kernel refuses, say so and go on."""
        self.step = what
        try:
            action()
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            self.note(f"{what}: {where}{error.strerror or error}")
            return False
        return True

    def note(self, problem: str) -> None:
        """Say and keep what isn't as it ought to be."""
        self._degraded.append(problem)
        self._messages.say(problem)

    def settle_in(self) -> None:
        """Make the root usable: file systems, modules, memory, state, identity, clock, loopback."""
        system = self._system
        self._aside(lambda: forerun.read_byte_code(system))
        for problem in mounts.perform_all(system, mounts.AFTER_SWITCH):
            self.note(problem)
        for path, target in mounts.LINKS:
            self.attempt(f"linking {path}", mounts.link(system, path, target))
        self.attempt("filling /etc", lambda: system.fill_tree(settings.FACTORY_ETC, "/etc"))
        self._feed()
        self.attempt("reading the root's module tables", self._plug_in_again)
        self._feed()
        self.attempt("waiting for storage", self._await_storage)
        unwatched = self._watch()
        if unwatched is not None:
            self.note(unwatched)
        for setting in (settings.PIDS, *settings.for_memory(settings.memory(system))):
            self.attempt(f"setting {setting.path}", setting.write_to(system))
        self._use_state()
        if self._devices is not None:
            self._messages.keep(self._devices.problems)
        self.attempt("bringing up the loopback interface", lambda: system.set_link("lo", up=True))
        self.attempt("naming the machine", lambda: system.set_hostname(settings.HOSTNAME))
        if self._watchdog is not None:
            self.attempt("setting the watchdog", self._watch_closely)
        self._messages.close_consoles()

    def _watch_closely(self) -> None:
        assert self._watchdog is not None
        self._watchdog = self._system.set_watchdog(self._watchdog, watchdog.SECONDS)

    def _forerun(self) -> None:
        devices, release = self._devices, self._release
        if devices is not None and release is not None:
            self._aside(lambda: forerun.prepare_containers(self._system, devices, release.engine))

    def _aside(self, work: Callable[[], object]) -> None:
        try:
            self._system.aside(work)
        except OSError:
            return  # what it would have made ready is made when it is needed

    def _plug_in_again(self) -> None:
        """The initramfs has the modules that reach a root; now all are there."""
        assert self._devices is not None
        self._devices.again(device_modules.read_index(self._system))
        self._forerun()  # before the drivers: loading those waits for disks
        # Names of disks and cards hang on the order, so loading waits until a driver has looked at its devices (AHCI:
        # 0.5 s). A drive may never answer its driver, and nothing ends who waits for that: so a child does.
        # ext4 is for state: left to the kernel, it would start modprobe for it, which takes half a second.
        if not self._devices.coldplug_by(self._system, self._load_apart, ("ext4",)):
            self.note(f"a driver waits for a device that does not answer it: going on after {DRIVERS_SECONDS:.0f} s")
        self._devices.hurry()  # what comes later, PID 1 itself loads

    def _load_apart(self, wanted: device_modules.Wanted) -> dict[str, OSError] | None:
        system = self._system
        answer = apart.within(
            system, DRIVERS_SECONDS, lambda: device_modules.load_each(system, wanted), alive=self._feed
        )
        return device_modules.errors_of(answer) if answer is not None else None

    def _await_storage(self) -> None:
        """Take all news that there are, and wait for more while a bus owes a disk, or may announce one."""
        assert self._devices is not None
        system = self._system
        begun = system.now()
        while self._uevents is not None:
            missing = awaited.awaited(system)
            passed = system.now() - begun
            if passed >= _STORAGE_SECONDS:
                if missing:
                    self._messages.say(f"storage that gives no disk: {', '.join(missing)}")
                return
            moves = not missing and passed < _BUS_SECONDS and awaited.more_may_come(system)
            left = _STORAGE_SECONDS - passed if missing else _BUS_LOOK if moves else 0.0
            if system.wait_readable([self._uevents], left):
                self._take_news(None)
            elif not missing and not moves:
                return

    def _watch(self) -> str | None:
        assert self._devices is not None
        self.step = "opening a watchdog"
        self._watchdog, problem = watchdog.open_best(self._system, self._devices, self._watchdog)
        return problem

    def _use_state(self) -> None:
        system = self._system
        self.step = "mounting state"
        self._feed()
        self._state = state.mount_state(system, self._found, state.Meanwhile(say=self._messages.say, alive=self._feed))
        self._feed()
        if self._state.problem:
            self.note(self._state.problem)
        if self._state.kind == "ext4":
            self.attempt("resetting state", self._reset)
        for problem in state.spread(system, self._state):
            self.note(problem)
        self.attempt("looking for a larger disk", self._plan_growth)
        self._enter("state")
        self.attempt("naming the machine's id", self._identify)
        epoch = self._release.epoch if self._release else 0
        self.attempt("setting the clock", lambda: identity.set_clock(system, epoch))
        self.attempt("feeding the random seed", lambda: identity.use_seed(system))

    def _feed(self) -> None:
        if self._watchdog is not None:
            dog = self._watchdog
            self.attempt("feeding the watchdog", lambda: self._system.feed_watchdog(dog))

    def _reset(self) -> None:
        said = reset.carry_out(self._system)
        if said is not None:
            self._messages.say(said)

    def _plan_growth(self) -> None:
        if self._state.kind == "ext4" and not self._state.fresh:
            self._growth = state.growth_of(self._system, self._found, self._state.device)

    def _find_record(self) -> None:
        """Find the boot record, see what the boot before came to, and say that this one got here."""
        self._record = root.record_partitions(self._system, self._found)
        self._last_phase = self._boot_record().last_phase() or self._last_phase
        self._enter("initramfs")

    def _boot_record(self) -> BootRecord:
        boot_id = self._system.read("/proc/sys/kernel/random/boot_id", 64).decode("ascii", "replace").strip()
        return BootRecord(self._system, self._record, self._line.slot, boot_id)

    def _enter(self, phase: str, reason: str = "", detail: str = "") -> None:
        """Leave behind how far this boot came; it is advice, so a failure is no more than said."""
        try:
            if self._record:
                self._boot_record().enter(phase, reason=reason, detail=detail)
        except OSError as error:
            self._messages.say(f"the boot's phase could not be written: {error}")

    def _identify(self) -> None:
        try:
            self._machine_id = identity.machine_id(self._system)
        except OSError:
            self._machine_id = identity.new_machine_id(self._system.random_bytes(16))
            raise
        finally:
            if self._machine_id:
                self._system.replace("/etc/machine-id", self._machine_id.encode() + b"\n", 0o444)

    # The end.

    def give_up(self, reason: str, kind: str) -> EarlyResult:
        """End without a root: in a reboot where GRUB has another slot to try, else in rescue. `kind`: `bootphase`'s."""
        slot_booted = root.Search(self._line).media == "disk" and not self._line.rescue
        outcome = "reboot" if slot_booted and self._previous is None else "rescue"
        if outcome == "reboot":
            self._leave_reason(kind, reason)
        self._messages.say(f"{reason}: {outcome}")
        return self.result(outcome, reason)

    def _leave_reason(self, kind: str, detail: str) -> None:
        try:
            if not self._record and self._line.record:
                self._record = root.records_without_root(self._system, self._line.record)
        except Exception as error:  # whatever is wrong: the reboot must come
            self._messages.say(f"the boot record was not found: {error}")
        if self._record and apart.within(self._system, RECORD_BOUND, lambda: self._left(kind, detail)) != _LEFT:
            self._messages.say("the reason could not be left for the next boot: the disk does not take it")

    def _left(self, kind: str, detail: str) -> bytes:
        self._boot_record().enter("initramfs", reason=kind, detail=detail)
        return _LEFT

    def result(self, outcome: str, reason: str) -> EarlyResult:
        """Return what became of it."""
        found = self._found
        return EarlyResult(
            outcome=outcome,
            reason=reason,
            command_line=self._line,
            release=self._release,
            media=found.media if found else root.Search(self._line).media,
            slot=self._line.slot,
            disk=found.disk if found else None,
            medium=root.MEDIUM if found and found.media == "iso" else None,
            record=self._record,
            last_phase=self._last_phase,
            state=self._state,
            growth=self._growth,
            machine_id=self._machine_id,
            degraded=tuple(self._degraded),
            watchdog=self._watchdog,
            uevents=self._uevents,
            devices=self._devices,
            unmount=state.unmount_order() if outcome == "root" and self._state.kind != "none" else (),
            messages=tuple(self._messages.lines),
        )
