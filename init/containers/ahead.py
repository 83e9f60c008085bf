"""What an engine's first container waits for, by engine: modules of the kernel, and programs that have to be read.

PID 1's early half lets both be loaded beside its own work, where a second processor has nothing to do. It is advice:
the kernel loads on demand what is missing, and programs are read when they are started.
"""

from __future__ import annotations

_MODULES = (
    "overlay", "bridge", "veth", "nf_tables", "nf_conntrack", "nf_nat", "nft_chain_nat", "nft_nat", "nft_masq",
    "nft_ct", "nft_fib_inet",
)  # fmt: skip
_DOCKER_MODULES = (
    "br_netfilter", "nft_compat", "x_tables", "xt_addrtype", "xt_conntrack", "xt_MASQUERADE", "xt_nat", "xt_tcpudp",
    "xfrm_user", "nf_conntrack_netlink",
)  # fmt: skip
_VERSION = "--version"  # a program that says it has read itself and its libraries, and does no more
_PROGRAMS = {
    "crun": (("/usr/bin/crun", _VERSION),),
    "podman": (("/usr/bin/podman", _VERSION), ("/usr/sbin/nft", _VERSION), ("/usr/bin/crun", _VERSION)),
    "docker": (("/usr/sbin/dockerd", _VERSION), ("/usr/bin/containerd", _VERSION)),
}


def modules(engine: str) -> tuple[str, ...]:
    """Return the names of the modules that an engine's first container would otherwise wait for, one by one."""
    if engine == "none":
        return ()
    return _MODULES + (_DOCKER_MODULES if engine == "docker" else ())


def programs(engine: str) -> tuple[tuple[str, ...], ...]:
    """Return commands that read what an engine's first container needs, in the order of their need."""
    return _PROGRAMS.get(engine, ())
