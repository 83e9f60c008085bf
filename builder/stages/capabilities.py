"""File capabilities: what `setcap` in a postinst would have set, for a .deb carries none.

The value of `security.capability` (linux/capability.h, VFS_CAP_REVISION_2), all little-endian:

    offset  bytes
         0      4  revision 0x02000000, and bit 0 for "effective"
         4      4  permitted, capabilities 0–31      8  4  inheritable, 0–31
        12      4  permitted, capabilities 32–63    16  4  inheritable, 32–63
"""

from __future__ import annotations

import struct
from dataclasses import replace

from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

XATTR = "security.capability"
_NUMBERS = {"cap_net_raw": 13}

# package → (path, permitted and effective capabilities). iproute2 asks first and its default is no; ping needs none,
# for the kernel lets every group send echo requests (net.ipv4.ping_group_range).
PACKAGES: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "fping": (("usr/bin/fping", ("cap_net_raw",)),),
    "iputils-arping": (("usr/bin/arping", ("cap_net_raw",)),),
    "mtr-tiny": (("usr/bin/mtr-packet", ("cap_net_raw",)),),
}


def encode(names: tuple[str, ...]) -> bytes:
    """Return the attribute's value for `names` permitted and effective (`=ep`)."""
    bits = sum(1 << _NUMBERS[name] for name in names)
    return struct.pack("<5I", 0x02000001, bits & 0xFFFFFFFF, 0, bits >> 32, 0)


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Set the capabilities of the packages that are in."""
    done = 0
    for deb in unpacked.debs:
        for path, names in PACKAGES.get(deb.name, ()):
            node = draft.get(path)
            if node is not None:
                others = tuple(pair for pair in node.xattrs if pair[0] != XATTR)
                xattrs = tuple(sorted((*others, (XATTR, encode(names)))))
                draft.put(replace(node, xattrs=xattrs, mode=node.mode & ~0o4000))
                done += 1
    return f"{done} programs"
