"""Frozen dataclasses to plain JSON values and back, strictly.

The types are read from the fields' annotations, which every module of this package keeps as text
(`from __future__ import annotations`): `typing.get_type_hints` would import `typing` and cost PID 1 a tenth
of a second under emulation. Understood are `str`, `int`, `float`, `bool`, `T | None`, `tuple[T, ...]`,
`tuple[A, B, …]` and classes of the same module; a reader is made once per class.

A field that has its default is left out: the text stays small, and a person can read what was configured.
"""

from __future__ import annotations

import sys
from dataclasses import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")
    Reader = Callable[[Any, str], Any]

_class_readers: dict[type, dict[str, Reader]] = {}
_SCALARS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (float, int), "bool": (bool,)}


def encode(value: Any) -> dict[str, Any]:
    """Return a dataclass as a map of JSON values, without the fields that have their default."""
    result: dict[str, Any] = {}
    for name, field in value.__dataclass_fields__.items():
        item = getattr(value, name)
        default = field.default
        if default is MISSING and field.default_factory is not MISSING:
            default = field.default_factory()
        if default is MISSING or item != default:
            result[name] = _plain(item)
    return result


def decode(cls: type[T], value: Any, path: str = "") -> T:
    """Return `cls` made from a map of JSON values.

    Raise ValueError, with the path of the place (`containers[0].ports`), for a wrong type, an unknown key or
    a missing one.
    """
    if not isinstance(value, dict):
        raise _wrong(path, f"a map for {cls.__name__}", value)
    readers = _class_readers.get(cls)
    if readers is None:
        readers = _class_readers[cls] = _make_readers(cls)
    arguments: dict[str, Any] = {}
    for name, item in value.items():
        reader = readers.get(name)
        if reader is None:
            raise ValueError(f"{_below(path, str(name))}: no such key in {cls.__name__}")
        arguments[name] = reader(item, _below(path, name))
    fields: dict[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    for name, field in fields.items():
        if name not in arguments and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{_below(path, name)}: missing")
    return cls(**arguments)


def _plain(item: Any) -> Any:
    if isinstance(item, tuple):
        return [_plain(each) for each in item]
    if hasattr(item, "__dataclass_fields__"):
        return encode(item)
    return item


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _wrong(path: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{path or 'top'}: expected {expected}, found {type(value).__name__}")


def _make_readers(cls: type) -> dict[str, Reader]:
    names = vars(sys.modules[cls.__module__])
    fields: dict[str, Any] = cls.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: _reader(field.type, names) for name, field in fields.items()}


def _reader(text: str, names: dict[str, Any]) -> Reader:
    """Return the function that reads a value of the type that `text` spells."""
    if text.endswith(" | None"):
        return _optional(_reader(text.removesuffix(" | None"), names))
    if text.startswith("tuple["):
        parts = _split(text[len("tuple[") : -1])
        if parts[-1] == "...":
            return _sequence(_reader(parts[0], names))
        return _record(tuple(_reader(part, names) for part in parts))
    if text in _SCALARS:
        return _scalar(text, _SCALARS[text])
    cls = names[text]
    return lambda value, path: decode(cls, value, path)


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth, start = [], 0, 0
    for index, letter in enumerate(text):
        if letter == "[":
            depth += 1
        elif letter == "]":
            depth -= 1
        elif letter == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    parts.append(text[start:].strip())
    return parts


def _scalar(name: str, types: tuple[type, ...]) -> Reader:
    def read(value: Any, path: str) -> Any:
        item: Any = value
        if not isinstance(value, types) or (isinstance(value, bool) and name != "bool"):
            raise _wrong(path, name, value)
        try:
            return float(item) if name == "float" else item
        except OverflowError:
            raise _wrong(path, name, value) from None

    return read


def _optional(inner: Reader) -> Reader:
    return lambda value, path: None if value is None else inner(value, path)


def _sequence(inner: Reader) -> Reader:
    def read(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise _wrong(path, "a list", value)
        return tuple(inner(item, f"{path}[{index}]") for index, item in enumerate(value))

    return read


def _record(inner: tuple[Reader, ...]) -> Reader:
    def read(value: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(inner):
            raise _wrong(path, f"a list of {len(inner)}", value)
        return tuple(
            reader(item, f"{path}[{index}]") for index, (reader, item) in enumerate(zip(inner, value, strict=True))
        )

    return read
