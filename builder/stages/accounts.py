"""Users and groups: what base-passwd, `adduser` and `systemd-sysusers` would have made, with ids that never move.

On a machine that is installed, daemons get the next free id, so that the same package has another one elsewhere.
Here each has its own for good, for state outlives slots and would be owned by somebody else. Ids 0–99 and 65534 are
Debian's (policy 9.2.2, base-passwd's own tables); 100–999 are given below and never again.

A shadow field is `*`, never `!`: sshd without PAM refuses a key for a user whose field begins with `!`.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import BuildError
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

_SHADOW_GROUP = 42
_DAY = 86400  # seconds


@dataclass(frozen=True, slots=True)
class User:
    """One line of passwd(5). `group` is its number."""

    name: str
    uid: int
    group: int
    comment: str
    home: str
    shell: str = "/usr/sbin/nologin"


@dataclass(frozen=True, slots=True)
class Group:
    """One line of group(5)."""

    name: str
    gid: int


@dataclass(frozen=True, slots=True)
class Ownership:
    """What `dpkg-statoverride` or `chown` in a script would have set: owner, group and mode of a path."""

    path: str
    uid: int
    gid: int
    mode: int
    folder: bool = False  # made where it lacks


@dataclass(frozen=True, slots=True)
class Accounts:
    """What one package's scripts make."""

    users: tuple[User, ...] = ()
    groups: tuple[Group, ...] = ()
    owned: tuple[Ownership, ...] = ()


_SYSTEM = Accounts(
    users=(
        User("root", 0, 0, "root", "/root", "/bin/sh"),
        User("daemon", 1, 1, "daemon", "/usr/sbin"),
        User("bin", 2, 2, "bin", "/bin"),
        User("sys", 3, 3, "sys", "/dev"),
        User("www-data", 33, 33, "www-data", "/var/www"),
        User("nobody", 65534, 65534, "nobody", "/nonexistent"),
    ),
    groups=tuple(
        Group(name, gid)
        for name, gid in (
            ("root", 0), ("daemon", 1), ("bin", 2), ("sys", 3), ("adm", 4), ("tty", 5), ("disk", 6), ("kmem", 15),
            ("dialout", 20), ("cdrom", 24), ("tape", 26), ("sudo", 27), ("audio", 29), ("www-data", 33),
            ("shadow", 42), ("utmp", 43), ("video", 44), ("plugdev", 46), ("staff", 50), ("users", 100),
            ("nogroup", 65534),
        )
    ),
)  # fmt: skip

# Once given, a number stays with its name: machines in the field have files that it owns.
PACKAGES: dict[str, Accounts] = {
    "openssh-server": Accounts(users=(User("sshd", 101, 65534, "sshd user", "/run/sshd"),)),
    "openssh-client": Accounts(
        groups=(Group("_ssh", 104),),
        owned=(Ownership("usr/bin/ssh-agent", 0, 104, 0o2755),),
    ),
    "chrony": Accounts(
        users=(User("_chrony", 102, 102, "Chrony daemon", "/var/lib/chrony"),),
        groups=(Group("_chrony", 102),),
        owned=(
            Ownership("var/lib/chrony", 102, 102, 0o750, folder=True),
            Ownership("var/log/chrony", 102, 102, 0o750, folder=True),
            Ownership("etc/chrony/chrony.keys", 0, 102, 0o640),
        ),
    ),
    "dhcpcd-base": Accounts(users=(User("dhcpcd", 103, 65534, "DHCP Client Daemon", "/usr/lib/dhcpcd", "/bin/false"),)),
    "docker.io": Accounts(groups=(Group("docker", 105),)),
    "systemd": Accounts(
        users=(User("systemd-network", 998, 998, "systemd Network Management", "/"),),
        groups=(Group("systemd-network", 998), Group("systemd-journal", 999)),
    ),
    "udev": Accounts(
        groups=(Group("input", 106), Group("sgx", 107), Group("clock", 108), Group("kvm", 109), Group("render", 110)),
    ),
}


def accounts_of(packages: set[str]) -> Accounts:
    """Return all accounts of a machine with these packages, sorted by number."""
    chosen = [_SYSTEM, *(PACKAGES[name] for name in sorted(PACKAGES) if name in packages)]
    return Accounts(
        users=tuple(sorted((user for one in chosen for user in one.users), key=lambda user: user.uid)),
        groups=tuple(sorted((group for one in chosen for group in one.groups), key=lambda group: group.gid)),
        owned=tuple(item for one in chosen for item in one.owned),
    )


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:
    """Write passwd, group, shadow and gshadow, and give paths to their owners."""
    packages = {deb.name for deb in unpacked.debs}
    accounts = accounts_of(packages)
    day = context.lock.epoch // _DAY
    groups = {group.gid for group in accounts.groups}
    for user in accounts.users:
        if user.group not in groups:
            raise BuildError(f"the user {user.name} is in group {user.group}, which does not exist")
    draft.file(
        "etc/passwd",
        "".join(f"{u.name}:x:{u.uid}:{u.group}:{u.comment}:{u.home}:{u.shell}\n" for u in accounts.users),
    )
    draft.file("etc/group", "".join(f"{g.name}:x:{g.gid}:\n" for g in accounts.groups))
    draft.file(
        "etc/shadow",
        "".join(f"{user.name}:*:{day}:0:99999:7:::\n" for user in accounts.users),
        mode=0o640,
        gid=_SHADOW_GROUP,
    )
    draft.file(
        "etc/gshadow", "".join(f"{group.name}:*::\n" for group in accounts.groups), mode=0o640, gid=_SHADOW_GROUP
    )
    draft.file("etc/subuid", "")
    draft.file("etc/subgid", "")
    for item in accounts.owned:
        _own(draft, item)
    return f"{len(accounts.users)} users, {len(accounts.groups)} groups"


def _own(draft: Draft, item: Ownership) -> None:
    if item.path in draft:
        draft.own(item.path, mode=item.mode, uid=item.uid, gid=item.gid)
    elif item.folder:
        draft.folder(item.path, mode=item.mode, uid=item.uid, gid=item.gid)
