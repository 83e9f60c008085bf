"""Children of the early half: short programs that it waits for, and work that goes on beside it.

`subprocess` is not used: it races with the reaper to come.
"""

from __future__ import annotations

import os
import resource
import select
import time

from init.formats.bare import signal
from init.pid1.system import ChildResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_KEPT = 64 << 10
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


class ChildCalls:
    """The body of `system.Children`."""

    def run(self, argv: Sequence[str], *, seconds: float, environment: Mapping[str, str] | None = None) -> ChildResult:
        """Run a program to its end or kill it after `seconds`."""
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                dict(environment or _ENVIRONMENT),
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writing, 1),
                    (os.POSIX_SPAWN_DUP2, writing, 2),
                ],
                setsigmask=[],
                setsigdef=[signal.SIGPIPE],
            )
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            return _await(pid, reading, time.monotonic() + seconds)
        finally:
            os.close(reading)

    def aside(self, work: Callable[[], object]) -> None:
        """See `Children.aside`."""
        if os.fork():
            return
        try:
            work()
        finally:
            os._exit(0)  # whatever it raised: a second PID 1 must not come of it

    def apart(self, work: Callable[[], bytes]) -> tuple[int, int]:
        """See `Children.apart`."""
        return apart(work)


def _await(pid: int, reading: int, deadline: float) -> ChildResult:
    """Read to the end of the output, which comes with the end of the program, or at the time limit."""
    output = b""
    waiting = select.poll()
    waiting.register(reading, select.POLLIN | select.POLLHUP)
    killed = False
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not waiting.poll(left * 1000 + 1):
            os.kill(pid, signal.SIGKILL)
            killed = True
            break
        part = os.read(reading, 4096)
        if not part:
            break
        output = (output + part)[:_KEPT]
    _, status = os.waitpid(pid, 0)
    return ChildResult(status=None if killed else os.waitstatus_to_exitcode(status), output=output)


def apart(work: Callable[[], bytes]) -> tuple[int, int]:
    """See `Children.apart`."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(reading, False)
    try:
        pid = os.fork()
    except OSError:
        os.close(reading)
        os.close(writing)
        raise
    if pid:
        os.close(writing)
        return pid, reading
    try:
        # A child that hangs must hold nothing of PID 1: a watchdog is disarmed by the last who closes it.
        os.closerange(3, writing)
        os.closerange(writing + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        os.write(writing, work())
    finally:
        os._exit(0)  # whatever it raised: a second PID 1 must not come of it
