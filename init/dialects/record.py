"""Maps: with known keys (`Record`), or with names that the user chooses (`Named`)."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass, field
from typing import Any

from init.dialects.diagnostic import Place, Report, nearest
from init.dialects.position import Mapping, Node, Scalar, is_null, shown
from init.dialects.shape import INVALID, Anything, Invalid, Shape, expected


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """A known key.

    `ignored` is what happens instead where Berth does not act on it (a warning, whatever the value).
    `deprecated` is a note about a better form. `null` says that null is as good as absent.
    """

    shape: Shape = field(default_factory=Anything)
    doc: str = ""
    required: bool = False
    ignored: str | None = None
    deprecated: str | None = None
    null: bool = True


class Fields:
    """What a `Record` read: the valid values by key, and where each stands."""

    __slots__ = ("_values", "node", "path")

    def __init__(self, node: Mapping, path: str, values: dict[str, tuple[Any, Node]]) -> None:
        self.node = node
        self.path = path
        self._values = values

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a key, or `default` where it is absent or wrong."""
        found = self._values.get(name)
        return default if found is None else found[0]

    def place(self, name: str) -> Place:
        """Return where the value of a key stands, else where the map does."""
        found = self._values.get(name)
        return self.node.place if found is None else found[1].place

    def below(self, name: str) -> str:
        """Return the path of a key."""
        return below(self.path, name)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


def below(path: str, name: str) -> str:
    """Return the path of a key in a map."""
    safe = name[:60] if name.isprintable() else shown(name).strip("`")
    return f"{path}.{safe}" if path else safe


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A map of known keys.

    `hyphens` takes `ssh-authorized-keys` for `ssh_authorized_keys` with a note. `extensions` lets `x-…` pass.
    `elsewhere` says of keys that belong to another place which one that is, and `beside` names keys that somebody else
    reads here: both for the hint. `unknown` is `error` or `warning`.
    """

    keys: Map[str, Key]
    what: str = "a map"
    hyphens: bool = False
    extensions: bool = False
    elsewhere: Map[str, str] = field(default_factory=dict)
    beside: tuple[str, ...] = ()
    unknown: str = "error"

    def read(self, node: Node, path: str, report: Report) -> Fields | Invalid:
        """Return the valid keys; report unknown, repeated-by-spelling and missing ones."""
        if not isinstance(node, Mapping):
            return expected(self.what, node, path, report)
        values: dict[str, tuple[Any, Node]] = {}
        for key_node, value_node in node.entries:
            name, key = self._find(key_node, path, report)
            if key is not None:
                value = self._read_one(name, key, (key_node, value_node), path=below(path, name), report=report)
                if name in values:
                    message = f"the key {shown(name)} stands here in two spellings"
                    report.error(key_node.place, below(path, name), message, code="duplicate")
                elif value is not INVALID:
                    values[name] = (value, value_node)
        present = {self._canonical(key.text) for key, value in node.entries if not is_null(value)}
        for name, key in self.keys.items():
            if key.required and name not in present:
                report.error(node.place, below(path, name), f"the key {shown(name)} is missing", code="missing")
        return Fields(node, path, values)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        properties = {name: _described(key) for name, key in self.keys.items()}
        result: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        required = [name for name, key in self.keys.items() if key.required]
        if required:
            result["required"] = required
        if self.extensions:
            result["patternProperties"] = {"^x-": {}}
        return result

    def _canonical(self, name: str) -> str:
        return name.replace("-", "_") if self.hyphens and name not in self.keys else name

    def _find(self, node: Scalar, path: str, report: Report) -> tuple[str, Key | None]:
        name = self._canonical(node.text)
        key = self.keys.get(name)
        if key is not None:
            if name != node.text:
                report.note(
                    node.place,
                    below(path, name),
                    f"{shown(node.text)} is the old spelling of {shown(name)}",
                    code="old-form",
                )
            return name, key
        if self.extensions and node.text.startswith("x-"):
            return name, None
        hint = None if report.is_full else self._hint(node.text)
        say = report.error if self.unknown == "error" else report.warn
        say(node.place, below(path, node.text), f"unknown key {shown(node.text)}", hint=hint, code="unknown-key")
        return name, None

    def _hint(self, name: str) -> str | None:
        where = self.elsewhere.get(self._canonical(name))
        if where is not None:
            return f"this key stands at {where}"
        close = nearest(name, (*self.elsewhere, *self.keys, *self.beside))
        if close is None:
            return None
        return f"did you mean {shown(close)}{f', at {where}' if (where := self.elsewhere.get(close)) else ''}?"

    def _read_one(self, name: str, key: Key, entry: tuple[Scalar, Node], *, path: str, report: Report) -> Any:
        """Return the value of one key, INVALID where there is none to act on."""
        key_node, node = entry
        if key.ignored is not None:
            report.warn(key_node.place, path, f"{shown(name)} is not acted on: {key.ignored}")
            return INVALID
        if key.null and is_null(node):
            return INVALID
        if key.deprecated is not None:
            report.note(key_node.place, path, key.deprecated, code="old-form")
        return key.shape.read(node, path, report)


def _described(key: Key) -> dict[str, Any]:
    schema = dict(key.shape.schema())
    doc = key.doc or (f"Not acted on: {key.ignored}" if key.ignored else "")
    if key.null and key.ignored is None and schema:
        schema = {"anyOf": [schema, {"type": "null"}]}
    return {"description": doc, **schema} if doc else schema


@dataclass(frozen=True, kw_only=True, slots=True)
class Named:
    """A map whose keys are names, all values of one shape; returns a dict in the document's order.

    `name` is the shape of the names. Null values are given as None where `null` is set.
    """

    value: Shape
    name: Shape | None = None
    null: bool = False
    what: str = "a map"

    def read(self, node: Node, path: str, report: Report) -> dict[str, Any] | Invalid:
        """Return the valid entries."""
        if not isinstance(node, Mapping):
            return expected(self.what, node, path, report)
        result: dict[str, Any] = {}
        for key, value_node in node.entries:
            here = below(path, key.text)
            if (
                self.name is not None
                and self.name.read(Scalar(key.text, key.place, plain=False), here, report) is INVALID
            ):
                continue
            if is_null(value_node) and self.null:
                result[key.text] = None
                continue
            value = self.value.read(value_node, here, report)
            if value is not INVALID:
                result[key.text] = value
        return result

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        value = self.value.schema()
        return {"type": "object", "additionalProperties": {"anyOf": [value, {"type": "null"}]} if self.null else value}
