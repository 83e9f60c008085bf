"""The machine half of a recipe, compiled at build time by the compiler that the machine itself runs."""

from __future__ import annotations

import json
from dataclasses import dataclass

from builder.recipe.diagnose import RecipeErrors
from builder.recipe.model import Recipe
from init.dialects.compile import compile_tree
from init.dialects.diagnostic import Diagnostic, Place
from init.dialects.position import Mapping, Node, Scalar, from_value
from init.formats.machine import Machine


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledMachine:
    """The default machine, and the `#berth` document that a user's configuration is laid over on the machine."""

    machine: Machine
    document: bytes  # /usr/lib/berth/machine.yaml
    diagnostics: tuple[Diagnostic, ...]  # warnings and notes


def compile_machine(recipe: Recipe) -> CompiledMachine:
    """Compile the machine half; raise RecipeErrors with all that is wrong, each at its place in the recipe."""
    compiled = compile_tree(_tree(recipe))
    if compiled.machine is None:
        raise RecipeErrors(compiled.diagnostics)
    document = f"#berth\n{_render(_tree(recipe), '')}\n".encode()
    return CompiledMachine(machine=compiled.machine, document=document, diagnostics=compiled.diagnostics)


def _tree(recipe: Recipe) -> Mapping:
    node = recipe.machine_node
    if isinstance(node, Mapping):
        return node
    place = recipe.machine_place
    made = from_value(dict(recipe.machine), Place(place.file, place.line, place.column))
    assert isinstance(made, Mapping)
    return made


def _render(node: Node, indent: str) -> str:
    """Write a tree as JSON, which is YAML, but a plain number as it was written: `3.10` may be meant as text."""
    deeper = indent + " "
    if isinstance(node, Scalar):
        value = node.value()
        return _quoted(node.text) if isinstance(value, str) else node.text or "null"
    if isinstance(node, Mapping):
        lines = [f"{_quoted(key.text)}: {_render(value, deeper)}" for key, value in node.entries]
        brackets = "{}"
    else:
        lines = [_render(item, deeper) for item in node.items]
        brackets = "[]"
    if not lines:
        return brackets
    return f"{brackets[0]}\n{deeper}" + f",\n{deeper}".join(lines) + f"\n{indent}{brackets[1]}"


def _quoted(text: str) -> str:
    """Return text as a quoted scalar. YAML has no surrogates, so only what it does not allow raw is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in quoted)
