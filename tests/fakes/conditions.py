"""Runs `berth` in another's shoes: another user, no network, system calls refused, a full disk.

    python conditions.py '{"user": 65534, "refuse": true, …}' build minimal …

Started from the clone's folder, with the clone first on PYTHONPATH. The interpreter may lie where another user can't
look, so its libraries are mounted where he can. Each condition is tried out before the work begins: a test that
believes the network to be away must not find it there.
"""

from __future__ import annotations

import atexit
import ctypes
import errno
import importlib
import json
import multiprocessing
import os
import pkgutil
import resource
import shutil
import socket
import struct
import sys
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
NAMESPACES = 0x7E020080  # every CLONE_NEW* flag of clone(2)
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 38, 22
EPERM, ENOSYS = 1, 38
# x86-64: mount umount2 pivot_root chroot mknod mknodat unshare setns open_tree move_mount fsopen fsmount
REFUSED = (165, 166, 155, 161, 133, 259, 272, 308, 428, 429, 430, 432)
SYS_CLONE, SYS_CLONE3 = 56, 435
HIDDEN = (
    "mk*fs*", "fsck*", "dump.erofs", "veritysetup", "grub*", "qemu*", "xorriso*", "genisoimage", "mtools", "sgdisk",
    "dpkg*",
    "apt*", "zstd*", "xz*", "tar", "cpio", "kmod", "depmod", "depmod*", "ldconfig*", "openssl", "python3.13",
)  # fmt: skip


def check(result: int, what: str) -> None:
    """Raise OSError where a call of libc failed."""
    if result == -1:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def import_everything() -> None:
    """Import the whole builder."""
    for name in ("builder", "init"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.startswith("init.pid1") and not module.name.endswith(("__main__", "compile_pyc")):
                importlib.import_module(module.name)
    multiprocessing.set_start_method("fork")  # the others start the interpreter anew


def enter_namespaces(flags: int, user: int | None = None) -> None:
    """Leave the host's mounts or network; who isn't root does so below a user namespace, as itself or as `user`.

    The other id is one within the namespace: seen from outside its files belong to who runs the tests.
    """
    own, group = os.geteuid(), os.getegid()
    check(LIBC.unshare(flags if own == 0 else flags | CLONE_NEWUSER), "unshare")
    if own:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{own if user is None else user} {own} 1")
        Path("/proc/self/gid_map").write_text(f"{group if user is None else user} {group} 1")
    check(LIBC.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "mount")


def open_libraries(folder: Path) -> None:
    """Let the interpreter find its libraries below `folder` from now on, where the other user may look."""
    moved = {}
    for number, entry in enumerate(dict.fromkeys(sys.path)):
        if Path(entry).is_dir() and not Path(entry).is_relative_to(Path.cwd()):
            moved[entry] = str(folder / str(number))
            Path(moved[entry]).mkdir(parents=True, exist_ok=True)
            check(LIBC.mount(os.fsencode(entry), os.fsencode(moved[entry]), None, MS_BIND, None), entry)
    longest_first = sorted(moved, key=len, reverse=True)
    for paths in (sys.path, *(module.__path__ for module in list(sys.modules.values()) if hasattr(module, "__path__"))):
        for index, path in enumerate(paths):
            old = next((entry for entry in longest_first if path == entry or path.startswith(f"{entry}/")), None)
            if old is not None:
                paths[index] = moved[old] + path[len(old) :]


def hide_host_tools() -> None:
    """Put nothing in the place of every program of the host that a build could be tempted to use."""
    folders = {Path(name).resolve() for name in ("/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin")}
    found = {path.resolve() for folder in folders for pattern in HIDDEN for path in folder.glob(pattern)}
    for path in found:
        if path.is_file():
            check(LIBC.mount(b"/dev/null", os.fsencode(path), None, MS_BIND, None), f"hiding {path}")


def drop_privileges(user: int) -> None:
    """Become another user, without groups, capabilities or a way back. Who isn't root became it with its namespaces."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    check(LIBC.capset(header, nothing), "capset")
    if {*os.getresuid(), *os.getresgid()} != {user}:
        raise SystemExit("conditions: this is still the same user")


def instruction(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    """Return one instruction of the kernel's packet filter (linux/filter.h)."""
    return struct.pack("=HBBI", code, yes, no, value)


def refuse_calls() -> None:
    """Let the kernel refuse mounts, new namespaces and device nodes to this process and all its children."""
    load, equal, masked, end = 0x20, 0x15, 0x45, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | EPERM, 0x00050000 | ENOSYS
    lines = [instruction(load, 0)]
    for call in REFUSED:
        lines += [instruction(equal, call, 0, 1), instruction(end, refuse)]
    # clone3's flags lie in memory, where no filter can read: libc falls back to clone.
    lines += [instruction(equal, SYS_CLONE3, 0, 1), instruction(end, unknown)]
    lines += [instruction(equal, SYS_CLONE, 0, 3), instruction(load, 16), instruction(masked, NAMESPACES & ~0xFF, 0, 1)]
    lines += [instruction(end, refuse), instruction(end, allow)]
    code = ctypes.create_string_buffer(b"".join(lines))
    program = struct.pack("=H6xQ", len(lines), ctypes.addressof(code))
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    check(LIBC.prctl(PR_SET_SECCOMP, 2, program, 0, 0), "seccomp")


def prove_refused() -> None:
    """Raise unless every forbidden thing really fails."""
    for what, call in (
        ("mount", lambda: LIBC.mount(b"none", b"/tmp", b"tmpfs", 0, None)),
        ("unshare", lambda: LIBC.unshare(CLONE_NEWUSER)),
        ("mknod", lambda: LIBC.mknod(b"x", 0o020600, 0x103)),
    ):
        if call() != -1 or ctypes.get_errno() != EPERM:
            raise SystemExit(f"conditions: {what} is not refused")


def prove_no_network() -> None:
    """Raise unless even loopback is away."""
    with socket.socket() as probe:
        probe.settimeout(2)
        # Where loopback is up, a port where nobody listens refuses.
        if probe.connect_ex(("127.0.0.1", 9)) != errno.ENETUNREACH:
            raise SystemExit("conditions: loopback is up")
    with Path("/proc/net/route").open() as routes:
        if len(routes.readlines()) > 1:
            raise SystemExit("conditions: there is a network")


def small_disk(folder: Path, free: int, content: Path | None) -> None:
    """Mount a disk with `content` and `free` bytes on `folder`; at the end print what is new on it, as JSON."""
    enter_namespaces(CLONE_NEWNS)
    folder.mkdir(parents=True, exist_ok=True)
    check(LIBC.mount(b"small", os.fsencode(folder), b"tmpfs", 0, b"mode=755"), "mount")
    if content is not None:
        shutil.copytree(content, folder, dirs_exist_ok=True)
    before = {path for path in folder.rglob("*") if not path.is_dir()}
    disk = os.statvfs(folder)
    size = (disk.f_blocks - disk.f_bfree) * disk.f_frsize + free
    check(LIBC.mount(b"small", os.fsencode(folder), b"tmpfs", MS_REMOUNT, f"size={size}".encode()), "remount")

    def tell() -> None:
        now = {path for path in folder.rglob("*") if not path.is_dir()}
        left = sorted(str(path.relative_to(folder)) for path in now - before)
        print("left on the disk: " + json.dumps(left), flush=True)

    atexit.register(tell)


def apply(conditions: dict[str, Any]) -> None:
    """Bring every condition about."""
    os.umask(0o022)
    if conditions.get("one_processor"):
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    if "small_disk" in conditions:
        content = conditions.get("content")
        small_disk(Path(conditions["small_disk"]), conditions["free"], Path(content) if content else None)
    if "user" in conditions:
        flags = CLONE_NEWNS | (CLONE_NEWNET if conditions.get("isolated") else 0)
        enter_namespaces(flags, conditions["user"])
        open_libraries(Path.cwd().parent / "python")
    if conditions.get("isolated"):
        hide_host_tools()
    import_everything()
    os.umask(conditions.get("umask", 0o022))
    if "user" in conditions:
        drop_privileges(conditions["user"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if conditions.get("isolated"):
        refuse_calls()
        prove_refused()
        prove_no_network()


def main() -> int:
    """Bring the conditions about and run the command line."""
    conditions, words = json.loads(sys.argv[1]), sys.argv[2:]
    apply(conditions)
    berth = importlib.import_module("builder.cli.main")
    assert Path(berth.__file__).is_relative_to(Path.cwd()), berth.__file__
    return int(berth.main(words))


if __name__ == "__main__":
    # This file's own folder is no part of the product.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).resolve().parent]
    sys.exit(main())
