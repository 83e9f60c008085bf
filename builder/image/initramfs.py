"""The initramfs: PID 1, the Python it needs, and the drivers that reach the root.

Python's files, libraries, drivers of storage controllers and what a driver depends on are found, never listed. Listed
by hand are the kernel's folders for such drivers, patterns for the other drivers (both in `kernelmodules.CLASSES`), and
the few links and folders below.

Nothing in it names the release (PID 1 reads that in the root): it is one compressed stream, and a word that changes in
its middle would make all behind it new. So releases whose kernel, Python and early half of PID 1 are the same have the
same initramfs, and an update does not fetch it.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from builder.image import cpio, elf, kernelmodules, pythonfiles
from builder.rootfs.entry import Kind
from init.formats.release import APP_PATH

if TYPE_CHECKING:
    from builder.image.pythonfiles import Runner
    from builder.image.treeview import TreeView

# A script, because the kernel starts `/init` without arguments, and Python finds a package only through sys.path. The
# loader starts it, for the kernel lets nobody write to the file that it started itself, and PID 1 gives back the
# interpreter's pages (`init.pid1.passage`). There is room for one argument, so no -ISB: `site` is frozen into the
# interpreter, and finds nothing here.
# The net is for PID 1's own code that can't be imported: past its first lines it has nets of its own.
INIT = f"""#!{{loader}} /usr/bin/python3
import sys
sys.dont_write_bytecode = True
sys.path[0] = {APP_PATH!r}
try:
    from init.pid1.main import main
    main()
except BaseException as error:
    from init.pid1.broken import end
    end(error)
"""
MOUNT_POINTS = ("dev", "proc", "run", "sys", "tmp")
MERGED = ("bin", "lib", "lib64", "sbin")
BEST, FAST = 19, 3  # levels of zstd: seconds against tenths, for a fifth of the bytes


def contents(view: TreeView, runner: Runner, kernel: str) -> tuple[cpio.Node, ...]:
    """Return all nodes of the initramfs for a kernel (`uname -r`), sorted.

    Raises BuildError where the tree lacks what is needed.
    """
    python = pythonfiles.find(view, runner)
    modules = kernelmodules.collect(view, kernel)
    programs = elf.closure(view, ["usr/bin/python3", *python.extensions])
    nodes: dict[str, cpio.Node] = {}
    for path in (*python.modules, *programs):
        _copy(view, path, nodes)
    nodes |= {name: cpio.link(name, f"usr/{name}") for name in MERGED}
    nodes |= {name: cpio.directory(name) for name in MOUNT_POINTS}
    # Python warns on stderr where this folder is missing.
    nodes[f"{python.library}/lib-dynload"] = cpio.directory(f"{python.library}/lib-dynload")
    for name, data in modules.files.items():
        nodes[f"{modules.folder}/{name}"] = cpio.file(f"{modules.folder}/{name}", data)
    for name, text in modules.tables.items():
        nodes[f"{modules.folder}/{name}"] = cpio.file(f"{modules.folder}/{name}", text.encode())
    loader, _ = elf.needs(view.read(python.interpreter))
    nodes["init"] = cpio.file("init", INIT.format(loader=loader).encode(), 0o755)
    # The kernel opens it for PID 1's first three descriptors before anything is mounted.
    nodes["dev/console"] = cpio.Node(path="dev/console", mode=stat.S_IFCHR | 0o600, device=(5, 1))
    return cpio.with_parents(nodes.values())


def _copy(view: TreeView, path: str, nodes: dict[str, cpio.Node]) -> None:
    """Copy a file with the links that lead to it."""
    for entry in view.links_to(path):
        if entry.path not in MERGED:
            nodes[entry.path] = cpio.link(entry.path, entry.target)
    entry = view.file(path)
    assert entry.kind is Kind.FILE
    nodes[entry.path] = cpio.file(entry.path, view.read(path), 0o755 if entry.mode & 0o100 else 0o644)


def build(view: TreeView, runner: Runner, kernel: str, *, level: int = BEST) -> bytes:
    """Return the compressed archive.

    zstd 19: 0.2 s of a boot under emulation against none at all, for a third of the bytes; one thread, and the size
    told beforehand, so that the bits depend on nothing else.
    """
    plain = cpio.archive(contents(view, runner, kernel))
    return runner.run(
        "zstd", f"-{level}", "--single-thread", f"--stream-size={len(plain)}", "-q", "-c", "-", input=plain
    )
