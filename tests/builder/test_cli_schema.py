"""The schemas are schemas, and say of what is shipped what the compiler says."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from builder.cli.main import main
from builder.cli.schema import KNOWN, schema_of
from init.dialects.compile import compile_document
from init.dialects.header import BUILT, DIALECTS

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("name", KNOWN)
def test_each_is_a_valid_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema_of(name))))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.name)
def test_the_shipped_recipes_are_valid(path: Path) -> None:
    document = yaml.safe_load(path.read_text())
    jsonschema.Draft202012Validator(schema_of("recipe")).validate(document)


NETWORKS = {
    "network-config-v1": "version: 1\nconfig: [{type: physical, name: eth0, subnets: [{type: dhcp}]}]\n",
    "network-config-v2": "version: 2\nethernets: {eth0: {dhcp4: true}}\n",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_schema_and_compiler_agree_on_networks(name: str) -> None:
    right = NETWORKS[name]
    wrong = right.replace("{type: physical, ", "{type: physical, oops: 1, ").replace("{dhcp4", "{oops: 1, dhcp4")
    validator = jsonschema.Draft202012Validator(schema_of(name))
    for document, expected in ((right, True), (wrong, False)):
        assert validator.is_valid(yaml.safe_load(document)) is expected
        assert (compile_document(document.encode(), file="n", dialect=name).errors == 0) is expected


@pytest.mark.parametrize("name", ["rancheros", "k3os", "coreos-cloudinit", "compose"])
def test_what_comes_later_is_said_by_name(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("#cloud-config\n")
    for words in (["check", "--dialect", name, str(path)], ["schema", name]):
        with pytest.raises(SystemExit) as caught:
            main(words)
        assert caught.value.code == 2
        assert f"{name} is not built yet" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "\n \n", "# my machine\n"])
def test_a_file_without_a_header_is_an_error(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert main(["check", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out.startswith(f"{path}:1:1: error: ")
    assert "#cloud-config" in said.out
    assert "1 file, 1 error" in said.err


def test_each_name_of_a_dialect_is_one_or_the_other() -> None:
    assert set(BUILT) == {name for name in KNOWN if name != "recipe"}
    assert set(BUILT) < set(DIALECTS)


def test_a_misspelt_key_is_not() -> None:
    validator = jsonschema.Draft202012Validator(schema_of("recipe"))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"build": {"sweet": "trixie"}})
