"""`berth connect`: what ssh is asked, and how its end is told. A machine answers in qemu-tests/test_machine.py."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from builder.cli import connect
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


def test_a_computer_that_is_no_berth_machine_is_told(ssh: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (ssh / "status").write_text("127")
    assert main(["connect", "box1"]) == 1
    assert "box1 has no berthctl" in capsys.readouterr().err


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


def answers(ssh: Path, *steps: tuple[int, str]) -> None:
    """Let ssh end and speak so, one call after the other; the last for good."""
    lines = "\n".join(f"{at}) echo {shlex.quote(text)} >&2; exit {status};;" for at, (status, text) in enumerate(steps))
    last = f"*) exit {steps[-1][0]};;"
    (ssh / "bin/ssh").write_text(
        f"#!/bin/sh\nat=$(cat {ssh}/at 2>/dev/null || echo 0); echo $((at + 1)) > {ssh}/at\n"
        f'printf "%s\\n" "$*" >> {ssh}/calls\ncase $at in\n{lines}\n{last}\nesac\n'
    )


def calls(ssh: Path) -> list[str]:
    """Return the last word of each call of ssh."""
    return [line.partition(" -- box1 ")[2] for line in (ssh / "calls").read_text().splitlines()]


REFUSED = (255, "ssh: connect to host box1 port 22: Connection refused")
BROKEN = (255, "Connection to box1 closed by remote host.")


def test_a_machine_that_boots_is_waited_for(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_PAUSE", 0.0)
    answers(ssh, REFUSED, REFUSED, (0, ""), (1, ""))
    assert main(["connect", "box1", "--wait", "60", "service", "restart", "web"]) == 1
    assert calls(ssh) == ["true", "true", "true", "berthctl service restart web"]


def test_what_only_reads_is_asked_again_after_a_reboot(ssh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "_PAUSE", 0.0)
    answers(ssh, (0, ""), BROKEN, REFUSED, (0, ""), (0, ""))
    assert main(["connect", "--wait", "60", "box1", "update", "status", "--wait"]) == 0
    ask = "berthctl update status --wait"
    assert calls(ssh) == ["true", ask, "true", "true", ask]


@pytest.mark.parametrize("words", [["reboot"], ["update", "apply"], ["service", "stop", "web"], ["reset"]])
def test_what_changes_a_machine_is_asked_once(ssh: Path, words: list[str]) -> None:
    answers(ssh, (0, ""), BROKEN)
    assert main(["connect", "--wait", "60", "box1", *words]) == 1
    assert calls(ssh) == ["true", f"berthctl {shlex.join(words)}"]


def test_who_is_refused_does_not_wait(ssh: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answers(ssh, (255, "berth@box1: Permission denied (publickey)."))
    assert main(["connect", "--wait", "60", "box1"]) == 1
    assert calls(ssh) == ["true"]
    assert "Permission denied" in capfd.readouterr().err
