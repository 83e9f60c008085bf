"""Commands of a configuration as services, pure: `bootcmd`, `runcmd`, mounts, swap, clock, log-ins."""

from __future__ import annotations

from init.formats.service import Limits, Readiness, Restart, Service

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from init.formats.machine import Command, Machine, Mount, Swap

BOOTCMD = "bootcmd"
RUNCMD = "runcmd"
FOLDER = "/run/berth/scripts"
INSTANCES = "/var/lib/berth/instances"
_SHELL = "/bin/sh"
_CHRONY_FOLDERS = "install -d -m 0750 -o _chrony -g _chrony /run/chrony /var/lib/chrony"
_LONG = 3600.0  # seconds: what an administrator's commands may take before they count as hung


def quote(word: str) -> str:
    """Return a word for the shell (`shlex` would pull in `re`)."""
    if word and all(letter.isalnum() or letter in "@%+=:,./-_" for letter in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"


def script(commands: Iterable[Command]) -> str:
    """Return commands as one script of the shell, as cloud-init runs them: a failure doesn't stop the next."""
    lines = (
        command.argv[0] if command.shell else " ".join(quote(word) for word in command.argv) for command in commands
    )
    return "\n".join(("#!/bin/sh", *lines)) + "\n"


def bootcmd() -> Service:
    """Return the service of `bootcmd`: at each boot, before the network."""
    return Service(
        name=BOOTCMD,
        argv=(_SHELL, f"{FOLDER}/{BOOTCMD}"),
        readiness=Readiness.EXIT,
        restart=Restart.NO,
        start_timeout=_LONG,
    )


def instance_marker(instance_id: str) -> str:
    """Return the file that says that an instance's once-only work was done."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in instance_id)[:128]
    return f"{INSTANCES}/{safe.lstrip('.') or '_'}.runcmd"


def runcmd(environment: tuple[tuple[str, str], ...] = ()) -> Service:
    """Return the service of `runcmd`: once per instance, when the network is up."""
    return Service(
        name=RUNCMD,
        argv=(_SHELL, f"{FOLDER}/{RUNCMD}"),
        environment=environment,
        after=("network",),
        readiness=Readiness.EXIT,
        restart=Restart.NO,
        start_timeout=_LONG,
    )


def mounts(wanted: Iterable[Mount]) -> tuple[Service, ...]:
    """Return a one-shot for each file system that the configuration mounts; at the end it is unmounted."""
    services = []
    for number, mount in enumerate(wanted):
        options = ",".join(option for option in mount.options if option not in ("nofail", "auto", "_netdev"))
        network = ("network",) if "_netdev" in mount.options or mount.filesystem.startswith("nfs") else ()
        kind = () if mount.filesystem == "auto" else ("-t", mount.filesystem)
        services.append(
            Service(
                name=f"mount-{number}",
                prepare=(("/bin/mkdir", "-p", mount.target),),
                argv=("/bin/mount", *kind, "-o", options or "defaults", mount.device, mount.target),
                cleanup=(("/bin/umount", mount.target),),
                after=network,
                readiness=Readiness.EXIT,
                restart=Restart.ON_FAILURE,
                restart_limit=5,
            )
        )
    return tuple(services)


def swap(wanted: Swap) -> Service:
    """Return the one-shot that makes a swap file (whole blocks, no holes) and uses it."""
    mebibytes = max(wanted.size >> 20, 1)
    name = quote(wanted.filename)
    make = (
        f"test $(stat -c %s {name} 2>/dev/null || echo 0) -eq {mebibytes << 20} || "
        f"{{ rm -f {name} && (umask 077; dd if=/dev/zero of={name} bs=1M count={mebibytes}) && mkswap {name}; }}"
    )
    return Service(
        name="swap",
        prepare=((_SHELL, "-c", make),),
        argv=("/sbin/swapon", wanted.filename),
        cleanup=(("/sbin/swapoff", wanted.filename),),
        readiness=Readiness.EXIT,
        restart=Restart.NO,
        start_timeout=600.0,
    )


def chrony(machine: Machine) -> tuple[Service, ...]:
    """Return the clock's daemon, where the configuration wants one. Its file is `/etc/chrony/chrony.conf`."""
    if not machine.ntp_enabled:
        return ()
    service = Service(
        name="chrony",
        argv=("/usr/sbin/chronyd", "-d", "-u", "_chrony", "-F", "1"),
        prepare=((_SHELL, "-c", _CHRONY_FOLDERS),),
        after=("network",),
        limits=Limits(pids=16),
    )
    return (service,)


def has_password(machine: Machine) -> bool:
    """Tell whether anybody has a password to log in with at a console."""
    return any(user.password_hash and not user.lock_password for user in machine.users)


def logins(consoles: Iterable[str]) -> tuple[Service, ...]:
    """Return a log-in on each console: busybox's getty, which opens the terminal itself."""
    return tuple(
        Service(name=f"getty-{name}", argv=("/sbin/getty", "-L", "115200", name, "vt100"), delegate=False)
        for name in consoles
    )


def phone_home(url: str, body: str, tries: int) -> Service:
    """Return the one-shot that reports to a URL that the machine is up."""
    return Service(
        name="phone-home",
        argv=("/bin/busybox", "wget", "-q", "-O", "/dev/null", "--post-data", body, url),
        after=("network",),
        readiness=Readiness.EXIT,
        restart=Restart.ON_FAILURE,
        restart_limit=max(tries - 1, 0),
    )
