"""The shape of a root that is never written: factory copies of `/etc` and `/var`, and empty places to mount on.

At boot `/etc` is made in memory and `/var` on state, both filled from `/usr/share/factory`. What packages ship below
`/run`, `/tmp` and `/boot`'s neighbours that are mounted over would never be seen, so it goes.
"""

from __future__ import annotations

from dataclasses import replace

from builder.rootfs.entry import Kind
from builder.rootfs.unpack import Unpacked
from builder.stages.context import StageContext
from builder.stages.draft import Draft

FACTORY = "usr/share/factory"
# the folders of state, and /etc: what an image has in them is copied from the factory
_FACTORY_MADE = ("etc", "var", "home", "root", "srv", "opt", "mnt", "usr/local")
_EMPTIED = ("run", "tmp", "proc", "sys", "dev", "media")
_MODES = {"root": 0o700, "tmp": 0o1777}
_VAR_LINKS = {"run": "/run", "lock": "/run/lock"}
_VAR_MODES = {"tmp": 0o1777, "lib": 0o755, "log": 0o755, "cache": 0o755, "spool": 0o755}


def run(draft: Draft, context: StageContext, unpacked: Unpacked) -> str:  # noqa: ARG001 - every stage's shape
    """Move what is filled at boot, empty what is mounted over, and make every mount point."""
    for name, mode in _VAR_MODES.items():
        if f"var/{name}" not in draft:
            draft.folder(f"var/{name}", mode=mode)
    for name, target in _VAR_LINKS.items():
        draft.remove(f"var/{name}")
        draft.link(f"var/{name}", target)
    draft.remove("var/lib/dpkg")
    draft.link("var/lib/dpkg", "/usr/lib/berth/dpkg")
    for name in ("etc/machine-id", "etc/resolv.conf", "etc/hostname"):
        draft.remove(name)  # each machine's own
    for name in _EMPTIED:
        draft.remove(name)
        draft.folder(name, mode=_MODES.get(name, 0o755))
    moved = sum(_move(draft, name) for name in _FACTORY_MADE)
    return f"{moved} paths to the factory"


def _move(draft: Draft, name: str) -> int:
    nodes = draft.below(name)
    has_files = any(node.kind is not Kind.DIRECTORY for node in nodes)
    if name not in ("etc", "var") and not has_files:
        nodes = []
    prefix = f"{FACTORY}/{name}"
    old = draft.get(name)
    mode = _MODES.get(name, old.mode if old else 0o755)
    files = {node.path for node in nodes}
    draft.remove(name)
    if nodes:
        draft.folder(prefix, mode=mode)
    for node in nodes:
        target = f"{prefix}/{node.target.removeprefix(name + '/')}" if node.target in files else node.target
        draft.put(
            replace(
                node,
                path=f"{prefix}/{node.path.removeprefix(name + '/')}",
                target=target if node.kind is Kind.HARDLINK else node.target,
            )
        )
    draft.folder(name, mode=mode)
    return len(nodes)
