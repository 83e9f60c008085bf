"""A light `json` for PID 1 and its children: the same two functions on the library's C halves, without its Python half.

The library's own imports `re`, compiles five expressions and makes classes for whoever wants to extend it. What is out
of the ordinary is given to it all the same: a text with a fault in it, for it tells the place; indentation; any keyword
that is not named here; any other name of it.

It has to be imported before the first import of `json`, as `init.light` before that of `dataclasses`, and by the same.
"""

from __future__ import annotations

import _json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import IO, Any

NAME = "json"
__path__ = [f"{folder}/{NAME}" for folder in sys.path]  # the C scanner imports `json.decoder` where a text has a fault
_BLANK = " \t\n\r"


class _Scanner:
    """What the C scanner asks for: how values are made. These are the library's defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.__getitem__


_scan = _json.make_scanner(_Scanner())  # type: ignore[arg-type] # it reads these names of any object
_library: ModuleType | None = None


def _real() -> Any:
    """Return the library's own module, which stays beside this one."""
    global _library  # noqa: PLW0603 - it is imported once, when the first asks for it
    if _library is None:
        light = sys.modules.pop(NAME)
        try:
            _library = __import__(NAME)
        except (ImportError, OSError) as error:  # PID 1 lives on with a root that can't be read
            raise ValueError(f"JSON with a fault, and the library can't be asked which: {error}") from error
        finally:
            sys.modules[NAME] = light
    return _library


def loads(text: str | bytes | bytearray, **more: Any) -> Any:
    """Read a text; raise the library's JSONDecodeError where it is none."""
    if more:
        return _real().loads(text, **more)
    try:
        plain = text if isinstance(text, str) else str(text, "utf-8")
        value, end = _scan(plain, len(plain) - len(plain.lstrip(_BLANK)))
    # SystemError by Python 3.11, which does not import `json.decoder`; ImportError in the initramfs, which has none.
    except (StopIteration, ValueError, SystemError, ImportError):
        return _real().loads(text)
    return _real().loads(text) if plain[end:].strip(_BLANK) else value


def load(stream: IO[Any], **more: Any) -> Any:
    """Read a stream to its end."""
    return loads(stream.read(), **more)


def _refuse(value: object) -> object:
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def dumps(
    value: object,
    *,
    ensure_ascii: bool = True,
    default: Callable[[Any], Any] | None = None,
    separators: tuple[str, str] = (", ", ": "),
    sort_keys: bool = False,
    **more: Any,
) -> str:
    """Write a text in one line."""
    if more:
        wanted = {"ensure_ascii": ensure_ascii, "default": default, "sort_keys": sort_keys, **more}
        if separators != (", ", ": "):
            wanted["separators"] = separators
        text: str = _real().dumps(value, **wanted)
        return text
    written = _json.encode_basestring_ascii if ensure_ascii else _json.encode_basestring
    if isinstance(value, str):
        return written(value)
    between, after_key = separators
    encoder = _json.make_encoder({}, default or _refuse, written, None, after_key, between, sort_keys, False, True)
    return "".join(encoder(value, 0))


def dump(value: object, stream: IO[str], **more: Any) -> None:
    """Write a text to a stream."""
    stream.write(dumps(value, **more))


def __getattr__(name: str) -> Any:
    if name in ("decoder", "encoder", "scanner") or name.startswith("__"):
        raise AttributeError(name)  # the import system asks first, and then imports them
    return getattr(_real(), name)


def install() -> bool:
    """Let `import json` find this module from now on; tell whether it was in time."""
    return sys.modules.setdefault(NAME, sys.modules[__name__]) is sys.modules[__name__]


install()
