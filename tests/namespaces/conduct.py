"""PID 1 of a namespace: the whole running half, on a root that has this machine's /usr in it, thrown away after.

Started by `test_conductor_namespaced.py` through unshare(1). argv: the repository, cgroup folder or "", a folder of
files to lay into the root (`FOLDER/usr/lib/berth/…`), the path of a fifo or file that takes the events.
"""

from __future__ import annotations

# isort: split
import os
import shutil
import sys

from init.formats.release import PATH, Release
from init.pid1.conductor import Conductor
from init.pid1.earlyresult import EarlyResult
from init.pid1.events import Announcer
from init.pid1.linux import own
from init.pid1.linux.kernel import Kernel
from init.pid1.perform import Settings
from init.pid1.state import StateMount

BIND = 4096 | 16384


def make_root(kernel: Kernel, repository: str, files: str) -> None:
    """A root of our own in memory: this machine's /usr, its devices, nothing else of it.

    An overlay over /usr would do, were it not for a user namespace in which the owner of /usr has no number: nothing
    can be copied up there. So folders in which something is laid are made, and all else in them is a link.
    """
    base = files + "-root"  # not /tmp: the repository may lie below it
    os.mkdir(base)
    kept = {path: os.readlink(path) for path in ("/bin", "/lib", "/lib64", "/sbin") if os.path.islink(path)}
    source = os.open(files, os.O_RDONLY)
    kernel.mount("none", base, "tmpfs", 0, "")
    root = f"{base}/root"
    for name in ("root", "root/host"):
        os.mkdir(f"{base}/{name}")
    kernel.mount("/usr", f"{root}/host", "", BIND, "")
    lay_among_links("/usr", f"/proc/self/fd/{source}/usr", f"{root}/usr", "/host")
    for path, target in kept.items():
        os.symlink(target, root + path)
    outside = [] if sys.base_prefix.startswith("/usr") else [sys.base_prefix]
    for place in ("/proc", "/dev", "/sys", repository, *outside):
        os.makedirs(root + place, exist_ok=True)
        kernel.mount(place, root + place, "", BIND, "")
    for place in ("/etc", "/run", "/tmp", "/var/lib", "/var/log", "/root"):
        os.makedirs(root + place, exist_ok=True)
    for place in ("/var/lib", "/var/log"):
        kernel.mount("none", root + place, "tmpfs", 0, "mode=755")
    for name in ("passwd", "group"):
        shutil.copy(f"/etc/{name}", f"{root}/etc/{name}")
    shutil.copytree(f"/proc/self/fd/{source}", root, dirs_exist_ok=True)
    os.close(source)
    if os.path.exists(f"{root}/root/urandom"):  # a file in the place of the kernel's pool, to see what goes there
        kernel.mount(f"{root}/root/urandom", f"{root}/dev/urandom", "", BIND, "")
    os.chroot(root)
    os.chdir("/")


def lay_among_links(there: str, laid: str, here: str, seen: str) -> None:
    """Make `here` like `there` by links, but for what `laid` has; `seen` is where `there` is found in the new root."""
    os.mkdir(here)
    for name in {*os.listdir(there), *os.listdir(laid)}:
        if not os.path.lexists(f"{laid}/{name}"):
            os.symlink(f"{seen}/{name}", f"{here}/{name}")
        elif os.path.isdir(f"{there}/{name}") and os.path.isdir(f"{laid}/{name}"):
            lay_among_links(f"{there}/{name}", f"{laid}/{name}", f"{here}/{name}", f"{seen}/{name}")


def main() -> None:
    repository, top, files, told = sys.argv[1:5]
    own.LIGHT.clear()  # the stand-ins for Berth's programs are files of that root: none is run in a fork
    kernel = Kernel()
    events = os.open(told, os.O_WRONLY | os.O_APPEND)
    make_root(kernel, repository, files)
    announcer = Announcer(kernel)
    announcer.learn_boot_id()
    announcer.listen(lambda _name, line: os.write(events, line))
    early = EarlyResult(
        outcome="root",
        release=Release.from_json(kernel.read(PATH).decode()),
        media="iso",
        state=StateMount(kind="memory", device=None, fresh=True, problem=None),
        machine_id="0123456789abcdef0123456789abcdef",
        unmount=("/var/log", "/var/lib"),
    )
    conductor = Conductor(kernel, early, announcer, Settings(top=top or "/proc/nonexistent"))
    conductor.begin()
    conductor.run()


main()
