"""The schemas are schemas, and take what the compiler takes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from builder.recipe.schema import RECIPE
from init.dialects.schema import NAMES, schema

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
