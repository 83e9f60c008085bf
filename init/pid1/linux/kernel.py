"""The real kernel: the one body of `init.pid1.system.System`."""

from __future__ import annotations

from init.pid1.linux.early import EarlyKernel
from init.pid1.linux.pages import PageCalls
from init.pid1.linux.poll import PollCalls
from init.pid1.linux.process import ProcessCalls
from init.pid1.linux.sockets import SocketCalls


class Kernel(EarlyKernel, ProcessCalls, PollCalls, SocketCalls, PageCalls):
    """What PID 1 asks goes to the kernel as system calls, nothing else."""
