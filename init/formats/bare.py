"""Parts of the library, bare: what PID 1 uses of modules whose import costs far more than that.

`enum`, `collections`, `functools`, `signal` and `contextlib` import each other, and make classes at import, each
enumeration's with a dozen calls. Type checkers see the library's own names. `deque` and the calls of `signal` are the
library's own, too, taken from where it has them.
"""

from __future__ import annotations

__all__ = ["StrEnum", "deque", "signal", "suppress"]

# Spelt so, type checkers take it for true, and `typing` isn't imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections import deque
    from collections.abc import Iterator
    from contextlib import suppress
    from enum import StrEnum
    from typing import Any
else:
    import _signal as signal
    from _collections import deque

    class _Kind(type):
        """A class whose attributes that are texts become its members."""

        def __new__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any]) -> Any:
            members = {key: text for key, text in space.items() if type(text) is str and not key.startswith("_")}
            made = super().__new__(cls, name, bases, {key: each for key, each in space.items() if key not in members})
            made.__members__ = {}
            for key, text in members.items():
                member = str.__new__(made, text)
                member.name, member.value = key, text
                setattr(made, key, member)
                made.__members__[key] = member
            return made

        def __call__(cls, text: str) -> Any:
            """Find a member by its text; raise ValueError where there is none."""
            for member in cls.__members__.values():
                if member == text:
                    return member
            raise ValueError(f"{text!r} is not a valid {cls.__qualname__}")

        def __iter__(cls) -> Iterator[Any]:
            return iter(cls.__members__.values())

        def __len__(cls) -> int:
            return len(cls.__members__)

    class StrEnum(str, metaclass=_Kind):
        """`enum.StrEnum`, as far as names of states need it: its members are texts, found by their text, and listed."""

        def __repr__(self) -> str:
            return f"<{type(self).__name__}.{self.name}: {self.value!r}>"

    class suppress:  # noqa: N801 - the library's name
        """`contextlib.suppress`: goes on after the block where one of these exceptions left it."""

        def __init__(self, *exceptions: type[BaseException]) -> None:
            self._exceptions = exceptions

        def __enter__(self) -> None:
            return

        def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
            return kind is not None and issubclass(kind, self._exceptions)
