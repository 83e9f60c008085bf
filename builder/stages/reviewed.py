"""Packages whose maintainer scripts were read, what answers for each, and the commands that were seen in them.

A newer version whose scripts run a command that is not in its row fails the build until somebody has read it. Names
may be globs where a version is part of them. `answer` names the stages, or says why an image needs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

_UPGRADE = "only when an older version is upgraded, which an image never is"
_MERGED = "keeps a file of a move to /usr out of the way; the tree is merged from the start"
_TMPFILES = "makes folders below /run and /var, which PID 1 makes at boot"


@dataclass(frozen=True, slots=True)
class Review:
    """One package. `commands` are those of preinst and postinst together, without the inert ones."""

    answer: str
    commands: frozenset[str]


def _row(answer: str, *commands: str) -> Review:
    return Review(answer, frozenset(commands))


REVIEWED: dict[str, Review] = {
    "adduser": _row(_UPGRADE, "mv"),
    "base-files": _row(
        "stages defaults and layout: profile, nsswitch.conf, and the folders of /var and /usr/local",
        *("> $DPKG_ROOT$1", "chmod", "chown", "cp", "dpkg-divert", "ln", "mkdir", "rm", "rmdir"),
    ),
    "base-passwd": _row(
        "stage accounts: Debian's static ids",
        *(
            "> $DPKG_ROOT/etc/group",
            "> $DPKG_ROOT/etc/passwd",
            "> $tmp",
            "chmod",
            "chown",
            "cp",
            "mktemp",
            "nscd",
            "rm",
            "touch",
            "update-passwd",
        ),
    ),
    "bash": _row(
        "stage alternatives has nothing of bash's but a manual page; the rest " + _UPGRADE,
        *("ln", "update-alternatives", "update-menus"),
    ),
    "ca-certificates": _row(
        "stage cabundle",
        *(
            "> /etc/ca-certificates.conf",
            "> /etc/ca-certificates.conf.dpkg-new",
            "chgrp",
            "chmod",
            "chown",
            "dpkg-statoverride",
            "dpkg-trigger",
            "mkdir",
            "mv",
            "rm",
            "sed s|$m, ||",
            "update-ca-certificates",
        ),
    ),
    "chrony": _row(
        "stages accounts and defaults",
        *("adduser", "chmod", "chronyd", "dpkg-statoverride", "install", "mkdir", "ucf", "ucfr"),
    ),
    "cpio": _row("stage alternatives", "update-alternatives"),
    "cryptsetup-bin": _row(_TMPFILES, "systemd-tmpfiles"),
    "dash": _row(
        "the package ships `sh`, and stage busybox leaves a name that is taken; the rest " + _UPGRADE,
        *("cp", "dpkg-divert", "dpkg-realpath", "ln", "mv", "rm", "touch", "update-menus"),
    ),
    "debian-archive-keyring": _row(_UPGRADE, "apt-config", "apt-key", "eval $()"),
    "debianutils": _row(
        "stages alternatives and defaults: which, and the list of shells", "cp", "update-alternatives", "update-shells"
    ),
    "dhcpcd-base": _row("stage accounts", "adduser"),
    "docker.io": _row(
        "stage accounts; the profile for AppArmor is read by nobody here", "addgroup", "chmod", "install", "mkdir"
    ),
    "dpkg": _row("stage dpkgdb", "> $admindir/arch-native", "error", "ln"),
    "e2fsprogs": _row("the initramfs is Berth's own; the rest " + _UPGRADE, "rm", "update-initramfs"),
    "fping": _row("stage capabilities", "dpkg-statoverride", "setcap"),
    "gawk": _row("stage alternatives", "rm", "update-alternatives"),
    "gzip": _row(_MERGED, "dpkg-divert"),
    "init-system-helpers": _row(_UPGRADE, "dpkg-divert", "ln", "rm"),
    "iproute2": _row(
        "sets no capability unless debconf's answer, no by default, is changed", "getcap", "mv", "rmdir", "setcap"
    ),
    "iptables": _row("stage alternatives", "update-alternatives"),
    "iputils-arping": _row("stage capabilities", "chmod", "dpkg-divert", "setcap"),
    "klibc-utils": _row(_UPGRADE, "dpkg-divert", "ln", "rm"),
    "kmod": _row("/etc/modules is read by no one here: modules are loaded by device", "> /etc/modules", "chmod", "rm"),
    "less": _row("stage alternatives", "update-alternatives"),
    "libc-bin": _row("stages ldcache and defaults", "cp", "ldconfig"),
    "libc6": _row(
        _MERGED + "; the rest " + _UPGRADE,
        *("$()", "busctl", "dpkg-divert", "dpkg-trigger", "ln", "mkdir", "perl", "rm", "systemd"),
    ),
    "libext2fs2t64": _row(_MERGED, "dpkg-divert"),
    "libgcrypt20": _row(_UPGRADE, "/usr/share/libgcrypt20/clean-up-unmanaged-libraries"),
    "libglib2.0-0t64": _row(
        "caches of schemas and modules, of which an image without a desktop has none",
        *(
            "/usr/lib/x86_64-linux-gnu/glib-2.0/gio-querymodules",
            "/usr/lib/x86_64-linux-gnu/glib-2.0/glib-compile-schemas",
            "rm",
        ),
    ),
    "libgssapi-krb5-2": _row(_UPGRADE, "cp"),
    "libpam-modules": _row("stage defaults; the rest " + _UPGRADE, "pam-auth-update", "perl", "touch"),
    "libpam-runtime": _row(
        "the files common-* of PAM, which nothing here asks: sshd runs without it", "pam-auth-update", "rm"
    ),
    "libpam0g": _row(_UPGRADE, "$idl", "is_service_configured", "restart_service"),
    "libreadline8t64": _row(_MERGED, "dpkg-divert"),
    "libselinux1": _row(_TMPFILES, "rm", "systemd-tmpfiles"),
    "libtirpc3t64": _row(_MERGED, "dpkg-divert"),
    "libwrap0": _row(
        "files with comments alone: a missing one allows the same", "> /etc/hosts.allow", "> /etc/hosts.deny"
    ),
    "libwtmpdb0": _row("stage defaults", "ln", "mkdir", "mv"),
    "linux-image-[0-9]*": _row(
        "stage modules; the initramfs, the links in /boot and the hooks of boot loaders are Berth's own",
        *("depmod", "linux-run-hooks", "linux-update-symlinks", "mkdir", "rm", "touch"),
    ),
    "login.defs": _row(_UPGRADE, "mv"),
    "mawk": _row("stage alternatives", "update-alternatives"),
    "mtr-tiny": _row("stage capabilities", "chmod", "setcap"),
    "nano": _row("stage alternatives", "update-alternatives"),
    "netbase": _row("stage defaults", "> /etc/hosts", "> /etc/networks"),
    "netcat-openbsd": _row("stage alternatives", "update-alternatives"),
    "openssh-client": _row(
        "stage accounts; " + _TMPFILES,
        *("addgroup", "chgrp", "chmod", "dpkg-statoverride", "groupmod", "systemd-tmpfiles", "update-alternatives"),
    ),
    "openssh-server": _row(
        "stages accounts and defaults; host keys are made by each machine, never by an image",
        *(
            "$sshd_path",
            "/usr/lib/runit-helper/runit-helper",
            "chmod",
            "cp",
            "dpkg-divert",
            "mkdir",
            "mktemp",
            "mv",
            "rm",
            "sed -i",
            "sed s/^$option //Ip",
            "ssh-keygen",
            "systemd-sysusers",
            "systemd-tmpfiles",
            "ucf",
            "ucfr",
        ),
    ),
    "openssl": _row("stage cabundle: the package ships the folder itself", "ln"),
    "passt": _row("loads its profile into a kernel that runs", "install", "mkdir"),
    "passwd": _row("stage accounts; " + _TMPFILES, "groupadd", "shadowconfig", "systemd-tmpfiles"),
    "pinentry-curses": _row("stage alternatives", "update-alternatives"),
    "podman": _row(_TMPFILES, "systemd-tmpfiles"),
    "procps": _row("kernel settings are PID 1's", "chmod", "sysctl"),
    "python3": _row(
        "stages defaults and bytecode",
        *("$hook", "> /etc/python3/debian_config", "mkdir", "rm", "update-alternatives"),
    ),
    "python3.13": _row("stage bytecode", "/usr/bin/python3.13"),
    "python3.13-minimal": _row(
        "stage bytecode; /usr/local belongs to state",
        *("$filt", "$hook", "/usr/bin/python3.13", "chmod", "chown", "mkdir", "rm", "rmdir", "touch", "update-binfmts"),
    ),
    "qemu-guest-agent": _row(_UPGRADE, "chmod", "mv", "rm", "rmdir"),
    "readline-common": _row("stage defaults", "cp"),
    "rsync": _row(_UPGRADE, "chmod"),
    "tar": _row("stage alternatives", "update-alternatives"),
    "tzdata": _row("stage defaults", "> $DPKG_ROOT/etc/timezone", "ln", "mv"),
    "util-linux": _row("stage alternatives: more", "update-alternatives"),
    "vim-tiny": _row("stage alternatives", "update-alternatives"),
    "xfsprogs": _row("the initramfs is Berth's own", "/bin/systemctl", "update-initramfs"),
    "ucf": _row("remembers what it copied, for upgrades", "$i+1", "cp", "touch"),
}

# triggers that packages set off, and who acts
TRIGGERS: dict[str, str] = {
    "ldconfig": "stage ldcache",
    "update-initramfs": "the initramfs is Berth's own",
    "update-ca-certificates": "stage cabundle",
    "update-ca-certificates-fresh": "stage cabundle",
}


def review_of(package: str) -> Review | None:
    """Return the row of a package."""
    found = REVIEWED.get(package)
    if found is not None:
        return found
    return next((row for name, row in REVIEWED.items() if "[" in name and fnmatchcase(package, name)), None)
