"""What a configuration runs once or mounts, as services, pure: commands, mounts, swap, clock, log-ins, last words."""

from __future__ import annotations

from dataclasses import replace

from init.formats.service import Limits, Readiness, Restart, Service

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from init.formats.machine import Command, Machine, Mount, Swap

BOOTCMD = "bootcmd"
RUNCMD = "runcmd"
CONDITION = "power-state-condition"
FOLDER = "/run/berth/scripts"
CONDITION_STATUS = f"{FOLDER}/{CONDITION}.status"
INSTANCES = "/var/lib/berth/instances"
KEY_SERVICE = "ssh-host-key"
VOLUMES = "/var/lib/berth/volumes"
_SHELL = "/bin/sh"
_FSTAB_WORDS = frozenset(("nofail", "auto", "noauto", "_netdev", "user", "nouser", "users", "owner", "group"))
_FSTAB_STARTS = ("x-", "comment=")
_CHRONY_FOLDERS = "install -d -m 0750 -o _chrony -g _chrony /run/chrony /var/lib/chrony"
NETWORK_BOUND = 120.0  # seconds that `runcmd` waits for the network; cloud-init's own wait is bounded, too
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


def bootcmd(instance_id: str) -> Service:
    """Return the service of `bootcmd`: at each boot, before `write_files` and the network."""
    return Service(
        name=BOOTCMD,
        argv=(_SHELL, f"{FOLDER}/{BOOTCMD}"),
        environment=(("INSTANCE_ID", instance_id),),
        readiness=Readiness.EXIT,
        restart=Restart.NO,
        start_timeout=_LONG,
    )


def instance_marker(instance_id: str, work: str) -> str:
    """Return the file that says that an instance's once-only work of that name was done."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in instance_id)[:128]
    return f"{INSTANCES}/{safe.lstrip('.') or '_'}.{work}"


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


def condition(environment: tuple[tuple[str, str], ...] = ()) -> Service:
    """Return the service that asks what `power_state` depends on, and leaves the status in `CONDITION_STATUS`.

    Its own end is always a good one: a condition that is not met is an answer, and no fault of the machine.
    """
    asked = f"{FOLDER}/{CONDITION}"
    return Service(
        name=CONDITION,
        argv=(_SHELL, "-c", f"{_SHELL} {asked}; echo $? > {CONDITION_STATUS}"),
        environment=environment,
        readiness=Readiness.EXIT,
        restart=Restart.NO,
        start_timeout=_LONG,
    )


def mount_options(mount: Mount) -> str:
    """Return the options that are the kernel's; the others are words to fstab's readers (mount(8), fstab(5))."""
    own = (option for option in mount.options if option not in _FSTAB_WORDS and not option.startswith(_FSTAB_STARTS))
    return ",".join(own) or "defaults"


def mount_name(number: int) -> str:
    """Return the service of the `number`-th mount of a configuration."""
    return f"mount-{number}"


def behind_mounts(machine: Machine, services: Iterable[Service]) -> tuple[Service, ...]:
    """Let each container wait for the mounts that its volumes lie on: it must not begin in an empty folder."""
    needed = {
        container.name: tuple(
            mount_name(number)
            for number, mount in enumerate(machine.mounts)
            if "noauto" not in mount.options
            and any(_is_below(volume.source, mount.target) for volume in container.volumes)
        )
        for container in machine.containers
    }
    return tuple(
        replace(service, after=(*service.after, *needed.get(service.name, ()))) if service.is_container else service
        for service in services
    )


def _is_below(source: str, target: str) -> bool:
    path = source if source.startswith("/") else f"{VOLUMES}/{source}" if source else ""
    return path == target or path.startswith(target.rstrip("/") + "/")


def mounts(wanted: Iterable[Mount]) -> tuple[Service, ...]:
    """Return a one-shot for each file system that the configuration mounts; at the end it is unmounted."""
    services = []
    for number, mount in enumerate(wanted):
        if "noauto" in mount.options:
            continue
        network = ("network",) if "_netdev" in mount.options or mount.filesystem.startswith("nfs") else ()
        kind = () if mount.filesystem == "auto" else ("-t", mount.filesystem)
        services.append(
            Service(
                name=mount_name(number),
                prepare=(("/bin/mkdir", "-p", mount.target),),
                argv=("/bin/mount", *kind, "-o", mount_options(mount), mount.device, mount.target),
                cleanup=(("/bin/umount", mount.target),),
                after=network,
                readiness=Readiness.EXIT,
                restart=Restart.ON_FAILURE,  # for ever: after a power cut a file server may be up minutes later
            )
        )
    return tuple(services)


def swap(wanted: Swap) -> Service:
    """Return the one-shot that makes a swap file (whole blocks, no holes) and uses it."""
    mebibytes = max(wanted.size >> 20, 1)
    name, new = quote(wanted.filename), quote(f"{wanted.filename}.new")
    # Under its own name only when it is whole: one that a cut left without its signature would never be used.
    make = (
        f"test $(stat -c %s {name} 2>/dev/null || echo 0) -eq {mebibytes << 20} || "
        f"{{ rm -f {name} {new} && (umask 077; dd if=/dev/zero of={new} bs=1M count={mebibytes}) && "
        f"mkswap {new} && sync && mv {new} {name}; }}"
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


def phone_home(argv: tuple[str, ...], environment: tuple[tuple[str, str], ...], tries: int) -> Service:
    """Return the one-shot that reports that the machine is up; the host key has to be there, for it is told."""
    return Service(
        name="phone-home",
        argv=argv,
        environment=environment,
        after=("network", KEY_SERVICE),
        readiness=Readiness.EXIT,
        restart=Restart.ON_FAILURE,
        restart_limit=max(tries - 1, 0),
    )


def final_text(text: str, facts: Mapping[str, str]) -> str:
    """Return a `final_message` with its variables: `$UPTIME`, or `{{ uptime }}` where it says it is a template."""
    first, _, rest = text.partition("\n")
    if first.startswith("## template:"):
        for name, value in facts.items():
            for form in (f"{{{{{name}}}}}", f"{{{{ {name} }}}}"):
                rest = rest.replace(form, value)
        return rest.strip()
    for name, value in facts.items():
        for word in (name, name.upper()):
            text = text.replace(f"${{{word}}}", value).replace(f"${word}", value)
    return text
