"""Files that maintainer scripts write or copy: the tables of what each of them does on a first installation.

One package's rows stand in for its postinst (and preinst). A row whose source was left out by a rule of the recipe
does nothing. What a package ships itself is never written over.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft


@dataclass(frozen=True, slots=True)
class Text:
    """A file with fixed content."""

    path: str
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that a script copies from the package's own template."""

    path: str
    source: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    path: str
    target: str


Row = Text | Copy | Link

PACKAGES: dict[str, tuple[Row, ...]] = {
    "netbase": (
        Text(
            "etc/hosts",
            "127.0.0.1\tlocalhost\n::1\t\tlocalhost ip6-localhost ip6-loopback\n"
            "ff02::1\t\tip6-allnodes\nff02::2\t\tip6-allrouters\n\n",
        ),
        Text("etc/networks", "default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n\n"),
    ),
    "chrony": (
        Copy("etc/chrony/chrony.conf", "usr/share/chrony/chrony.conf"),
        Copy("etc/chrony/chrony.keys", "usr/share/chrony/chrony.keys", 0o640),
    ),
    "openssh-server": (Copy("etc/ssh/sshd_config", "usr/share/openssh/sshd_config"),),
    "readline-common": (Copy("etc/inputrc", "usr/share/readline/inputrc"),),
    "python3": (
        Text(
            "etc/python3/debian_config",
            "[DEFAULT]\n# how to byte-compile (comma separated: standard, optimize)\nbyte-compile = standard\n",
        ),
    ),
    "tzdata": (Link("etc/localtime", "/usr/share/zoneinfo/Etc/UTC"),),
    "libpam-modules": (Text("etc/security/opasswd", "", 0o600),),
    "libwtmpdb0": (Link("var/lib/wtmpdb/wtmp.db", "../../log/wtmp.db"),),
    "base-files": (
        Copy("etc/profile", "usr/share/base-files/profile"),
        Copy("etc/motd", "usr/share/base-files/motd"),
        Copy("root/.profile", "usr/share/base-files/dot.profile"),
        Copy("root/.bashrc", "usr/share/base-files/dot.bashrc"),
        Link("etc/dpkg/origins/default", "debian"),
    ),
    "debianutils": (Copy("etc/shells", "usr/share/debianutils/shells"),),
    "libc-bin": (Copy("etc/nsswitch.conf", "usr/share/libc-bin/nsswitch.conf"),),
}

# What no package of a small machine brings, and every program expects.
ALWAYS: tuple[Row, ...] = (
    Text(
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"
        "networks: files\nprotocols: files\nservices: files\nethers: files\nrpc: files\n",
    ),
    Text("etc/host.conf", "multi on\n"),
    Text("etc/shells", "/bin/sh\n/usr/bin/sh\n"),
    Link("etc/mtab", "../proc/self/mounts"),
)


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Write what the tables say for the packages that are in."""
    rows = [row for deb in unpacked.debs for row in PACKAGES.get(deb.name, ())]
    written = 0
    for row in (*rows, *ALWAYS):
        if row.path not in draft:
            written += _write(draft, unpacked, row)
    return f"{written} files"


def _write(draft: Draft, unpacked: Unpacked, row: Row) -> bool:
    match row:
        case Text(path, content, mode):
            draft.file(path, content, mode=mode)
        case Copy(path, source, mode):
            # from the tree before exclusion: the template itself may be left out of the image
            node = unpacked.find(source)
            if node is None:
                return False
            draft.file(path, draft.content(node.sha256), mode=mode)
        case Link(path, target):
            draft.link(path, target)
    return True
