"""The schemas are schemas, and say of what is shipped what the compiler says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from builder.cli.schema import KNOWN, schema_of

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("name", KNOWN)
def test_each_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema_of(name))))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_recipes_are_valid(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    jsonschema.Draft202012Validator(schema_of("recipe")).validate(document)


def test_a_misspelt_key_is_not() -> None:
    validator = jsonschema.Draft202012Validator(schema_of("recipe"))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"build": {"sweet": "trixie"}})
