"""`berth check`: what it reads, and that it reads all of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from builder.cli.main import main
from init.dialects.header import shape_of
from init.dialects.position import LARGEST


def check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, object]]]:
    """Return the exit status and what was found."""
    status = main(["check", "--json", *words])
    told = json.loads(capsys.readouterr().out)
    assert told["format"] == "berth.check/1"
    assert told["valid"] is (status == 0)
    return status, told["diagnostics"]


def test_a_file_that_is_not_there_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = tmp_path / "a.yaml"
    wrong.write_text("#cloud-config\nhostnam: x\n")
    status, found = check(capsys, str(tmp_path / "none"), str(wrong))
    assert status == 2
    assert [(each["file"], each["code"]) for each in found] == [
        (str(tmp_path / "none"), "file"), (str(wrong), "unknown-key"),
    ]  # fmt: skip


def test_the_bound_is_the_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "large.yaml"
    head = b"#cloud-config\nhostname: box1\n"
    path.write_bytes(head + b"#" * (LARGEST - len(head) - 1) + b"\n")
    assert check(capsys, str(path)) == (0, [])
    path.write_bytes(head + b"#" * (LARGEST - len(head)) + b"\n")
    status, [found] = check(capsys, str(path))
    assert (status, found["code"]) == (2, "file")
    assert f"{LARGEST >> 20} MiB" in str(found["message"])
    assert found["hint"]


@pytest.mark.parametrize(("text", "status"), [("#cloud-config\nhostname: a\n", 0), ("#cloud-config\nhostnam: a\n", 2)])
def test_a_dash_is_standard_input(
    text: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    told, found = check(capsys, "-")
    assert told == status
    assert {each["file"] for each in found} <= {"standard input"}


SHAPES = {
    "version: 2\nethernets: {eth0: {dhcp4: true}}\n": "network-config-v2",
    "# ours\n---\nversion: 1  # old\nconfig: []\n": "network-config-v1",
    "network:\n  version: 2\n  ethernets:\n    eth0: {dhcp4: true}\n": "network-config-v2",
    "services:\n  web: {image: demo}\n": "compose",
    "version: 2\nhostname: box1\n": None,
    "network:\n  version: 2\nhostname: box1\n": None,
    "hostname: box1\n": None,
    "#berth\nnetwork:\n  version: 2\n": None,
    "": None,
}


@pytest.mark.parametrize("text", SHAPES)
def test_without_a_header_the_shape_decides(text: str) -> None:
    assert shape_of(text) == SHAPES[text]


def test_a_network_configuration_is_read_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network-config"
    path.write_text("version: 2\nethernets: {eth0: {dhcp4: true}}\n")
    assert check(capsys, str(path)) == (0, [])
    path.write_text("version: 2\nethernets: {eth0: {dhcp: true}}\n")
    status, [found] = check(capsys, str(path))
    assert (status, found["path"]) == (2, "ethernets.eth0.dhcp")
