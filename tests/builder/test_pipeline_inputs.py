"""A build's inputs: what is in them counts, and where they lie does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import debs

from builder.fetch.store import Store
from builder.pipeline import Order, inputs_digest
from builder.progress import SilentProgress
from builder.recipe import load
from builder.steps import Steps
from builder.tools.call import Tools

RECIPE = """\
build:
  suite: trixie
  architecture: amd64
  packages: [linux-image-amd64]
  files: {/etc/motd: {source: motd}}
  images: {web: {oci: layout, digest: "sha256:%s"}}
"""


def inputs(recipe: str, work: Path) -> str:
    """Return the hash of the inputs of a recipe as it is typed in the working folder."""
    order = Order(
        recipe=load(recipe), lock=debs.lock(), lock_sha256="", store=Store(work),
        tools=Tools(root=work, key="", packages=()), steps=Steps(work), out=work, config=None,
        progress=SilentProgress(),
    )  # fmt: skip
    return inputs_digest(order)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("one", "other"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.yaml").write_text(RECIPE % ("0" * 64))
        (folder / "motd").write_text("hello")
        (folder / "layout").mkdir()
        (folder / "layout/index.json").write_text("{}")
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path


def test_how_a_recipe_is_named_and_where_its_folder_lies_changes_nothing(here: Path) -> None:
    typed = ("own.yaml", "./own.yaml", "../one/own.yaml", f"{here}/one/own.yaml", "../other/own.yaml")
    assert len({inputs(each, here) for each in typed}) == 1


def test_what_its_files_hold_counts(here: Path) -> None:
    before = inputs("own.yaml", here)
    (here / "one/motd").write_text("hello!")
    between = inputs("own.yaml", here)
    (here / "one/own.yaml").write_text(RECIPE % ("1" * 64))
    assert len({before, between, inputs("own.yaml", here)}) == 3
