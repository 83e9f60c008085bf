"""Modules by device: first for the devices that are there (coldplug), then for each that the kernel tells of."""

from __future__ import annotations

from errno import ENODEV
from os import strerror

from init.formats.release import MODULES_PATH
from init.pid1.apart import ANSWER_MOST
from init.pid1.modules import ModuleIndex, canonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from init.pid1.system import Early, Uevent

    Wanted = Sequence[tuple[str, str]]  # each module's file and parameters, in order

_BUSES = "/sys/bus"
_MMC = "mmc:block"
_ASYNCHRONOUS = "async_probe"
"""The kernel's own parameter of every module: loading doesn't wait for the driver to look at its devices, which takes
AHCI half a second. What is found comes as uevents. The next module that is loaded without it waits for all."""
_SETTINGS = ("/usr/lib/modprobe.d", "/etc/modprobe.d")
_TABLES = ("modules.dep", "modules.alias", "modules.softdep")


def read_index(system: Early, place: str = "") -> ModuleIndex:
    """Read depmod's tables for the running kernel, in the root at `place`; raise OSError."""
    kernel = system.read("/proc/sys/kernel/osrelease").decode().strip()
    folder = f"{place}{MODULES_PATH}/{kernel}"
    texts = {"modules.dep": system.read(f"{folder}/modules.dep").decode()}
    for name in _TABLES[1:]:
        if system.exists(f"{folder}/{name}"):  # a tree without it has no aliases or soft dependencies
            texts[name] = system.read(f"{folder}/{name}").decode()
    texts["modprobe.d"] = _read_settings(system)
    return ModuleIndex(folder, texts)


def _read_settings(system: Early) -> str:
    text = ""
    for folder in _SETTINGS:
        if not system.exists(folder):
            continue  # the initramfs has none
        try:
            for name in system.names(folder):
                if name.endswith(".conf"):
                    text += system.read(f"{folder}/{name}").decode("utf-8", "replace") + "\n"
        except OSError:
            continue  # the drivers' own defaults hold
    return text


def load_each(system: Early, wanted: Wanted) -> bytes:
    """Load modules, in a child; return a line for each that failed: errno and file. `errors_of` reads it."""
    failed = []
    for path, parameters in wanted:
        try:
            system.load_module(path, parameters)
        except OSError as error:
            failed.append(f"{error.errno} {path}")
    return "\n".join(failed).encode()[: ANSWER_MOST - 1]


def errors_of(answer: bytes) -> dict[str, OSError]:
    """Return the errors by files; a file that was cut off is none that anybody asks for."""
    rows = [line.partition(" ") for line in answer.decode("utf-8", "replace").splitlines()]
    return {path: OSError(int(number), strerror(int(number))) for number, _, path in rows if number.isdecimal()}


def _there(system: Early) -> set[str]:
    """Return the modules that the kernel has, also those whose drivers still look at their devices."""
    try:
        text = system.read("/proc/modules", 1 << 20).decode("ascii", "replace")
    except OSError:
        return set()
    return {line.partition(" ")[0] for line in text.splitlines()}


class Devices:
    """Loads modules for devices. Nothing is loaded twice, and no failure ends anything: it is noted."""

    def __init__(self, index: ModuleIndex) -> None:
        self.index = index
        self.problems: list[str] = []
        self.loaded: list[str] = []
        self._parameters = _ASYNCHRONOUS
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._aliases: set[str] = set()
        self._gathered: list[tuple[str, str]] | None = None  # instead of being loaded

    def load(self, system: Early, alias: str, parameters: str = "") -> bool:
        """Load what an alias or a name stands for; return whether a module is there for it."""
        return self._load_all(system, self.index.wanted(alias), parameters)

    def _load_all(self, system: Early, names: Iterable[str], parameters: str = "") -> bool:
        loaded = [self._load_module(system, name, parameters) for name in names]
        return bool(loaded) and all(loaded)

    def _load_module(self, system: Early, name: str, own: str = "") -> bool:
        for path in self.index.closure(name):
            module = canonical(path)
            if module in self._done:
                continue
            self._done.add(module)
            try:
                asked = own if module == canonical(name) else ""
                parameters = " ".join(filter(None, (self._parameters, self.index.parameters.get(module), asked)))
                if self._gathered is not None:
                    self._gathered.append((path, parameters))
                else:
                    system.load_module(path, parameters)
            except OSError as error:
                self._fail(module, error)
                return False
            self.loaded.append(module)
        return True

    def _fail(self, module: str, error: OSError) -> None:
        if error.errno != ENODEV:  # a driver's way to say that its device isn't there after all
            self._failed.add(module)
        self.problems.append(f"module {module}: {error.strerror}")

    def for_device(self, system: Early, modalias: str) -> None:
        """Load the modules for one device; each alias is looked up once."""
        if modalias and modalias not in self._aliases:
            self._aliases.add(modalias)
            self._load_all(system, self.index.for_device(modalias))

    def coldplug(self, system: Early, buses: Iterable[str] | None = None, more: tuple[str, ...] = ()) -> None:
        """Load the modules for all devices that are there, and `more`; devices that these bring forth are uevents."""
        for modalias in self.present(system, buses):
            self.for_device(system, modalias)
        for name in more:
            self.load(system, name)

    def coldplug_by(
        self, system: Early, load: Callable[[Wanted], Mapping[str, OSError] | None], more: tuple[str, ...] = ()
    ) -> bool:
        """Do the same, and for `more` names, with somebody else to load the modules; tell whether that came to an end.

        `load` returns the errors by files. Where it returns None the modules are loaded here, and from then on nothing
        waits for a driver.
        """
        gathered: list[tuple[str, str]] = []
        self._gathered = gathered
        try:
            self.coldplug(system, more=more)
        finally:
            self._gathered = None
        failed = load(gathered)
        modules = {canonical(path): path for path, _ in gathered}
        if failed is None:
            missing = modules.keys() - _there(system)  # who loads one that is being loaded waits with the other
            self._done -= missing
            self.loaded = [module for module in self.loaded if module not in missing]
            self._aliases.clear()
            self.hurry()
            self.coldplug(system, more=more)
            return False
        for module, path in modules.items():
            if path in failed:
                self._fail(module, failed[path])
                self.loaded.remove(module)
        return True

    def present(self, system: Early, buses: Iterable[str] | None = None) -> list[str]:
        """Return the aliases of all devices that are there."""
        found = []
        try:
            names = list(buses) if buses is not None else system.names(_BUSES)
        except OSError as error:
            self.problems.append(f"{_BUSES}: {error.strerror}")
            return []
        for bus in names:
            if not system.exists(f"{_BUSES}/{bus}/devices"):
                continue
            try:
                devices = system.names(f"{_BUSES}/{bus}/devices")
            except OSError as error:
                self.problems.append(f"{_BUSES}/{bus}/devices: {error.strerror}")
                continue
            for device in devices:
                path = f"{_BUSES}/{bus}/devices/{device}/modalias"
                if not system.exists(path):
                    if bus == "mmc":  # its cards are told by uevent alone (drivers/mmc/core/bus.c)
                        found.append(_MMC)
                    continue
                try:
                    found.append(system.read(path, 4096).decode("utf-8", "replace").strip())
                except OSError as error:  # most likely the device went away meanwhile
                    self.problems.append(f"{path}: {error.strerror}")
        return found

    def handle(self, system: Early, event: Uevent) -> None:
        """Do what one uevent asks for."""
        if event.action in ("add", "change") and "MODALIAS" in event.variables:
            self.for_device(system, event.variables["MODALIAS"])

    def hurry(self) -> None:
        """Wait for no driver any more: for modules that are no device's, in a child."""
        self._parameters = _ASYNCHRONOUS

    def again(self, index: ModuleIndex) -> None:
        """Go on with another set of modules, after the switch of the root: look at every device once more.

        From now on loading waits: disks are there when it returns, and network cards get the same names every time.
        """
        self._parameters = ""
        self.index = index
        self._aliases.clear()
        self._done -= self._failed  # the root may have what they lacked
        self._failed.clear()
