"""Recording calls, and letting the n-th one fail."""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

_Method = TypeVar("_Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class Call:
    """One call, its arguments by position and name."""

    name: str
    arguments: tuple[Any, ...]
    named: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        words = [
            *(
                value.__qualname__ if isinstance(value, FunctionType | MethodType) else repr(value)
                for value in self.arguments
            ),
            *(f"{key}={value!r}" for key, value in self.named),
        ]
        return f"{self.name}({', '.join(words)})"


class Recorder:
    """Counts the calls. `fail_at`: the number (from 1) of the one that fails; `fail_with`: its errno."""

    def __init__(self, *, fail_at: int | None = None, fail_with: int = errno.EIO) -> None:
        self.fail_at, self.fail_with = fail_at, fail_with
        self.calls: list[Call] = []
        self.failed: Call | None = None

    def begin(self, call: Call) -> None:
        """Record a call; raise OSError when it is the one that fails."""
        self.calls.append(call)
        if len(self.calls) == self.fail_at:
            self.failed = call
            raise OSError(self.fail_with, os.strerror(self.fail_with), str(call))


def recorded(method: _Method) -> _Method:
    """Record a call, and let it fail when its number has come. For methods of a `Recorder`."""

    @functools.wraps(method)
    def wrapper(self: Recorder, *arguments: Any, **named: Any) -> Any:
        self.begin(Call(method.__name__, arguments, tuple(sorted(named.items()))))
        return method(self, *arguments, **named)

    return cast("_Method", wrapper)
