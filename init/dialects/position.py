"""YAML as a tree that knows where each node stands, made from PyYAML's events under bounds.

The tree is built from events and not by PyYAML's composer, for four reasons: libyaml's composer calls itself for each
level (a deep document would overflow the stack of C), a key that stands twice must not vanish, aliases are counted
where they are used (a bomb is told from a document), and a scalar keeps its text whatever it looks like.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any

import yaml

from init.dialects.diagnostic import Diagnostic, Place, Report, Severity, Unreadable
from init.dialects.scalars import Value, resolve11, resolve12
from init.formats.machine import DOCUMENT_MOST

LARGEST = DOCUMENT_MOST  # bytes of a document, unpacked
DEEPEST = 48
MOST_NODES = 100_000  # aliases count as what they stand for

_STANDARD = "tag:yaml.org,2002:"
_TAGS = {"str", "int", "float", "bool", "null", "seq", "map", "binary", "timestamp", "merge"}
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf. `plain` says that it was not quoted; `tag` is empty, `!replace` and the like, or `!!binary`."""

    text: str
    place: Place
    plain: bool = True
    tag: str = ""
    yaml11: bool = False

    def value(self) -> Value:
        """Return what it means by its document's version of YAML."""
        if self.tag in ("!!str", "!!binary") or not self.plain:
            return self.text
        return resolve11(self.text) if self.yaml11 else resolve12(self.text)


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    place: Place
    tag: str = ""

    def numbered(self) -> Iterator[tuple[int, Node]]:
        """Give each item with its number in the list of its own file: a recipe's lists go on what they extend."""
        counts: dict[str, int] = {}
        for item in self.items:
            number = counts.get(item.place.file, 0)
            counts[item.place.file] = number + 1
            yield number, item


@dataclass(frozen=True, slots=True)
class Mapping:
    """A map in the order of the document; each key once."""

    entries: tuple[tuple[Scalar, Node], ...]
    place: Place
    tag: str = ""

    def get(self, name: str) -> Node | None:
        """Return the value of a key, or None."""
        return next((value for key, value in self.entries if key.text == name), None)


Node = Scalar | Sequence | Mapping


def is_null(node: Node) -> bool:
    """Tell whether a node is YAML's null."""
    return isinstance(node, Scalar) and node.value() is None


def plain_value(node: Node) -> Any:
    """Return a tree as maps, lists and scalars."""
    if isinstance(node, Scalar):
        return node.value()
    if isinstance(node, Sequence):
        return [plain_value(item) for item in node.items]
    return {key.text: plain_value(value) for key, value in node.entries}


def from_value(value: Any, place: Place) -> Node:
    """Return maps, lists and scalars as a tree whose nodes all stand at `place`."""
    if isinstance(value, dict):
        entries = tuple((Scalar(str(key), place, plain=False), from_value(item, place)) for key, item in value.items())
        return Mapping(entries, place)
    if isinstance(value, (list, tuple)):
        return Sequence(tuple(from_value(item, place) for item in value), place)
    if value is None or isinstance(value, bool):
        return Scalar({None: "null", True: "true", False: "false"}[value], place)
    return Scalar(str(value), place, plain=not isinstance(value, str))


def parse(
    text: str, report: Report, *, file: str, yaml11: bool = False, tags: frozenset[str] = frozenset()
) -> Node | None:
    """Return a document's tree, None where it is empty; raise Unreadable where there is none.

    `tags` are the local tags (`!replace`) that the reader understands. Repeated keys, unknown tags and keys that are
    no scalars go to `report`.
    """
    builder = _Builder(report, file, yaml11, tags)
    try:
        for event in yaml.parse(text, Loader=_Loader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file)
        raise _unreadable(place, _explain(error, text, place), "yaml") from error
    except yaml.YAMLError as error:  # a character that YAML does not allow; its text would quote the document
        raise _unreadable(_first_control(text, file), "a character that YAML does not allow", "yaml") from error
    return builder.root


def _unreadable(place: Place, message: str, code: str, hint: str | None = None) -> Unreadable:
    diagnostic = Diagnostic(severity=Severity.ERROR, place=place, path="", message=message, hint=hint, code=code)
    return Unreadable(diagnostic)


def _explain(error: yaml.MarkedYAMLError, text: str, place: Place) -> str:
    """Say what libyaml found; its words hold no values but for single characters and anchors."""
    lines = text.splitlines()
    line = lines[place.line - 1] if 0 < place.line <= len(lines) else ""
    if "\t" in line[: place.column]:
        return "a tab cannot indent in YAML: use blanks"
    problem = str(error.problem or error.context or "not YAML")
    if "nesting depth" in problem:  # libyaml's own bound, met where it reads ahead of its events
        return f"nested deeper than {DEEPEST} levels"
    return "not YAML: an alias names no anchor" if "alias" in problem else f"not YAML: {problem[:120]}"


def _first_control(text: str, file: str) -> Place:
    for number, line in enumerate(text.split("\n"), 1):
        for column, letter in enumerate(line, 1):
            if (letter < " " and letter not in "\t\r") or letter in "\x7f\ufffe\uffff":
                return Place(file, number, column)
    return Place(file)


class _Open:
    """A list or map whose end has not come yet."""

    __slots__ = ("anchor", "height", "is_map", "nodes", "place", "tag")

    def __init__(self, *, is_map: bool, place: Place, tag: str, anchor: str | None) -> None:
        self.is_map = is_map
        self.place = place
        self.tag = tag
        self.anchor = anchor
        self.nodes: list[Node] = []
        self.height = 0  # levels below this one, aliases counted as what they stand for


class _Builder:
    """Takes events one by one; holds the open collections on a list of its own instead of the stack."""

    def __init__(self, report: Report, file: str, yaml11: bool, tags: frozenset[str]) -> None:
        self.root: Node | None = None
        self._report = report
        self._file = file
        self._yaml11 = yaml11
        self._tags = tags
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int, int]] = {}
        self._count = 0
        self._length = 0  # of all scalars, as JSON writes them
        self._starts: list[tuple[int, int]] = []
        self._documents = 0
        self._told_length = False

    def take(self, event: Any) -> None:
        """Go on by one event."""
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(event.value, self._at(event), not event.style, self._tag(event), self._yaml11)
            self._count_nodes(1, node.place)
            length = len(encode_basestring_ascii(event.value))
            self._length += length
            self._add(node, event.anchor, 1, length, 0)
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise _unreadable(self._at(event), "more than one YAML document in a file", "documents")

    def _at(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _tag(self, event: Any) -> str:
        tag: str = event.tag or ""
        if tag.startswith(_STANDARD):
            word = tag.removeprefix(_STANDARD)
            if word in _TAGS:
                return f"!!{word}"
        if tag in ("", "!") or tag in self._tags:
            return "!!str" if tag == "!" else tag
        self._report.error(self._at(event), "", "a tag that means nothing here", code="tag")
        return ""

    def _count_nodes(self, count: int, place: Place) -> None:
        self._count += count
        if self._count > MOST_NODES:
            raise _unreadable(place, f"more than {MOST_NODES} nodes, aliases counted as what they stand for", "limit")

    def _check_depth(self, depth: int, place: Place) -> None:
        if depth > DEEPEST:
            raise _unreadable(place, f"nested deeper than {DEEPEST} levels", "limit")

    def _begin(self, event: Any) -> None:
        place = self._at(event)
        self._check_depth(len(self._open) + 1, place)
        self._count_nodes(1, place)
        self._starts.append((self._count, self._length))
        is_map = isinstance(event, yaml.MappingStartEvent)
        self._open.append(_Open(is_map=is_map, place=place, tag=self._tag(event), anchor=event.anchor))

    def _end(self) -> None:
        opened = self._open.pop()
        count, length = self._starts.pop()
        size, length = self._count - count + 1, self._length - length
        node = self._mapping(opened) if opened.is_map else Sequence(tuple(opened.nodes), opened.place, opened.tag)
        self._add(node, opened.anchor, size, length, opened.height + 1)

    def _alias(self, event: Any) -> None:
        known = self._anchors.get(event.anchor)
        place = self._at(event)
        if known is None:
            raise _unreadable(place, "not YAML: an alias names no anchor", "yaml")
        node, size, length, height = known
        self._count_nodes(size, place)
        self._check_depth(len(self._open) + height, place)
        if self._is_too_long(length, place):
            node, size, length, height = Scalar("", place, plain=False), 1, 0, 0
        self._length += length
        self._add(node, None, size, length, height)

    def _is_too_long(self, length: int, place: Place) -> bool:
        """Tell whether so much more text is too much, once it is reported; the tree goes on without it.

        The document is refused, and what else it says may still be its owner's way in.
        """
        if self._length + length <= LARGEST:
            return False
        if not self._told_length:
            self._told_length = True
            most = f"more than {LARGEST // 2**20} MiB of text, aliases counted as what they stand for"
            self._report.error(place, "", f"{most}; what it brings here is left out", code="limit")
        return True

    def _add(self, node: Node, anchor: str | None, size: int, length: int, height: int) -> None:
        if anchor is not None:
            self._anchors[anchor] = (node, size, length, height)
        if self._open:
            self._open[-1].nodes.append(node)
            self._open[-1].height = max(self._open[-1].height, height)
        else:
            self.root = node

    def _mapping(self, opened: _Open) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        merged: list[Mapping] = []
        for key, value in zip(opened.nodes[::2], opened.nodes[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._report.error(key.place, "", "a key has to be a word, not a list or a map", code="key")
            elif key.plain and key.text == "<<":
                merged.extend(self._merged(value))
            elif key.text in entries:
                first = entries[key.text][0].place.line
                message = f"the key {shown(key.text)} stands twice in this map, first in line {first}"
                self._report.error(key.place, key.text[:60], message, code="duplicate")
            else:
                entries[key.text] = (key, value)
        for mapping in merged:
            for key, value in mapping.entries:
                entries.setdefault(key.text, (key, value))
        return Mapping(tuple(entries.values()), opened.place, opened.tag)

    def _merged(self, value: Node) -> Iterator[Mapping]:
        for node in value.items if isinstance(value, Sequence) else (value,):
            if isinstance(node, Mapping):
                yield node
            else:
                self._report.error(node.place, "<<", "`<<` takes a map, or a list of maps", code="type")


def shown(key: str) -> str:
    """Return a key as a message names it: short, printable, between backquotes."""
    word = "".join(letter if letter.isprintable() and letter != "`" else "?" for letter in key[:60])
    return f"`{word}`"
