"""`--set KEY=VALUE`: one key of a recipe, given on the command line."""

from __future__ import annotations

import re

from builder.errors import UsageError
from builder.recipe.schema import RECIPE
from init.dialects.diagnostic import Place, Report, Unreadable
from init.dialects.position import Mapping, Node, Scalar, parse

_KEY = re.compile(r'(?:"([^"]+)"|([^."=\s]+))(?:\.|$)')


def tree(assignment: str) -> Mapping:
    """Return `build.kernel=cloud` as the tree `{build: {kernel: cloud}}`; raise UsageError.

    The value is read as YAML (`[a, b]`, `{a: 1}`, `null` to remove), and as plain text where it is none, unless it
    begins as a list, a map or quoted text does. The recipe's schema gives it its type. A name that holds dots stands
    in double quotes.
    """
    name, equals, text = assignment.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {name}: expected KEY=VALUE", hint="for example --set build.kernel=cloud")
    names = _names(name)
    place = Place(f"--set {name}")
    node = _value(text, place)
    for each in reversed(names):
        node = Mapping(((Scalar(each, place, plain=False), node),), place)
    assert isinstance(node, Mapping)
    return node


def _names(name: str) -> list[str]:
    names, end = [], 0
    while end < len(name):
        found = _KEY.match(name, end)
        if not found:
            raise UsageError(f"--set {name}: not a key", hint="write names with dots between them: build.kernel")
        names.append(found[1] or found[2])
        end = found.end()
    if name.endswith("."):
        raise UsageError(f"--set {name}: a key's name is missing after the last dot", hint="write build.kernel=cloud")
    if names[0] not in ("build", "machine"):
        where = RECIPE.elsewhere.get(names[0], "").strip("`")
        meant = where + name.removeprefix(names[0]) + "=VALUE" if where else "build.kernel=cloud, for example"
        raise UsageError(f"--set {name}: a key begins with `build.` or `machine.`", hint=f"--set {meant}")
    return names


def _value(text: str, place: Place) -> Node:
    report = Report()
    try:
        node = parse(text, report, file=place.file)
    except Unreadable as error:
        if text.startswith(("[", "{", '"', "'")):
            raise UsageError(
                f"{place.file}={text}: {error.diagnostic.message}", hint="write a list as [a, b], a map as {a: 1}"
            ) from error
        node = None
    if node is None or report.errors:
        return Scalar(text, place, plain=not text)
    return _placed(node, place)


def _placed(node: Node, place: Place) -> Node:
    """Return the tree without lines and columns: it is one word of the command line."""
    if isinstance(node, Scalar):
        return Scalar(node.text, place, node.plain, node.tag)
    if isinstance(node, Mapping):
        return Mapping(tuple((Scalar(key.text, place), _placed(value, place)) for key, value in node.entries), place)
    return type(node)(tuple(_placed(item, place) for item in node.items), place)
