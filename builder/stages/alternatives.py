"""What `update-alternatives` would have linked, straight to the program: an image has nobody who chooses later."""

from __future__ import annotations

from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft


def _family(name: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"usr/sbin/{name}{verb}", f"{name}-nft{verb}") for verb in ("", "-restore", "-save"))


# package → (link, target), in the order of priority that the package's postinst gives
PACKAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "iptables": (*_family("iptables"), *_family("ip6tables"), *_family("arptables"), *_family("ebtables")),
    "debianutils": (("usr/bin/which", "which.debianutils"),),
    "util-linux": (("usr/bin/pager", "more"),),
    "cpio": (("usr/bin/mt", "mt-gnu"),),
    "tar": (("usr/sbin/rmt", "rmt-tar"),),
    "pinentry-curses": (("usr/bin/pinentry", "pinentry-curses"),),
    "mawk": (("usr/bin/awk", "mawk"), ("usr/bin/nawk", "mawk")),
    "gawk": (("usr/bin/awk", "gawk"), ("usr/bin/nawk", "gawk")),
    "less": (("usr/bin/pager", "less"),),
    "nano": (("usr/bin/editor", "nano"), ("usr/bin/pico", "nano")),
    "vim-tiny": (("usr/bin/vi", "vim.tiny"), ("usr/bin/editor", "vim.tiny")),
    "netcat-openbsd": (("usr/bin/nc", "nc.openbsd"), ("usr/bin/netcat", "nc.openbsd")),
}


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Make the links whose program is in the tree and whose name is free."""
    made = 0
    for deb in unpacked.debs:
        for link, target in PACKAGES.get(deb.name, ()):
            if link not in draft and f"{link.rpartition('/')[0]}/{target}" in draft:
                draft.link(link, target)
                made += 1
    return f"{made} links"
