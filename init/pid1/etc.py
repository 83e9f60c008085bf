"""The files below `/etc` that the configuration decides, pure: `Machine` in, paths and bytes out.

`/etc` is a tmpfs that is filled from the image's factory copy at each boot; these come over it. Keys that may log in
stand in `/etc/ssh/authorized_keys/NAME`, not in the homes: a key that leaves the configuration is gone at the next
boot, and no link that a user made leads root's pen elsewhere. What a user puts into `~/.ssh/authorized_keys` counts
as well.
"""

from __future__ import annotations

from dataclasses import dataclass

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.formats.machine import Machine
    from init.formats.release import Release
    from init.pid1.accounts import Accounts

HOST_KEY = "/var/lib/berth/ssh/ssh_host_ed25519_key"  # made on the machine, where the configuration gives none
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
ZONES = "/usr/share/zoneinfo"
_SHADOW_GROUP = 42
_POOL = "2.debian.pool.ntp.org"


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcFile:
    """A file to write. With `target` it is a symbolic link to it, and the rest means nothing."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    target: str = ""


def files(machine: Machine, release: Release, accounts: Accounts, bundle: bytes = b"") -> tuple[EtcFile, ...]:
    """Return all files to write, sorted by path. `bundle` is the image's own CA bundle."""
    made = [
        _text("/etc/hostname", f"{machine.hostname}\n"),
        _text("/etc/hosts", _hosts(machine)),
        _text("/etc/timezone", f"{machine.timezone}\n"),
        EtcFile(path="/etc/localtime", target=f"{ZONES}/{machine.timezone}"),
        _text("/etc/passwd", _passwd(accounts)),
        _text("/etc/group", _group(accounts)),
        EtcFile(path="/etc/shadow", data=_shadow(accounts).encode(), mode=0o640, gid=_SHADOW_GROUP),
        EtcFile(path="/etc/gshadow", data=_gshadow(accounts).encode(), mode=0o640, gid=_SHADOW_GROUP),
        EtcFile(path="/etc/ssh/sshd_config", data=_sshd(machine).encode(), mode=0o600),
        _text("/etc/chrony/chrony.conf", _chrony(machine)),
        _text("/etc/profile", _profile(machine)),
        _text("/etc/issue", f"Berth {release.version} ({release.name}) on \\n, \\l\n\n"),
        _text("/etc/motd", ""),
        *_resolver(machine),
        *_authorized_keys(accounts),
        *_host_keys(machine),
        *_certificates(machine, bundle),
    ]
    return tuple(sorted(made, key=lambda each: each.path))


def _text(path: str, text: str) -> EtcFile:
    return EtcFile(path=path, data=text.encode())


def _hosts(machine: Machine) -> str:
    lines = ["127.0.0.1 localhost"]
    if machine.manage_etc_hosts != "false":
        names = [machine.hostname] if machine.fqdn in (None, machine.hostname) else [machine.fqdn, machine.hostname]
        lines.append(f"127.0.1.1 {' '.join(str(name) for name in names)}")
    lines += ["::1 localhost ip6-localhost ip6-loopback", "ff02::1 ip6-allnodes", "ff02::2 ip6-allrouters"]
    return "\n".join(lines) + "\n"


def _resolver(machine: Machine) -> tuple[EtcFile, ...]:
    """Fixed name servers. Where DHCP runs, its hook writes the file again with the servers of both."""
    network = machine.network
    servers = [*network.nameservers, *(each for link in network.links for each in link.nameservers)]
    search = [*network.search, *(each for link in network.links for each in link.search)]
    if not servers and not search:
        return ()
    lines = [f"search {' '.join(dict.fromkeys(search))}"] if search else []
    lines += [f"nameserver {server}" for server in dict.fromkeys(servers)]
    return (_text("/etc/resolv.conf", "\n".join(lines) + "\n"),)


def _passwd(accounts: Accounts) -> str:
    return "".join(f"{u.name}:x:{u.uid}:{u.gid}:{u.gecos}:{u.home}:{u.shell}\n" for u in accounts.users)


def _group(accounts: Accounts) -> str:
    return "".join(f"{g.name}:x:{g.gid}:{','.join(g.members)}\n" for g in accounts.groups)


def _shadow(accounts: Accounts) -> str:
    return "".join(f"{u.name}:{u.password}:{accounts.day}:0:99999:7:::\n" for u in accounts.users)


def _gshadow(accounts: Accounts) -> str:
    return "".join(f"{g.name}:*::{','.join(g.members)}\n" for g in accounts.groups)


def host_keys(machine: Machine) -> tuple[str, ...]:
    """Return the paths of the host keys that sshd uses."""
    given = tuple(
        f"/etc/ssh/ssh_host_{name.removesuffix('_private')}_key"
        for name, _ in machine.ssh_host_keys
        if name.endswith("_private")
    )
    return given or (HOST_KEY,)


def _sshd(machine: Machine) -> str:
    """sshd -i as PID 1 starts it: no PAM, no log-in of root or by password unless asked."""
    has_root_password = any(user.name == "root" and not user.lock_password for user in machine.users)
    password_of_root = machine.ssh_password and has_root_password
    root = "no" if machine.disable_root else "yes" if password_of_root else "prohibit-password"
    lines = [
        *(f"HostKey {path}" for path in host_keys(machine)),
        *_host_certificates(machine),
        "UsePAM no",
        f"PermitRootLogin {root}",
        f"PasswordAuthentication {'yes' if machine.ssh_password else 'no'}",
        "KbdInteractiveAuthentication no",
        "AuthorizedKeysFile /etc/ssh/authorized_keys/%u .ssh/authorized_keys",
        "X11Forwarding no",
        "PrintMotd no",
        "UseDNS no",
        "AcceptEnv LANG LC_*",
        *_session_environment(machine),
        "Subsystem sftp internal-sftp",
    ]
    return "\n".join(lines) + "\n"


def _session_environment(machine: Machine) -> tuple[str, ...]:
    """The machine's environment, proxies above all, for commands typed by hand. sshd heeds only the first `SetEnv`."""
    pairs = [f"{name}={value}" for name, value in machine.environment if name.isidentifier() and value.isprintable()]
    escaped = (pair.replace("\\", "\\\\").replace('"', '\\"') for pair in pairs)
    return ("SetEnv " + " ".join(f'"{pair}"' for pair in escaped),) if pairs else ()


def _host_certificates(machine: Machine) -> tuple[str, ...]:
    kinds = tuple(
        name.removesuffix("_certificate") for name, _ in machine.ssh_host_keys if name.endswith("_certificate")
    )
    return tuple(f"HostCertificate /etc/ssh/ssh_host_{kind}_key-cert.pub" for kind in kinds)


def _host_keys(machine: Machine) -> tuple[EtcFile, ...]:
    suffixes = {"private": ("", 0o600), "public": (".pub", 0o644), "certificate": ("-cert.pub", 0o644)}
    made = []
    for name, text in machine.ssh_host_keys:
        kind, _, part = name.rpartition("_")
        suffix, mode = suffixes[part]
        data = text.strip("\n").encode() + b"\n"
        made.append(EtcFile(path=f"/etc/ssh/ssh_host_{kind}_key{suffix}", data=data, mode=mode))
    return tuple(made)


def _authorized_keys(accounts: Accounts) -> tuple[EtcFile, ...]:
    return tuple(
        _text(f"/etc/ssh/authorized_keys/{account.name}", "\n".join(account.keys) + "\n")
        for account in accounts.users
        if account.keys
    )


def _chrony(machine: Machine) -> str:
    """chrony.conf(5): the clock may jump at any time, for a guest that was suspended comes back hours later.

    The socket is for `chronyc` on the machine.
    """
    pools = machine.ntp_pools or (() if machine.ntp_servers else (_POOL,))
    lines = [
        *(f"server {each} iburst" for each in machine.ntp_servers),
        *(f"pool {each} iburst" for each in pools),
        "driftfile /var/lib/chrony/chrony.drift",
        "makestep 1 -1",
        "rtcsync",
        "port 0",
        "cmdport 0",
    ]
    return "\n".join(lines) + "\n"


def _profile(machine: Machine) -> str:
    lines = ["export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "export LANG=C.UTF-8"]
    lines += [f"export {name}={_quoted(value)}" for name, value in machine.environment if name.isidentifier()]
    lines += ["PS1='\\u@\\h:\\w\\$ '", "umask 022"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _certificates(machine: Machine, bundle: bytes) -> tuple[EtcFile, ...]:
    """The bundle with the configuration's authorities. Without the image's bundle at hand it is left alone."""
    if not machine.ca_certificates and not machine.ca_remove_defaults:
        return ()
    own = [text.strip("\n").encode() + b"\n" for text in machine.ca_certificates]
    made = [EtcFile(path=f"/etc/ssl/certs/berth-{number}.pem", data=data) for number, data in enumerate(own)]
    if bundle or machine.ca_remove_defaults:
        whole = (b"" if machine.ca_remove_defaults else bundle) + b"".join(own)
        made.append(EtcFile(path=BUNDLE, data=whole))
    return tuple(made)
