"""The half that does things, against a program that behaves as QEMU does towards us: sockets by descriptor, QMP."""

from __future__ import annotations

import io
import json
import socket
import tarfile
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from fakes import heads
from fakes.player import Player

from builder.emulate import GuestFailed, Options, Until, disks, fault, run
from builder.emulate.command import Guest
from builder.emulate.image import Kind, detect
from builder.emulate.nocloud import instance_id
from builder.emulate.qmp import Qmp
from builder.emulate.session import Session
from builder.errors import InputError, ToolError
from builder.progress import SilentProgress


class Told(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


GOOD = "init.started\nsay hello\ncontainer.healthy web\nwait\nshutdown.begun\nshutdown.clean"


@pytest.fixture
def iso(tmp_path: Path) -> Path:
    path = tmp_path / "a.iso"
    path.write_bytes(heads.iso())
    return path


def play(script: str, iso: Path, out: io.StringIO | None = None, told: Told | None = None, **options: object) -> int:
    wanted = {"until": Until(event="container.healthy"), **options}
    return run(
        Options(image=iso, **wanted), tools=Player(iso.parent, script), progress=told or Told(),
        out=out or io.StringIO(), terminal=False,
    )  # fmt: skip


def test_the_event_then_the_power_button_then_a_clean_end(iso: Path) -> None:
    told = Told()
    assert play(GOOD, iso, told=told) == 0
    assert any("container.healthy" in line for line in told.lines)


def test_json_lines_begin_with_the_format_and_are_the_guest_s_own(iso: Path) -> None:
    out = io.StringIO()
    play(GOOD, iso, out=out, json=True)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[0] == {"format": "berth.events/1"}
    assert [line["event"] for line in lines[1:]] == [
        "init.started", "container.healthy", "shutdown.begun", "shutdown.clean",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("init.started\nsay the last words", "before container.healthy came"),
        ("say [ 1.0] Kernel panic - not syncing: Attempted to kill init!\nhang", "panicked: Attempted to kill init!"),
        ("complain no such disk\nstatus 1", "no such disk"),
        ("container.healthy\nwait", "without shutdown.clean"),
    ],
)
def test_a_bad_end_tells_its_cause(iso: Path, script: str, cause: str) -> None:
    with pytest.raises(GuestFailed) as caught:
        play(script, iso)
    assert cause in str(caught.value)
    assert caught.value.exit_status == 1


def test_the_last_twenty_lines_are_shown(iso: Path) -> None:
    with pytest.raises(GuestFailed) as caught:
        play("\n".join(f"say line {number}" for number in range(30)), iso)
    shown = [line for line in str(caught.value).splitlines() if line.startswith("line ")]
    assert shown == [f"line {number}" for number in range(10, 30)]


def test_time_runs_out(iso: Path) -> None:
    with pytest.raises(GuestFailed, match=r"did not come within 0 s"):
        play("hang", iso, timeout=0.3)


def test_leaving_a_session_ends_the_program(tmp_path: Path) -> None:
    guest = Guest(accelerator=(), memory=1, cpus=1, data=())
    with Session(guest, Player(tmp_path, "init.started\nhang")) as session:
        while not session.step(10):
            pass
        assert session.status is None
    assert session.status == -9


def test_a_program_that_cannot_be_started_is_a_tool_s_error() -> None:
    class Nothing:
        def argv(self, tool: str, *arguments: str) -> list[str]:
            return ["/nonexistent/qemu"]

        def environment(self) -> Mapping[str, str]:
            return {}

    with pytest.raises(ToolError, match="cannot be started"):
        Session(Guest(accelerator=(), memory=1, cpus=1, data=()), Nothing())


def test_qmp_refusals_and_silence_are_errors() -> None:
    ours, theirs = socket.socketpair()
    replies = b'{"QMP": {}}\n{"return": {}}\n{"event": "RESET"}\n{"error": {"desc": "no such device"}}\n'
    theirs.sendall(replies)
    qmp = Qmp(ours, patience=5)
    with pytest.raises(ToolError, match="no such device"):
        qmp.ask("eject", device_id="x")
    assert qmp.events == [{"event": "RESET"}]
    threading.Timer(0.05, theirs.close).start()
    with pytest.raises(ToolError):
        qmp.ask("query-status")
    ours.close()


def test_kinds_are_told_by_content(tmp_path: Path, iso: Path) -> None:
    assert detect(iso).kind is Kind.ISO
    raw, qcow, bundle = tmp_path / "a.iso.raw", tmp_path / "b", tmp_path / "c"
    raw.write_bytes(heads.raw())
    qcow.write_bytes(heads.qcow2())
    with tarfile.open(bundle, "w:", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("manifest.json", "boot.img", "root.img"):
            archive.addfile(tarfile.TarInfo(name))
    assert detect(raw).kind is Kind.RAW
    assert detect(qcow).kind is Kind.QCOW2
    assert detect(bundle).kind is Kind.BUNDLE
    assert detect(tmp_path).path == iso


def _with_holes(told: str) -> bytes:
    """Return a tar whose member is said to have holes."""
    member, out = tarfile.TarInfo("boot.img"), io.BytesIO()
    member.pax_headers = {"GNU.sparse.map": told}
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(member)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [b"", b"text\n" * 100, bytes(70000), bytes(257) + b"ustar" + bytes(800), _with_holes("x"), _with_holes("9" * 5000)],
)
def test_what_is_no_image_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.iso"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        detect(path)
    assert caught.value.exit_status == 2


def test_what_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        detect(tmp_path / "none.iso")
    with pytest.raises(InputError, match="no ISO"):
        detect(tmp_path)


def test_a_folder_stands_for_what_a_build_made_in_it(tmp_path: Path, iso: Path) -> None:
    other = iso.with_name("other.iso")
    other.write_bytes(iso.read_bytes())
    with pytest.raises(InputError, match=r"more than one ISO: .*other.iso") as caught:
        detect(iso.parent)
    assert str(iso.parent) in (caught.value.hint or "")
    other.with_suffix(".manifest.json").write_text("{}")
    assert detect(iso.parent).path == other


def test_a_bundle_cut_short_is_an_input_error(tmp_path: Path) -> None:
    boot = tmp_path / "boot.img"
    with tarfile.open(boot, "w:", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("vmlinuz")
        member.size = 5000
        archive.addfile(member, io.BytesIO(bytes(5000)))
    (tmp_path / "root.img").write_bytes(b"")
    boot.write_bytes(boot.read_bytes()[:3000])
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(InputError):
        disks.unpack_slot(detect(tmp_path, direct=True), work)


def test_the_instance_id_follows_the_config() -> None:
    assert instance_id(b"") == "i-e3b0c44298fc1c14"
    assert instance_id(b"a") != instance_id(b"b")


ABORT = (
    "complain qemu-system-x86_64: system/physmem.c:2671: iotlb_to_section: Assertion"
    " `section_index < d->map.sections_nb' failed.\nstatus 134"
)


class Players(Player):
    """One script after the other, each for one start."""

    def __init__(self, folder: Path, *scripts: str) -> None:
        super().__init__(folder, "")
        self.scripts = list(scripts)

    def argv(self, tool: str, *arguments: str) -> list[str]:
        if any(word.startswith("socket,") for word in arguments):
            self.script = self.scripts.pop(0)
        return super().argv(tool, *arguments)


def test_a_machine_that_dies_of_the_emulators_fault_is_started_once_more_and_it_is_told(iso: Path) -> None:
    told = Told()
    options = Options(image=iso, until=Until(event="container.healthy"))
    players = Players(iso.parent, ABORT, GOOD)
    assert run(options, tools=players, progress=told, out=io.StringIO(), terminal=False) == 0
    assert fault.TOLD in told.lines
    players = Players(iso.parent, ABORT, ABORT)
    with pytest.raises(GuestFailed, match="iotlb_to_section"):
        run(options, tools=players, progress=told, out=io.StringIO(), terminal=False)


def test_nothing_else_starts_it_again(iso: Path) -> None:
    told = Told()
    with pytest.raises(GuestFailed):
        play("complain qemu-system-x86_64: out of memory\nstatus 1", iso, told=told)
    assert fault.TOLD not in told.lines
