"""Processes, signals and cgroup folders: what the running half of PID 1 asks of the kernel.

fork and exec by hand, for `subprocess` waits for its own children and so races with the reaper of all. What goes
wrong between fork and exec is said on the child's stderr, which is the service's log, and the child ends with 127:
PID 1 waits for nothing.
"""

from __future__ import annotations

import errno
import os
import resource

from init.formats.bare import signal
from init.pid1.linux import own

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from init.pid1.system import Spawn

CANNOT_START = 127
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)  # ignored signals outlive exec(2); handlers don't


class ProcessCalls:
    """The body of `Processes`, `Signals` and `Cgroups`."""

    def spawn(self, spawn: Spawn) -> int:
        """See `Processes.spawn`."""
        pid = os.fork()
        if pid:
            return pid
        try:
            _become(spawn)
        except BaseException as error:  # the child must not go on as a second PID 1
            _last_words(f"{spawn.argv[0]}: {error}\n")
        finally:
            os._exit(CANNOT_START)

    def reap(self) -> list[tuple[int, int]]:
        """See `Processes.reap`."""
        ended: list[tuple[int, int]] = []
        while len(ended) < 256:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            ended.append((pid, os.waitstatus_to_exitcode(status)))
        return ended

    def has_children(self) -> bool:
        """See `Processes.has_children`."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def signal(self, pid: int, number: int) -> None:
        """See `Processes.signal`."""
        os.kill(pid, number)

    def signal_session(self, pid: int, number: int) -> None:
        """See `Processes.signal_session`."""
        os.killpg(pid, number)

    def signal_all(self, number: int) -> None:
        """See `Processes.signal_all`."""
        os.kill(-1, number)

    def allow_open_files(self, soft: int, hard: int) -> None:
        """See `Processes.allow_open_files`."""
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except ValueError as error:  # Python's word for EPERM and EINVAL
            raise OSError(errno.EPERM, str(error)) from error

    def make_pipe(self) -> tuple[int, int]:
        """See `Processes.make_pipe`."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)
        return reading, writing

    def remove_group(self, path: str) -> None:
        """See `Cgroups.remove_group`."""
        for folder, names, _ in os.walk(path, topdown=False):
            for name in names:
                _remove_folder(os.path.join(folder, name))
        _remove_folder(path)


def _remove_folder(path: str) -> None:
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


def _become(spawn: Spawn) -> None:
    """Turn the forked child into the program."""
    for number in _IGNORED_BY_PYTHON:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.setsid()
    _place(spawn)
    if spawn.cgroup:
        _join(spawn.cgroup)
    os.umask(0o022)
    if spawn.uid or spawn.gid or spawn.groups:
        os.setgroups(spawn.groups)
        os.setgid(spawn.gid)
        os.setuid(spawn.uid)
    if spawn.root != "/":
        os.chroot(spawn.root)
    os.chdir(spawn.folder)
    if spawn.terminal:
        _take_terminal(0)
    words = own.words_of(spawn.argv)
    if words:
        own.run(spawn, words)
    os.execve(spawn.argv[0], spawn.argv, dict(spawn.environment))  # noqa: S606 - no shell is wanted


def _place(spawn: Spawn) -> None:
    """Put the standard streams in place. Above 2, everything PID 1 opened closes itself at exec."""
    if spawn.terminal:
        device = os.open(spawn.terminal, os.O_RDWR | os.O_NOCTTY)
        streams = [device, device, device]
    else:
        null = os.open("/dev/null", os.O_RDWR)
        streams = [null if number is None else number for number in (spawn.stdin, spawn.stdout, spawn.stderr)]
    safe = [os.dup(number) if number > 2 else _raise_above(number) for number in streams]
    for target, number in enumerate(safe):
        os.dup2(number, target, inheritable=True)
    for target in range(3):
        os.set_blocking(target, True)


def _raise_above(number: int) -> int:
    """Copy a low descriptor out of the way of the three that are about to be replaced."""
    import fcntl  # noqa: PLC0415 - only a child that got a low number needs it

    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3)


def _take_terminal(descriptor: int) -> None:
    import fcntl  # noqa: PLC0415 - only a log-in needs it
    import termios  # noqa: PLC0415

    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 1)


def _join(cgroup: str) -> None:
    """Enter a cgroup; without it the program still runs, unlimited, and its log says so."""
    try:
        descriptor = os.open(f"{cgroup}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"0")
        finally:
            os.close(descriptor)
    except OSError as error:
        _last_words(f"not in its cgroup {cgroup}: {error}\n")


def _last_words(text: str) -> None:
    try:
        os.write(2, text.encode("utf-8", "replace"))
    except OSError:
        return
