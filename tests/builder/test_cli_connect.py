"""`berth connect`: what ssh is asked, and how its end is told. A machine answers in qemu-tests/test_machine.py."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from builder.cli.main import main

FINGERPRINT = "SHA256:" + "a" * 43


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program called ssh on the path; it notes its words and ends as the file `status` says."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/words\nexit "$(cat {tmp_path}/status)"\n')
    program.chmod(0o755)
    (tmp_path / "status").write_text("0")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def asked(ssh: Path) -> list[str]:
    return (ssh / "words").read_text().splitlines()


@pytest.mark.parametrize(
    ("words", "user", "host", "remote"),
    [
        (["box1"], "berth", "box1", "berthctl status"),
        (["ann@box1", "ps"], "ann", "box1", "berthctl ps"),
        (["box1", "logs", "web", "-f", "-n", "5"], "berth", "box1", "berthctl logs web -f -n 5"),
        (["--json", "box1", "ps"], "berth", "box1", "berthctl ps --json"),
        (["box1", "--json", "ps"], "berth", "box1", "berthctl ps --json"),
        (["box1", "ps", "--json"], "berth", "box1", "berthctl ps --json"),
        (["::1", "service", "restart", "a b; reboot"], "berth", "::1", "berthctl service restart 'a b; reboot'"),
    ],
)
def test_what_is_asked(ssh: Path, words: list[str], user: str, host: str, remote: str) -> None:
    assert main(["connect", *words]) == 0
    assert asked(ssh)[-5:] == ["-l", user, "--", host, remote]


@pytest.mark.parametrize("before", [True, False])
def test_port_key_and_settings_stand_on_either_side_of_the_host(ssh: Path, before: bool) -> None:
    options = ["-p", "2222", "-i", "my key", "-o", "ProxyJump=gate"]
    main(["connect", *options, "box1", "ps"] if before else ["connect", "box1", *options, "ps"])
    text = shlex.join(asked(ssh))
    assert "-p 2222 -i 'my key' -o ProxyJump=gate" in text
    assert "KnownHosts" not in text  # ssh's own rules, which ask


def test_a_fingerprint_counts_alone(ssh: Path) -> None:
    main(["connect", "box1", "--fingerprint", FINGERPRINT])
    words = asked(ssh)
    assert "StrictHostKeyChecking=yes" in words
    assert "UserKnownHostsFile=/dev/null" in words
    assert any(word.startswith("KnownHostsCommand=") and word.endswith(FINGERPRINT) for word in words)


@pytest.mark.parametrize("status", [0, 1, 2, 130])
def test_the_exit_status_is_berthctls(ssh: Path, status: int) -> None:
    (ssh / "status").write_text(str(status))
    assert main(["connect", "box1"]) == status


def test_a_failure_of_ssh_itself_is_told(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ssh / "status").write_text("255")
    assert main(["connect", "box1", "--json", "ps"]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "connect"


def test_without_ssh_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["connect", "box1"]) == 1
    assert "openssh-client" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["-p", "0", "box1"], ["ann@"], ["box1", "--fingerprint", "MD5:aa"]])
def test_a_wrong_command_line(ssh: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["connect", *words])
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 2
    assert not (ssh / "words").exists()
    assert "berth: " in capsys.readouterr().err
