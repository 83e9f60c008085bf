"""Where a machine configuration may lie, and the config child's command line for it (docs/configuration.md).

PID 1 looks only whether there is something; what it says is the child's to read. Where there is nothing but the
recipe's default, no child is needed: its compiled form is read at once, which saves a Python start.
"""

from __future__ import annotations

from dataclasses import dataclass

from init.formats import release

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.earlyresult import EarlyResult
    from init.pid1.system import System

SEED_FOLDER = "/run/berth/seed"
LAST_GOOD = "/var/lib/berth/config"
LAST_GOOD_SHA256 = f"{LAST_GOOD}/sha256"  # of the source that was applied, as the child told it
_SMBIOS = "/sys/class/dmi/id"
_CHILD = ("/usr/bin/python3", "-I", "-B", release.APP_PATH, "config")
_LINE_WORDS = ("ds", "ci.", "cc", "cloud-", "k3os.", "k3os", "rancher.", "coreos.", "berth.config", "url")
_ADDRESS_WORDS = ("ds", "ci.ds", "cloud-config-url", "url")


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """The child's `argv`; `found`: something besides the recipe's default may hold a configuration.

    `network`: one of them lies at an address, so that the child can't do without a network.
    """

    argv: tuple[str, ...]
    found: tuple[str, ...]
    network: bool = False


def collect(system: System, early: EarlyResult, seed: str | None) -> Sources:
    """Return what to start the child with. `seed` is the device that is mounted at `SEED_FOLDER`."""
    argv = [*_CHILD, "--default", release.DEFAULT_DOCUMENT_PATH, "--cmdline", "/proc/cmdline"]
    found = []
    parameters = early.command_line.parameters
    network = any(_is_remote(parameters.get(key, "")) for key in _ADDRESS_WORDS)
    if any(key.startswith(_LINE_WORDS) for key in parameters):
        found.append("cmdline")
    if system.exists(_SMBIOS):
        argv += ["--smbios", _SMBIOS]
        serial = _serial(system)
        if "ds=" in serial:
            found.append("smbios")
            network = network or _is_remote(serial)
    if seed is not None:
        argv += ["--seed", SEED_FOLDER]
        found.append(f"cidata:{seed}")
    medium = f"{early.medium}/berth/user-data" if early.medium else ""
    if medium and system.exists(medium):
        argv += ["--medium", medium]
        found.append("medium")
    if system.exists(f"{LAST_GOOD}/user-data"):
        argv += ["--last-good", LAST_GOOD]
        found.append("last-good")
    return Sources(argv=tuple(argv), found=tuple(found), network=network)


def last_good_argv() -> tuple[str, ...]:
    """Return how the child reads the last good configuration and nothing else, after another was lost."""
    return (*_CHILD, "--default", release.DEFAULT_DOCUMENT_PATH, "--last-good", LAST_GOOD)


def document_argv(system: System, path: str, instance_id: str) -> tuple[str, ...]:
    """Return how the child reads one document for the instance that runs, beside what was kept of its source."""
    kept = ("--last-good", LAST_GOOD) if system.exists(f"{LAST_GOOD}/user-data") else ()
    return (*_CHILD, "--default", release.DEFAULT_DOCUMENT_PATH, "--file", path, "--instance", instance_id, *kept)


def _serial(system: System) -> str:
    try:
        return system.read(f"{_SMBIOS}/product_serial", 4096).decode("utf-8", "replace")
    except OSError:
        return ""


def _is_remote(text: str) -> bool:
    """Tell whether a text names an address; what exactly it says is the child's to read."""
    return "http://" in text or "https://" in text
