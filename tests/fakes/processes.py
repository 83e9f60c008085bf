"""What the running half's fake kernel is made of: programs and what they do, processes, pipes, clients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from init.pid1.system import Peer, Spawn

if TYPE_CHECKING:
    from fakes.running import RunningSystem

FOREVER = float("inf")


class Stuck(BaseException):
    """A call into the kernel that never comes back."""


@dataclass(kw_only=True)
class Program:
    """What a program does: runs `seconds`, ends with `status`, says `output` at once, `then` happens at its end."""

    seconds: float = FOREVER
    status: int = 0
    output: bytes = b""
    begins: Callable[[RunningSystem, Spawn], None] = lambda system, spawn: None
    then: Callable[[RunningSystem], None] = lambda system: None
    ignores: tuple[int, ...] = ()  # signals


@dataclass(kw_only=True)
class Process:
    """A process that was spawned and not reaped."""

    pid: int
    spawn: Spawn
    program: Program
    status: int | None = None


@dataclass(kw_only=True)
class Pipe:
    """A pipe: what is in it, and whether PID 1 or a process can still write into it."""

    reading: int
    writing: int
    data: bytes = b""
    writers: set[int] = field(default_factory=set)


@dataclass(kw_only=True)
class Connection:
    """A local stream to PID 1: what the client sent and has not been read, what PID 1 answered."""

    sent: bytes
    peer: Peer
    answer: bytes = b""
    closed: bool = False
