"""Doing a stage of the boot with the configuration that is in force.

Each piece of work is done under a net of its own: what fails leaves a sentence in `problems` (the machine is degraded
by it) and the next piece comes.
"""

from __future__ import annotations

from dataclasses import replace

from init.formats import wayin
from init.formats.release import IMAGES_PATH, PROGRAM
from init.pid1 import lifecycle, reset, scripts, state, written
from init.pid1.boot import Stage
from init.pid1.etcwriter import EtcWriter
from init.pid1.sources import LAST_GOOD, LAST_GOOD_SHA256
from init.pid1.sshd import KEY
from init.pid1.uplink import Uplink

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from init.formats.machine import Command, Machine, WrittenFile
    from init.formats.release import Release
    from init.formats.service import Service
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.events import Announcer
    from init.pid1.loop import Loop
    from init.pid1.perform import Performer
    from init.pid1.sshd import SshDoor
    from init.pid1.system import System


AGAIN = 2.0  # seconds until work that failed is tried again, doubling to the next
AGAIN_MOST = 120.0
BAKED_LISTS = ("overlay-images/images.json", "overlay-layers/layers.json")


class Applier:
    """Applies a machine, stage by stage."""

    def __init__(
        self,
        system: System,
        loop: Loop,
        *,
        performer: Performer,
        announcer: Announcer,
        ssh: SshDoor,
        early: EarlyResult,
        say: Callable[[str], None],
    ) -> None:
        self._system = system
        self._loop = loop
        self._performer = performer
        self._announcer = announcer
        self._ssh = ssh
        self._early = early
        self.say = say
        self._etc = EtcWriter(system, self, early)
        self.uplink = Uplink(system, loop, self, performer, announcer)
        self.consoles: tuple[str, ...] = ()
        self._problems: dict[str, str] = {}
        self._numbers: dict[str, int] = {}  # of every container that there was in this boot
        self.on_change: Callable[[], None] = lambda: None
        loop.on_aside = self._on_aside

    @property
    def problems(self) -> tuple[str, ...]:
        """What isn't as the configuration wants it, one sentence each."""
        return tuple(self._problems.values())

    def attempt(self, what: str, act: Callable[[], object]) -> bool:
        """Do one piece of work; a failure is said, kept until the same work succeeds, and no more."""
        try:
            act()
        except Exception as error:
            self.problem(f"{what}: {_words(error)}", about=what)
            return False
        self.solved(what)
        return True

    def insist(self, what: str, act: Callable[[], object], pause: float = AGAIN) -> None:
        """Do one piece of work that the machine can't be without: where it fails, again, ever more slowly."""
        if not self.attempt(what, act):
            longer = min(pause * 2, AGAIN_MOST)
            self._loop.after(f"again: {what}", pause, lambda: self.insist(what, act, longer))

    def problem(self, text: str, about: str = "") -> None:
        """Say and keep what isn't as the configuration wants it."""
        self.say(text)
        self._problems[about or text] = text
        self._loop.soon("change", self.on_change)

    def solved(self, about: str) -> None:
        """Forget a sentence that is no longer true."""
        if self._problems.pop(about, None) is not None:
            self._loop.soon("change", self.on_change)

    def _on_aside(self, descriptor: int, text: str) -> None:
        about = f"descriptor {descriptor}"
        if text:
            self.problem(text, about)
        else:
            self.solved(about)

    def perform(self, stage: Stage, machine: Machine) -> None:
        """Do a stage's work."""
        match stage:
            case Stage.IDENTITY:
                self._identity(machine)
            case Stage.BOOTCMD:
                text = scripts.script(machine.bootcmd)
                self.attempt("bootcmd", lambda: self._put_script(scripts.BOOTCMD, text))
                self._performer.load((scripts.bootcmd(machine.instance_id),))
            case Stage.FILES:
                self._write_files(machine, deferred=False)
            case Stage.NETWORK:
                self.insist("network", lambda: self.uplink.bring_up(machine))
            case Stage.SERVICES:
                self._services(machine)
            case Stage.SEED | Stage.CONFIG | Stage.SETTLED:
                return

    # --- identity ----------------------------------------------------------------------------------------

    @property
    def _release(self) -> Release:
        release = self._early.release
        assert release is not None, "without a release there is no root, and without a root no running half"
        return release

    def _identity(self, machine: Machine) -> None:
        self.insist("host name", lambda: self._system.set_hostname(machine.hostname))
        self.insist("accounts and /etc", lambda: self._etc.write(machine))
        self._kernel(machine)

    def renew(self, old: Machine, new: Machine) -> None:
        """Do what takes effect on a running machine, but for its containers."""
        self.insist("host name", lambda: self._system.set_hostname(new.hostname))
        changed = self._etc.renew(old, new)
        self._kernel(replace(new, random_seed=None))
        for file in new.files:
            if file not in old.files or file.path in changed:
                self.attempt(file.path, self._writing(file, new))
        self._door(new)

    def _bytes(self, path: str) -> bytes:
        try:
            return self._system.read(path)
        except OSError:
            return b""

    def text(self, path: str) -> str:
        """Return a file's text; empty where it can't be read."""
        return self._bytes(path).decode("utf-8", "replace")

    # --- kernel and files --------------------------------------------------------------------------------

    def _kernel(self, machine: Machine) -> None:
        for name in machine.modules:
            self.attempt(f"module {name}", lambda name=name: self._load_module(name))  # type: ignore[misc]
        for key, value in machine.sysctls:
            self.attempt(f"sysctl {key}", lambda key=key, value=value: self._sysctl(key, value))  # type: ignore[misc]
        if machine.random_seed:
            seed = decode_base64(machine.random_seed)
            self.attempt("random seed", lambda: self._system.add_entropy(seed, credit=False))

    def _load_module(self, text: str) -> None:
        devices = self._early.devices
        name, _, parameters = text.partition(" ")
        if devices is None or not devices.load(self._system, name, parameters):
            self.problem(f"module {name} can't be loaded")

    def _sysctl(self, key: str, value: str) -> None:
        self._system.write(sysctl_path(key), value.encode())

    def _write_files(self, machine: Machine, *, deferred: bool) -> None:
        for file in machine.files:
            if file.defer is deferred:
                self.attempt(file.path, self._writing(file, machine))

    def _writing(self, file: WrittenFile, machine: Machine) -> Callable[[], None]:
        return lambda: written.write_file(self._system, file, machine.instance_id)

    def _put_script(self, name: str, text: str) -> None:
        self._system.make_folder(scripts.FOLDER, 0o700)
        self._system.replace(f"{scripts.FOLDER}/{name}", text.encode(), 0o700)

    def keep_last_good(self, document: str, sha256: str) -> None:
        """Keep the document that was applied, and which source it was; raise OSError, ValueError."""
        self._system.make_folder(LAST_GOOD, 0o700)
        self._system.replace(f"{LAST_GOOD}/user-data", decode_base64(document), 0o600)
        self._system.replace(LAST_GOOD_SHA256, f"{sha256}\n".encode(), 0o600)

    # --- services ----------------------------------------------------------------------------------------

    def _services(self, machine: Machine) -> None:
        self._write_files(machine, deferred=True)
        if self._early.growth is not None and machine.grow_state:
            growth = self._early.growth
            self.attempt("growing state", lambda: self._performer.load(state.grow_mounted(self._system, growth)))
        if self._early.state.kind == "ext4":
            self.attempt("sweeping what was reset", lambda: self._performer.load(reset.sweep(self._system)))
        # First what people wait for: each of the others takes a moment of the processor.
        self.start_containers(machine)
        wanted: list[Service] = [*scripts.chrony(machine)]
        if machine.swap is not None:
            wanted.append(scripts.swap(machine.swap))
        if scripts.has_password(machine):
            wanted += scripts.logins(self.consoles)
        self._performer.load(wanted)
        self.insist("runcmd", lambda: self._performer.load(self._runcmd(machine)))
        self._door(machine)
        self.insist("phone_home", lambda: self._performer.load(self._phone_home(machine)))

    def start_containers(self, machine: Machine) -> None:
        """Take on the containers, and their mounts: those that are there already keep what runs."""
        self.insist("containers", lambda: self._performer.load(self._containers(machine)))

    def _door(self, machine: Machine) -> None:
        if wayin.by_ssh(machine):
            given = any(kind.endswith("_private") for kind, _ in machine.ssh_host_keys)
            self.insist("ssh", lambda: self._ssh.open(given_keys=given))
        else:
            self._ssh.close()

    def _containers(self, machine: Machine) -> tuple[Service, ...]:
        from init.containers import addresses, baked, engine_files, plan  # noqa: PLC0415 - the same

        lists = [self._baked(f"{IMAGES_PATH}/{path}") for path in BAKED_LISTS]
        images = baked.parse(*lists)
        self._numbers = addresses.numbers((each.name for each in machine.containers), self._numbers)
        for path, data, mode in engine_files.engine_files(machine, self._release, self._numbers):
            self._system.make_folder(path.rpartition("/")[0])
            self._system.replace(path, data, mode)
        services = plan.services(machine, self._release, images, self._numbers)
        return (*scripts.mounts(machine.mounts), *scripts.behind_mounts(machine, services))

    def _baked(self, path: str) -> bytes:
        """Raise OSError: without the list, what lies in the image would be fetched."""
        try:
            return self._system.read(path)
        except FileNotFoundError:
            return b"[]"

    def _runcmd(self, machine: Machine) -> tuple[Service, ...]:
        """Once per instance. The mark is set before: a script that reboots must not do so for ever."""
        if not machine.runcmd:
            return ()
        if self.was_done(machine, scripts.RUNCMD):
            return ()
        self._put_script(scripts.RUNCMD, scripts.script(machine.runcmd))
        written.keep(self._system, machine.instance_id, scripts.RUNCMD)
        self._loop.after("runcmd", scripts.NETWORK_BOUND, self._without_network)
        return (scripts.runcmd(machine.environment),)

    def ask_condition(self, machine: Machine, asked: Command) -> None:
        """Run the command that `power_state` depends on; `condition` tells how it ended."""

        def start() -> None:
            self._put_script(scripts.CONDITION, scripts.script((asked,)))
            self._performer.load((scripts.condition(machine.environment),))

        self.attempt("the condition of power_state", start)

    def condition(self) -> str:
        """Return the status with which the condition's command ended, as text; empty where that isn't known."""
        return self.text(scripts.CONDITION_STATUS).strip()

    def _without_network(self) -> None:
        """A machine that has no network runs the commands all the same: they may be what brings one."""
        running = self._performer.supervisor.services.get(scripts.RUNCMD)
        if running is not None and running.state is lifecycle.State.WAITING:
            self.say(f"runcmd: no network after {scripts.NETWORK_BOUND:g} s; the commands are run without it")
            self._performer.post(scripts.RUNCMD, lifecycle.Start())

    def was_done(self, machine: Machine, work: str) -> bool:
        """Tell whether what is done once per instance was done."""
        return self._system.exists(scripts.instance_marker(machine.instance_id, work))

    def note_done(self, machine: Machine, work: str) -> None:
        """Note what is done once per instance; where that fails, it is done again at the next boot."""
        self.attempt(f"noting {work}", lambda: written.keep(self._system, machine.instance_id, work))

    def _phone_home(self, machine: Machine) -> tuple[Service, ...]:
        wanted = machine.phone_home
        if wanted is None or self.was_done(machine, "phone_home"):
            return ()
        facts = {
            "instance_id": f"={machine.instance_id}",
            "hostname": f"={machine.hostname}",
            "fqdn": f"={machine.fqdn or machine.hostname}",
            "pub_key_ed25519": f"@{KEY}.pub",
            **{f"pub_key_{kind}": f"@/etc/ssh/ssh_host_{kind}_key.pub" for kind in given_kinds(machine)},
        }
        chosen = wanted.post or tuple(facts)
        url = wanted.url.replace("$INSTANCE_ID", machine.instance_id)
        marker = scripts.instance_marker(machine.instance_id, "phone_home")
        pairs = tuple(f"{name}{facts.get(name, '=')}" for name in chosen)
        argv = (*PROGRAM, "phone-home", url, marker, *pairs)
        return (scripts.phone_home(argv, machine.environment, wanted.tries),)


def given_kinds(machine: Machine) -> tuple[str, ...]:
    """Return the kinds of host keys whose public half the configuration gives."""
    return tuple(name.removesuffix("_public") for name, _ in machine.ssh_host_keys if name.endswith("_public"))


def decode_base64(text: str) -> bytes:
    """Return the bytes of base64 text; raise ValueError."""
    import binascii  # noqa: PLC0415 - the same

    return binascii.a2b_base64(text)


def sysctl_path(key: str) -> str:
    """Return the file of a sysctl. As sysctl(8): the first separator says whether `/` or `.` divides."""
    first = next((letter for letter in key if letter in "./"), ".")
    parts = key.split("/") if first == "/" else [part.replace("/", ".") for part in key.split(".")]
    if ".." in parts or "" in parts:
        raise ValueError(f"{key} is no sysctl")
    return "/proc/sys/" + "/".join(parts)


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{error}" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {error}"
