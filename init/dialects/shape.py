"""The shapes that values of a document may have: each reads a node, says what is wrong, and knows its JSON schema.

A shape never raises. It returns `INVALID` where it has reported an error, so that one pass finds all of a file's
errors. Durations are seconds, sizes bytes.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from init.dialects.diagnostic import Report
from init.dialects.position import Mapping, Node, Scalar, Sequence, is_null
from init.dialects.scalars import differs


class Invalid(enum.Enum):
    """What a shape returns where it has reported an error."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID


class Shape(Protocol):
    """What every shape can do."""

    def read(self, node: Node, path: str, report: Report) -> Any:
        """Return the value, or INVALID after an error was reported."""

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of what is accepted, as far as a schema can say it."""


def kind(node: Node) -> str:
    """Say in a word what a node is, without quoting it."""
    if isinstance(node, Mapping):
        return "a map"
    if isinstance(node, Sequence):
        return "a list"
    value = node.value()
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a number"


def expected(what: str, node: Node, path: str, report: Report, *, hint: str | None = None) -> Invalid:
    """Report that something else was expected here."""
    report.error(node.place, path, f"expected {what}, found {kind(node)}", hint=hint, code="type")
    return INVALID


def wrong(what: str, node: Node, path: str, report: Report, *, hint: str | None = None) -> Invalid:
    """Report that a value has the right type and the wrong form."""
    report.error(node.place, path, what, hint=hint, code="value")
    return INVALID


def _warn_of_versions(node: Scalar, path: str, report: Report) -> None:
    if node.yaml11 and node.plain and differs(node.text):
        message = "YAML 1.1 and 1.2 read this differently"
        report.warn(
            node.place,
            path,
            message,
            hint="put it in quotes, or write true, false or a plain decimal number",
            code="yaml-versions",
        )


@dataclass(frozen=True, slots=True)
class Text:
    """Text. A plain number is taken as it is written, for `0644` and `3.10` are meant as text where text is asked for.

    `check` gets the text and returns what is wrong with it, or None.
    """

    what: str = "text"
    check: Callable[[str], str | None] | None = None
    pattern: str | None = None
    empty: bool = True

    def read(self, node: Node, path: str, report: Report) -> str | Invalid:
        """Return the text of the scalar."""
        if not isinstance(node, Scalar) or node.value() is None:
            return expected(self.what, node, path, report)
        value = node.value()
        if isinstance(value, bool):
            return expected(self.what, node, path, report, hint="put it in quotes if the word is meant")
        if not isinstance(value, str):
            _warn_of_versions(node, path, report)
        if "\0" in node.text:
            return wrong("a NUL character cannot be part of this", node, path, report)
        if not node.text and not self.empty:
            return wrong(f"expected {self.what}, found nothing", node, path, report)
        if self.pattern and not re.fullmatch(self.pattern, node.text):
            return wrong(f"not {self.what}", node, path, report)
        problem = self.check(node.text) if self.check else None
        return node.text if problem is None else wrong(problem, node, path, report)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        text: dict[str, Any] = {"type": "string"}
        if self.pattern:
            return {"type": "string", "pattern": f"^(?:{self.pattern})$"}
        return {"anyOf": [text, {"type": "number"}]}


@dataclass(frozen=True, slots=True)
class Boolean:
    """`true` or `false`; by YAML 1.1 also `yes` and `on`. The words as text are accepted where `words` is set."""

    words: bool = False

    def read(self, node: Node, path: str, report: Report) -> bool | Invalid:
        """Return the truth value."""
        if isinstance(node, Scalar):
            value = node.value()
            if isinstance(value, bool):
                _warn_of_versions(node, path, report)
                return value
            folded = node.text.lower()
            if self.words and folded in ("true", "yes", "on", "1", "false", "no", "off", "0"):
                report.note(node.place, path, "write true or false without quotes", code="old-form")
                return folded in ("true", "yes", "on", "1")
            if folded in ("yes", "no", "on", "off", "true", "false"):
                return expected("true or false", node, path, report, hint="here `yes`, `no`, `on` and `off` are text")
        return expected("true or false", node, path, report)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number between two bounds."""

    least: int = 0
    most: int = 2**63 - 1
    what: str = "a whole number"

    def read(self, node: Node, path: str, report: Report) -> int | Invalid:
        """Return the number; digits in quotes are taken with a note."""
        if not isinstance(node, Scalar):
            return expected(self.what, node, path, report)
        value = node.value()
        if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]{1,19}", value):
            report.note(node.place, path, "a number needs no quotes", code="old-form")
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            return expected(self.what, node, path, report)
        _warn_of_versions(node, path, report)
        if not self.least <= value <= self.most:
            return wrong(f"expected {self.what} from {self.least} to {self.most}", node, path, report)
        return value

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Number:
    """A number that need not be whole."""

    least: float = 0.0
    most: float = 1e9

    def read(self, node: Node, path: str, report: Report) -> float | Invalid:
        """Return the number; digits in quotes are taken as well (Compose writes `cpus: "0.5"`)."""
        if not isinstance(node, Scalar):
            return expected("a number", node, path, report)
        value = node.value()
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return expected("a number", node, path, report)
        if not self.least <= value <= self.most:
            return wrong(f"expected a number from {self.least} to {self.most}", node, path, report)
        return float(value)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {"type": "number", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words."""

    words: tuple[str, ...]

    def read(self, node: Node, path: str, report: Report) -> str | Invalid:
        """Return the word; `no` that YAML 1.1 reads as false is taken as the word."""
        what = "one of " + ", ".join(f"`{word}`" for word in self.words)
        if not isinstance(node, Scalar):
            return expected(what, node, path, report)
        if node.text not in self.words:
            from init.dialects.diagnostic import nearest  # noqa: PLC0415 - only where something is wrong

            close = nearest(node.text, self.words)
            return wrong(f"expected {what}", node, path, report, hint=f"did you mean `{close}`?" if close else None)
        _warn_of_versions(node, path, report)
        return node.text

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {"enum": list(self.words)}


_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Duration:
    """A time span: `1h5m30s20ms`, or a number of seconds."""

    least: float = 0.0
    most: float = 366 * 86400.0

    def read(self, node: Node, path: str, report: Report) -> float | Invalid:
        """Return seconds."""
        what = "a duration such as `30s`, `5m` or `1h30m`"
        if not isinstance(node, Scalar):
            return expected(what, node, path, report)
        text = node.text
        parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(us|ms|s|m|h|d)", text)
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text):
            seconds = float(text)
        elif parts and "".join(number + unit for number, unit in parts) == text:
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        else:
            return wrong(f"expected {what}", node, path, report)
        if not self.least <= seconds <= self.most:
            return wrong(f"expected a duration from {self.least:g} s to {self.most:g} s", node, path, report)
        return seconds

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {
            "anyOf": [
                {"type": "number", "minimum": self.least},
                {"type": "string", "pattern": "^([0-9.]+(us|ms|s|m|h|d))+$"},
            ]
        }


_SIZES = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


@dataclass(frozen=True, slots=True)
class Size:
    """A number of bytes: `512m`, `1.5G`; `kb`, `mib` and the like are powers of 1024 as in Compose."""

    least: int = 0

    def read(self, node: Node, path: str, report: Report) -> int | Invalid:
        """Return bytes."""
        what = "a size such as `64m` or `1.5g`"
        if not isinstance(node, Scalar):
            return expected(what, node, path, report)
        found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([bkmgtBKMGT]?)(i?[bB])?", node.text)
        if not found:
            return wrong(f"expected {what}", node, path, report)
        size = int(float(found[1]) * _SIZES[found[2].lower()])
        return size if size >= self.least else wrong(f"expected at least {self.least} bytes", node, path, report)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {
            "anyOf": [
                {"type": "integer", "minimum": self.least},
                {"type": "string", "pattern": "^[0-9.]+ ?[bkmgtBKMGT]?(i?[bB])?$"},
            ]
        }


@dataclass(frozen=True, slots=True)
class Listing:
    """A list. A single item stands for a list of one where `single` is set."""

    item: Shape
    single: bool = False
    what: str = "a list"

    def read(self, node: Node, path: str, report: Report) -> tuple[Any, ...] | Invalid:
        """Return the items that are right, INVALID if it is no list."""
        if not isinstance(node, Sequence):
            if not self.single or is_null(node):
                return expected(
                    self.what,
                    node,
                    path,
                    report,
                    hint=None if isinstance(node, Mapping) else "write each item after `- `",
                )
            value = self.item.read(node, path, report)
            return INVALID if value is INVALID else (value,)
        values = [self.item.read(each, f"{path}[{index}]", report) for index, each in node.numbered()]
        return tuple(value for value in values if value is not INVALID)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        many = {"type": "array", "items": self.item.schema()}
        return {"anyOf": [many, self.item.schema()]} if self.single else many


@dataclass(frozen=True, slots=True)
class Anything:
    """Any value, returned as its node."""

    def read(self, node: Node, path: str, report: Report) -> Node:  # noqa: ARG002 - nothing to check
        """Return the node itself."""
        return node

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return {}


@dataclass(frozen=True, slots=True)
class Custom:
    """A shape made of a function, for the few that no other fits."""

    reader: Callable[[Node, str, Report], Any]
    json_schema: dict[str, Any] | None = None

    def read(self, node: Node, path: str, report: Report) -> Any:
        """Return what the function returns."""
        return self.reader(node, path, report)

    def schema(self) -> dict[str, Any]:
        """Return the schema."""
        return self.json_schema or {}
