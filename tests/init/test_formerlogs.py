"""Logs of the boots before: put away by PID 1 when a boot begins, read by a child of it."""

from __future__ import annotations

from pathlib import Path

from fakes.system import FakeSystem
from hypothesis import given
from hypothesis import strategies as st

from init.berthctl.formerlogs import answer
from init.formats import events
from init.formats.logfile import FORMER_KEPT, parse
from init.pid1.formerboots import put_away

STAMP = "2026-11-25T08:01:02.123Z"


def test_each_boot_gets_its_number_and_the_oldest_goes() -> None:
    system = FakeSystem()
    for boot in range(6):
        put_away(system, "/v/logs")
        system.make_folder("/v/logs")
        system.replace("/v/logs/init.log", f"{boot}".encode())
    kept = [system.read(f"/v/logs.{number}/init.log") for number in range(1, FORMER_KEPT + 1)]
    assert kept == [b"4", b"3", b"2"]
    assert not system.exists(f"/v/logs.{FORMER_KEPT + 1}")
    assert system.read("/v/logs/init.log") == b"5"


def test_a_first_boot_has_none_to_put_away() -> None:
    system = FakeSystem()
    put_away(system, "/v/logs")
    system.make_folder("/v/logs")
    put_away(system, "/v/logs")  # a boot that could write nothing takes no number
    assert not system.exists("/v/logs.1")


def logs(tmp_path: Path, **files: str) -> str:
    folder = tmp_path / "berth.1"
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return str(tmp_path / "berth")


def test_all_services_in_the_order_of_the_boot(tmp_path: Path) -> None:
    folder = logs(
        tmp_path,
        web_log=f"{STAMP} 3.5 three\n{STAMP} 4.0 f",
        web_log_1=f"{STAMP} 1.0 one\n",
        init_log=f"{STAMP} 2.0 two words\nhalf a li",
    )
    head, *lines = answer(folder, 1, 3, None)
    assert head == {"format": events.FORMAT}
    assert [(line["name"], line["text"]) for line in lines] == [("init", "two words"), ("web", "three"), ("web", "f")]
    assert [line["text"] for line in answer(folder, 1, 9, "web") if "text" in line] == ["one", "three", "f"]
    assert list(answer(folder, 1, 0, None)) == [head]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    folder = logs(tmp_path, init_log=f"{STAMP} 2.0 two\n")
    [none] = answer(folder, 2, 9, None)
    assert (none["format"], none["code"]) == ("berth.error/1", "boot")
    [unknown] = answer(folder, 1, 9, "../../etc/shadow")
    assert (unknown["code"], unknown["hint"]) == ("name", "there are: init")


@given(st.text())
def test_any_line_is_read_or_left_out(line: str) -> None:
    parsed = parse(line)
    assert parsed is None or line.startswith(parsed[0])
