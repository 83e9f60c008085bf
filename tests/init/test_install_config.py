"""The configuration that goes along: without `install`, otherwise byte for byte, and never one that lets nobody in."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from init.dialects.sources import Found, Seed, last_good
from init.dialects.without import without_install
from init.formats.machine import Machine, User
from init.installer.config import ConfigError, along, has_way_in, kept_document, state_files

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB8Ht8Z3j6yDWPBHQtOp/R9rjWvfMYo3MSA/K6q8D86r me@desk"
CASES = {
    "block, in the middle": (
        "#berth\nhealth: {settle: 3s}\ninstall:\n  disk: only-empty\n  then: stay\n# one\nssh_authorized_keys: [K]\n",
        "#berth\nhealth: {settle: 3s}\n# one\nssh_authorized_keys: [K]\n",
    ),
    "block, the last": (
        "#cloud-config\nssh_authorized_keys: [K]\nberth:\n  modules: [a]\n  install:\n    disk: only-empty\n\n# end\n",
        "#cloud-config\nssh_authorized_keys: [K]\nberth:\n  modules: [a]\n\n# end\n",
    ),
    "the only one of Berth's keys": (
        "#cloud-config\nssh_authorized_keys: [K]\nberth:\n  install: {disk: only-empty}\nhostname: a\n",
        "#cloud-config\nssh_authorized_keys: [K]\nhostname: a\n",
    ),
    "no end of line": (
        "#cloud-config\nssh_authorized_keys: [K]\nberth:\n  install:\n    disk: only-empty",
        "#cloud-config\nssh_authorized_keys: [K]\n",
    ),
    "flow, first": (
        "#cloud-config\nssh_authorized_keys: [K]\nberth: {install: {disk: largest}, health: {settle: 3s}}\n",
        "#cloud-config\nssh_authorized_keys: [K]\nberth: {health: {settle: 3s}}\n",
    ),
    "flow, last": (
        "#cloud-config\nssh_authorized_keys: [K]\nberth: {health: {settle: 3s}, install: {disk: largest}}\n",
        "#cloud-config\nssh_authorized_keys: [K]\nberth: {health: {settle: 3s}}\n",
    ),
    "a #berth document": (
        "#berth\ninstall: {disk: '/dev/sda'}\nssh_authorized_keys: [K]\n",
        "#berth\nssh_authorized_keys: [K]\n",
    ),
    "quoted text that spans lines": (
        '#berth\nssh_authorized_keys: [K]\ninstall:\n  disk: "only-\\\n    empty"\nhostname: b\n',
        "#berth\nssh_authorized_keys: [K]\nhostname: b\n",
    ),
    "letters of several bytes before it": (
        "#berth\n# ä€𝄞\nhostname: a\ninstall: {disk: largest} # ü\nssh_authorized_keys: [K]\n",
        "#berth\n# ä€𝄞\nhostname: a\nssh_authorized_keys: [K]\n",
    ),
    "none": ("#cloud-config\nssh_authorized_keys: [K]\n", "#cloud-config\nssh_authorized_keys: [K]\n"),
}


@pytest.mark.parametrize("name", CASES)
def test_install_is_cut_out_and_nothing_else(name: str) -> None:
    before, after = (text.replace("K", KEY).encode() for text in CASES[name])
    assert along(before, None) == after


def test_a_configuration_in_several_documents_keeps_the_others() -> None:
    user = f"#cloud-config\nssh_authorized_keys: [{KEY}]\nberth: {{install: {{disk: largest}}}}\n".encode()
    seed = Seed(user_data=user, meta_data=b"instance-id: i-1\n", network_config=b"version: 2\n")
    cut = along(Found(source="cidata", seed=seed).keep(), None)
    assert "install" not in base64.b64decode(json.loads(cut)["user-data"]).decode()
    found = last_good(cut)
    assert found.seed.meta_data == seed.meta_data
    assert found.seed.network_config == seed.network_config
    assert state_files(cut)["var/lib/berth/config/user-data"] == cut


def test_what_cannot_be_cut_is_refused_before_anything_is_written() -> None:
    text = f"#berth\n? install\n: {{disk: largest}}\nssh_authorized_keys: [{KEY}]\n"
    with pytest.raises(ConfigError, match="lines of its own"):
        along(text.encode(), None)
    assert without_install(b"") == b""


def test_a_configuration_that_lets_nobody_in_is_refused() -> None:
    with pytest.raises(ConfigError, match="nobody a way in"):
        along(b"#cloud-config\nhostname: a\nberth: {install: {disk: largest}}\n", None)
    with pytest.raises(ConfigError, match="nobody a way in"):
        along(b"", b"#berth\nhostname: a\n")


def test_the_recipe_may_be_what_lets_somebody_in() -> None:
    assert along(b"", f"#berth\nssh_authorized_keys: [{KEY}]\n".encode()) == b""


def test_who_gets_in() -> None:
    assert not has_way_in(Machine())
    assert not has_way_in(Machine(users=(User(name="a", password_hash="$6$x"),)))
    assert has_way_in(Machine(users=(User(name="a", password_hash="$6$x", lock_password=False),)))
    assert has_way_in(Machine(users=(User(name="a", ssh_authorized_keys=(KEY,)),)))
    assert not has_way_in(Machine(root_keys=(KEY,)))
    assert has_way_in(Machine(root_keys=(KEY,), disable_root=False))
    assert not has_way_in(Machine(users=(User(name="a", shell="/bin/false", ssh_authorized_keys=(KEY,)),)))


@pytest.mark.parametrize("line", ["name: root", "name: a, shell: /usr/sbin/nologin"])
def test_a_key_that_opens_nothing_is_no_way_in(line: str) -> None:
    with pytest.raises(ConfigError, match="nobody a way in"):
        along(f"#cloud-config\nusers: [{{{line}, ssh_authorized_keys: [{KEY}]}}]\n".encode(), None)
    assert along(f"#cloud-config\nusers: [{{name: a, ssh_authorized_keys: [{KEY}]}}]\n".encode(), None)


def test_a_machine_without_a_kept_configuration_runs_its_recipes(tmp_path: Path) -> None:
    assert kept_document(tmp_path / "none") == b""
