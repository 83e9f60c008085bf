"""A light `dataclasses` for PID 1 and its children: the same values, made without generating and compiling code.

The standard library's decorator writes each class's methods as text and compiles it, and it imports `inspect`, `ast`,
`dis` and `tokenize` for that. For the value classes that PID 1 has, that is 55 of the 80 ms which its imports take
natively; in whole boots under emulation (one vCPU) `init.started` came at 3.1 s after the kernel's start, not at 3.7.
Here the methods are the same few functions for every class.

It has to be imported before the first import of `dataclasses`: PID 1 does so, and `init.__main__` for the programs that
start containers (27 → 11 ms of imports), and no test but its own. Everywhere else the same classes are made by the real
one, which checks what this one takes on trust: that nobody assigns to a frozen value. What is supported is what the
house style uses: defaults, factories, `frozen`, inheritance, `replace`, `asdict`, `fields`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MISSING = object()
NAME = "dataclasses"


class Field:
    """One field, as far as readers of `__dataclass_fields__` look."""

    __slots__ = ("default", "default_factory", "name", "type")

    def __init__(self, default: Any = MISSING, default_factory: Any = MISSING) -> None:
        self.name = ""
        self.type: Any = None
        self.default = default
        self.default_factory = default_factory


def field(*, default: Any = MISSING, default_factory: Any = MISSING) -> Any:
    """Describe a field whose default is made anew for each value."""
    return Field(default, default_factory)


def _init(self: Any, *given: Any, **values: Any) -> None:
    cls = type(self)
    inside = self.__dict__
    if given:
        values.update(zip(cls.__dataclass_fields__, given, strict=False))
    inside.update(cls.__dataclass_defaults__)
    inside.update(values)
    if not values.keys() <= cls.__dataclass_fields__.keys():
        wrong = ", ".join(sorted(values.keys() - cls.__dataclass_fields__.keys()))
        raise TypeError(f"{cls.__name__} has no field {wrong}")
    for name, factory in cls.__dataclass_factories__:
        if name not in values:
            inside[name] = factory()
    if not cls.__dataclass_required__ <= values.keys():
        wrong = ", ".join(sorted(cls.__dataclass_required__ - values.keys()))
        raise TypeError(f"{cls.__name__} needs {wrong}")


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in type(self).__dataclass_fields__)


def _eq(self: Any, other: Any) -> Any:
    return _values(self) == _values(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in type(self).__dataclass_fields__)
    return f"{type(self).__qualname__}({inside})"


def dataclass(cls: Any = None, /, *, frozen: bool = False, **_: bool) -> Any:
    """Give a class the methods of a value."""
    if cls is None:
        return lambda cls: _make(cls, frozen=frozen)
    return _make(cls, frozen=frozen)


def _make(cls: Any, *, frozen: bool) -> Any:
    known: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        known.update(getattr(base, "__dataclass_fields__", {}))
    for name, kind in cls.__dict__.get("__annotations__", {}).items():  # noqa: RUF063 - without `inspect`
        given = cls.__dict__.get(name, MISSING)
        found = given if isinstance(given, Field) else Field(given)
        found.name, found.type = name, kind
        known[name] = found
        if isinstance(given, Field) and given.default is MISSING:
            delattr(cls, name)
    cls.__dataclass_fields__ = known
    cls.__dataclass_defaults__ = {name: found.default for name, found in known.items() if found.default is not MISSING}
    cls.__dataclass_factories__ = tuple(
        (name, found.default_factory) for name, found in known.items() if found.default_factory is not MISSING
    )
    cls.__dataclass_required__ = frozenset(
        name for name, found in known.items() if found.default is MISSING and found.default_factory is MISSING
    )
    methods: dict[str, Callable[..., Any]] = {"__init__": _init, "__eq__": _eq, "__repr__": _repr}
    if frozen:
        methods["__hash__"] = _hash
    for name, method in methods.items():
        if name not in cls.__dict__ or (name == "__hash__" and cls.__dict__[name] is None):
            setattr(cls, name, method)
    return cls


def replace(value: Any, /, **changes: Any) -> Any:
    """Return the value with some fields changed."""
    if not changes.keys() <= type(value).__dataclass_fields__.keys():
        raise TypeError(f"{type(value).__name__} has not all of {', '.join(sorted(changes))}")
    changed = object.__new__(type(value))
    changed.__dict__.update(value.__dict__)
    changed.__dict__.update(changes)
    return changed


def fields(value: Any) -> tuple[Field, ...]:
    """Return a class's or a value's fields."""
    return tuple(value.__dataclass_fields__.values())


def asdict(value: Any) -> dict[str, Any]:
    """Return a value as a map, with the values inside it as maps, too."""
    return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)
    if isinstance(value, tuple | list):
        return type(value)(_plain(item) for item in value)
    return {key: _plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def install() -> bool:
    """Let `import dataclasses` find this module from now on; tell whether it was in time."""
    return sys.modules.setdefault(NAME, sys.modules[__name__]) is sys.modules[__name__]


install()
