"""What `update-alternatives` would have linked, straight to the program: an image has nobody who chooses later."""

from __future__ import annotations

from dataclasses import dataclass

from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft


@dataclass(frozen=True, slots=True)
class Choice:
    """One call of `update-alternatives --install`: the name, the program beside it, the priority."""

    link: str
    target: str
    priority: int


def _family(name: str) -> tuple[Choice, ...]:
    return tuple(Choice(f"usr/sbin/{name}{verb}", f"{name}-nft{verb}", 20) for verb in ("", "-restore", "-save"))


# by package, with the priorities of its postinst: where two packages want one name, the higher gets it
PACKAGES: dict[str, tuple[Choice, ...]] = {
    "iptables": (*_family("iptables"), *_family("ip6tables"), *_family("arptables"), *_family("ebtables")),
    "debianutils": (Choice("usr/bin/which", "which.debianutils", 0),),
    "util-linux": (Choice("usr/bin/pager", "more", 50),),
    "cpio": (Choice("usr/bin/mt", "mt-gnu", 10),),
    "tar": (Choice("usr/sbin/rmt", "rmt-tar", 50),),
    "pinentry-curses": (Choice("usr/bin/pinentry", "pinentry-curses", 50),),
    "mawk": (Choice("usr/bin/awk", "mawk", 5), Choice("usr/bin/nawk", "mawk", 5)),
    "gawk": (Choice("usr/bin/awk", "gawk", 10), Choice("usr/bin/nawk", "gawk", 10)),
    "less": (Choice("usr/bin/pager", "less", 77),),
    "nano": (Choice("usr/bin/editor", "nano", 40), Choice("usr/bin/pico", "nano", 10)),
    "vim-tiny": (
        Choice("usr/bin/editor", "vim.tiny", 15),
        *(Choice(f"usr/bin/{name}", "vim.tiny", 15) for name in ("ex", "rview", "vi", "view")),
    ),
    "netcat-openbsd": (Choice("usr/bin/nc", "nc.openbsd", 50), Choice("usr/bin/netcat", "nc.openbsd", 50)),
}


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Make the links whose program is in the tree and whose name is free."""
    wanted = sorted(
        (choice for deb in unpacked.debs for choice in PACKAGES.get(deb.name, ())),
        key=lambda choice: (-choice.priority, choice.link, choice.target),
    )
    made = 0
    for choice in wanted:
        if choice.link not in draft and f"{choice.link.rpartition('/')[0]}/{choice.target}" in draft:
            draft.link(choice.link, choice.target)
            made += 1
    return f"{made} links"
