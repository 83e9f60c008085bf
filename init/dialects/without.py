"""A configuration without its `install`: what goes along to the installed machine. Every other byte stays as it is.

The lines of the key are cut out of the text, so that comments, order and style are the user's own. Where that can't be
done (a form that YAML allows and nobody writes), the caller is told.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import yaml

from init.dialects.diagnostic import Unreadable
from init.dialects.sources import BUNDLE
from init.dialects.text import decode

_KEY = "install"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class CannotCutError(ValueError):
    """The key could not be cut out; the text says what to do."""


def without_install(kept: bytes) -> bytes:
    """Return a configuration as state keeps it (`Found.keep`) without `install`; raise CannotCutError."""
    if not kept.startswith(b'{"format"'):
        return _cut(kept)
    try:
        value: Any = json.loads(kept)
        if value["format"] != BUNDLE:
            return kept
        user_data = _cut(base64.b64decode(value.get("user-data", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise CannotCutError("the configuration can't be read again") from error
    return json.dumps({**value, "user-data": base64.b64encode(user_data).decode("ascii")}).encode()


def _cut(data: bytes) -> bytes:
    if not data.strip():
        return data
    try:
        text = decode(data, file="user-data")
        root = yaml.compose(text, Loader=_Loader)
    except (Unreadable, yaml.YAMLError) as error:
        raise CannotCutError("the configuration can't be read again") from error
    found = _find(root, text)
    if found is None:
        return data
    mapping, index = found
    return _without(text, mapping, index).encode()


def _find(root: Any, text: str) -> tuple[Any, int] | None:
    """Return the map that holds the key, and its position there. A map that holds nothing else is cut as a whole."""
    if text.startswith("#berth"):
        index = _position(root, _KEY)
        return None if index is None else (root, index)
    outer = _position(root, "berth")
    if outer is None:
        return None
    inner = root.value[outer][1]
    index = _position(inner, _KEY)
    if index is None:
        return None
    return (root, outer) if len(inner.value) == 1 else (inner, index)


def _position(node: Any, name: str) -> int | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((at for at, (key, _) in enumerate(node.value) if key.value == name), None)


def _without(text: str, mapping: Any, index: int) -> str:
    if mapping.flow_style:
        return _without_item(text, mapping, index)
    key, value = mapping.value[index]
    start = key.start_mark.index - key.start_mark.column
    if text[start : key.start_mark.index].strip():
        raise CannotCutError("write `install` on lines of its own")
    return text[:start] + text[_line_end(text, _last(value)) :]


def _without_item(text: str, mapping: Any, index: int) -> str:
    """Cut `key: value` out of `{…}`, with the comma that belongs to it."""
    items = mapping.value
    if index + 1 < len(items):
        return text[: items[index][0].start_mark.index] + text[items[index + 1][0].start_mark.index :]
    start = items[index - 1][1].end_mark.index if index else items[index][0].start_mark.index
    return text[:start] + text[items[index][1].end_mark.index :]


def _last(node: Any) -> Any:
    """Return the mark behind a node's last letter; libyaml's own for a block stands before whatever comes next."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return node.end_mark
    last = node.value[-1]
    return _last(last[1] if isinstance(last, tuple) else last)


def _line_end(text: str, mark: Any) -> int:
    if mark.column == 0 and mark.index:  # a block scalar ends where the next line begins
        return int(mark.index)
    end = text.find("\n", mark.index)
    return len(text) if end < 0 else end + 1
