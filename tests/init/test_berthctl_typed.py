"""What is typed at `berthctl` in a hurry, and where answers go: mistakes, Ctrl-C, full disks, readers that leave."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.answering import Answering

from init.berthctl import main
from init.formats.logfile import LINES_MOST

BERTHCTL = (sys.executable, "-BSc", "import sys; from init.berthctl.main import main; sys.exit(main())")
REPOSITORY = Path(__file__).resolve().parents[2]
BOUND = 30.0  # seconds, on a busy computer

WRONG = {
    "stauts": "you may mean: berthctl status",
    "log web": "you may mean: berthctl logs",
    "restart web": "you may mean: berthctl service restart NAME",
    "help": "you may mean: berthctl --help",
    "halt": "you may mean: berthctl poweroff",
    "frobnicate": "there are: status, ps, logs",
    "--version": "VERB",
    "logs -n many": "'many'",
    "logs -n -1": "--lines can't be negative",
    "logs --boot 1": "berthctl logs --boot -1",
    "logs --boot -1 -f": "a boot that is over can't be followed",
    "logs web more": "logs does not take more",
    "events -n 5": "events does not take -n 5",
    "service stop": "{start,stop,restart} name",
    "service halt web": "'start', 'stop', 'restart'",
    "config": "{show,check,plan,apply}",
    "config show x": "show takes no file",
    "config apply": "apply needs a file",
    "update aply": "'aply'",
    "update check --reboot": "--reboot goes with `apply`",
    "update history --again": "--again goes with `apply`",
    "update apply --wait": "--wait goes with `status`",
    "rescue": "{status,retry}",
    "reset": "give --yes",
}


@pytest.mark.parametrize("typed", WRONG)
def test_a_mistake_is_told_with_what_is_meant(typed: str, capfd: pytest.CaptureFixture[str]) -> None:
    """For people and for programs, and PID 1 is not asked."""
    words = typed.split()
    assert main.main(words) == 2
    told = capfd.readouterr()
    assert told.out == ""
    assert told.err.startswith("berthctl: ")
    assert WRONG[typed] in told.err
    assert main.main([*words, "--json"]) == 2
    told = capfd.readouterr()
    assert told.err == ""
    error = json.loads(told.out)
    assert error["format"] == "berth.error/1"
    assert WRONG[typed] in f"{error['message']} {error['hint']}"


@pytest.mark.parametrize("word", ["rest", "resett", "re-set", "rese", "restet", "restart", "preset"])
def test_nobody_who_mistypes_is_led_to_what_takes_data_away(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([word]) == 2
    assert "you may mean: berthctl reset" not in capsys.readouterr().err


def test_without_a_verb_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 2
    shown = capsys.readouterr().out
    assert all(verb in shown for verb in main.VERBS)


def test_json_may_stand_before_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Answering(tmp_path / "control", [{"hostname": "box1"}]) as pid1:
        assert main.main(["--json", "status", "--socket", pid1.path]) == 0
    assert json.loads(capsys.readouterr().out)["hostname"] == "box1"


@pytest.mark.parametrize(("there", "wanted", "told"), [(2000, 2001, True), (2000, 2000, False), (1999, 9999, False)])
def test_more_lines_than_are_shown_at_once_are_told_of(
    there: int, wanted: int, told: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert LINES_MOST == 2000
    with Answering(tmp_path / "control", [{}], more=[{"time": "", "text": "x"}] * there) as pid1:
        assert main.main(["logs", "-n", str(wanted), "--socket", pid1.path]) == 0
    assert ("the newest 2000" in capsys.readouterr().err) is told


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"rebooting": True, "running": False}, "the machine is going down"),
        ({"rebooting": False, "running": False}, "it runs after the next boot"),
        ({"rebooting": False, "running": True}, "the release that waited for a reboot is given up"),
    ],
)
def test_a_rollback_says_what_comes_next(answer: dict[str, object], told: str, tmp_path: Path) -> None:
    with Answering(tmp_path / "control", [{"slot": "a", "version": "1", **answer}]) as pid1:
        shell = [*BERTHCTL, "rollback", "--socket", pid1.path]
        done = subprocess.run(
            shell, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}, capture_output=True, check=False
        )
    assert done.returncode == 0
    assert told in done.stdout.decode()


def test_a_look_that_found_no_version_names_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    looked = {"at": "2026-11-30T03:17:12Z", "state": "failed", "version": "", "reason": "the server answers 404"}
    with Answering(tmp_path / "control", [{"action": "status", "state": "failed", "checked": looked}]) as pid1:
        assert main.main(["update", "status", "--socket", pid1.path]) == 0
    assert "looked      2026-11-30T03:17:12Z, failed: the server answers 404\n" in capsys.readouterr().out


def test_a_diagnostics_hint_has_its_own_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "new.yaml"
    document.write_text("#cloud-config\nhostnam: x\n")
    wrong = {
        "severity": "error",
        "file": f"file:{document}",
        "line": 2,
        "column": 1,
        "message": "unknown key `hostnam`",
    }
    found = [{**wrong, "path": "hostnam", "hint": "did you mean \x1b[2J`hostname`?"}]
    with Answering(tmp_path / "control", [{"valid": False, "diagnostics": found}]) as pid1:
        assert main.main(["config", "check", str(document), "--socket", pid1.path]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"{document}:2:1: error: unknown key `hostnam` (hostnam)",
        "    did you mean �[2J`hostname`?",
        "this configuration would be refused; nothing was changed",
    ]


def test_nobody_types_a_name_for_a_state_that_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = {"format": "berth.error/1", "code": "state", "message": "in memory", "hint": "a reboot makes it new"}
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    with Answering(tmp_path / "control", [{"hostname": "box1", "state": {"kind": "memory"}}, refused]) as pid1:
        assert main.main(["reset", "--socket", pid1.path]) == 1
    told = capsys.readouterr().err
    assert "a reboot makes it new" in told
    assert "Type the machine's name" not in told


def test_what_a_repository_says_of_itself_is_no_terminal_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = {"format": "berth.error/1", "code": "x", "message": "no\x1b[2J", "hint": "none\x07"}
    with Answering(tmp_path / "control", [evil]) as pid1:
        assert main.main(["rollback", "--socket", pid1.path]) == 1
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\x07" not in told


def test_pid_1_with_too_many_clients_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has closed before the question came."""
    busy = {"format": "berth.error/1", "code": "busy", "message": "32 others are connected", "hint": "end some"}
    with Answering(tmp_path / "control", [busy], reads=False) as pid1:
        assert main.main(["status", "--socket", pid1.path]) == 1
    assert "32 others are connected" in capsys.readouterr().err


def start(words: list[str], **streams: object) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([*BERTHCTL, *words], env=environment, stderr=subprocess.PIPE, **streams)  # type: ignore[call-overload, no-any-return]


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """Return the exit status and what people were told."""
    _, told = process.communicate(timeout=BOUND)
    return process.returncode, told.decode()


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["ps"]])
def test_a_full_disk_is_told(words: list[str], tmp_path: Path) -> None:
    with Answering(tmp_path / "control", [{}]) as pid1, Path("/dev/full").open("wb") as full:
        status, told = ended(start([*words, "--socket", pid1.path], stdout=full))
    assert (status, "No space left on device" in told, told.count("\n")) == (1, True, 2), told


def test_output_that_is_closed_costs_nothing_but_the_output(tmp_path: Path) -> None:
    with Answering(tmp_path / "control", [{}]) as pid1:
        shell = ["sh", "-c", 'exec "$@" >&-', "sh", *BERTHCTL, "status", "--socket", pid1.path]
        done = subprocess.run(
            shell, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}, capture_output=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_reader_that_reads_nothing_is_told_by_the_status_alone(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with Answering(tmp_path / "control", [{}]) as pid1:
        process = start(["status", "--socket", pid1.path], stdout=writing)
        os.close(writing)
        assert ended(process) == (main.READER_GONE, "")


def a_pipe() -> tuple[int, int]:
    return os.pipe()


def a_socket() -> tuple[int, int]:
    """As sshd gives a command."""
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("verb", ["logs", "events"])
@pytest.mark.parametrize("made", [a_pipe, a_socket])
def test_who_follows_goes_with_the_reader_though_nothing_is_said(
    verb: str, made: Callable[[], tuple[int, int]], tmp_path: Path
) -> None:
    """Or each `berth connect HOST logs -f` that was stopped would keep one of PID 1's few connections."""
    reading, writing = made()
    with Answering(tmp_path / "control", [{}], holds=True) as pid1:
        process = start([verb, "-f", "--json", "--socket", pid1.path], stdout=writing)
        os.close(writing)
        assert json.loads(os.read(reading, 4096))["format"] == "berth.any/1"
        os.close(reading)
        assert ended(process) == (main.READER_GONE, "")


@pytest.mark.parametrize("verb", ["logs", "events"])
def test_ctrl_c_ends_who_follows_without_a_word(verb: str, tmp_path: Path) -> None:
    with Answering(tmp_path / "control", [{}], holds=True) as pid1:
        process = start([verb, "-f", "--json", "--socket", pid1.path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert ended(process) == (130, "")


def test_who_follows_is_told_that_the_machine_goes_down(tmp_path: Path) -> None:
    with Answering(tmp_path / "control", [{}]) as pid1:
        status, told = ended(start(["events", "-f", "--socket", pid1.path], stdout=subprocess.DEVNULL))
    assert (status, "the machine goes down" in told) == (1, True), told


def test_ctrl_c_at_an_update_says_that_it_goes_on(tmp_path: Path) -> None:
    under_way = {"progress": {"state": "checking"}}
    with Answering(tmp_path / "control", [under_way], holds=True) as pid1:
        process = start(["update", "apply", "--socket", pid1.path], stdout=subprocess.DEVNULL)
        assert process.stderr is not None
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        status, told = ended(process)
    assert (status, "berthctl update status --wait" in told) == (130, True), told
