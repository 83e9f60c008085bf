"""Every config that people are told to copy compiles, alone and over the shipped recipes, without a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.recipe import compile_machine, load
from init.dialects.compile import compile_document

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


def test_there_are_some_and_the_list_names_each() -> None:
    text = (CONFIGS[0].parent / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in CONFIGS if f"`{path.name}`" not in text] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_compiles_without_a_word(path: Path) -> None:
    default = compile_machine(load("podman")).document
    for base in (None, default):
        compiled = compile_document(path.read_bytes(), file=path.name, default=base)
        assert [str(each) for each in compiled.diagnostics] == []
        assert compiled.machine is not None
