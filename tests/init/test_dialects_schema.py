"""The schemas are schemas, and take what the compiler takes."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

import init.dialects
from builder.recipe.schema import RECIPE
from init.dialects.record import Record
from init.dialects.schema import NAMES, schema

pytestmark = pytest.mark.long  # another program reads the schemas, slowly

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_schema_that_json_can_hold(name: str) -> None:
    made = json.loads(json.dumps(schema(name)))
    jsonschema.Draft202012Validator.check_schema(made)


def test_the_recipe_s_is_one_too() -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(RECIPE.schema())))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_examples_are_valid(path: Path) -> None:
    name = "berth" if path.read_text(encoding="utf-8").startswith("#berth") else "cloud-init"
    jsonschema.validate(yaml.safe_load(path.read_text(encoding="utf-8")), schema(name))


def test_a_misspelt_key_is_invalid() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"hostnam": "x"}, schema("cloud-init"))


def records() -> Iterator[tuple[str, Record]]:
    """Return every map of keys that the dialects read, each by the name that its module gives it."""
    for found in pkgutil.iter_modules(init.dialects.__path__):
        module = importlib.import_module(f"init.dialects.{found.name}")
        for name, value in vars(module).items():
            many = value.items() if isinstance(value, dict) else ((name, value),)
            yield from ((f"{found.name}.{name}.{key}", each) for key, each in many if isinstance(each, Record))


def properties(node: object) -> Iterator[str]:
    """Return every key that a schema names, at any depth."""
    if isinstance(node, dict):
        named = node.get("properties")
        yield from named if isinstance(named, dict) else ()
        for each in node.values():
            yield from properties(each)
    elif isinstance(node, list):
        for each in node:
            yield from properties(each)


@pytest.mark.parametrize("name", ["berth", "cloud-init"])
def test_every_key_that_is_read_is_in_the_schema(name: str) -> None:
    """Of documents, at any depth: docs/configuration.md promises that `berth schema` prints every key."""
    known = set(properties(schema(name)))
    found = {where: set(each.keys) - known for where, each in records()}
    assert len(found) > 20
    assert not {where: keys for where, keys in found.items() if keys}
    lifted = {"hashed_passwd", "lock_passwd", "encoding", "permissions", "filename", "bond_interfaces", "expire"}
    assert lifted <= known
