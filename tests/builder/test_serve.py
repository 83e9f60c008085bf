"""Serving a repository: its files and nothing else, to many, until told to stop."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.forger import Forged
from hypothesis import given
from hypothesis import strategies as st

from builder.cli import main as cli
from builder.cli.serve import Log
from builder.repository.server import Server, asked_range, found
from init.dialects.compile import compile_document

pytestmark = pytest.mark.long  # each server is a process of its own

CLONE = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> Forged:
    made = Forged(tmp_path_factory.mktemp("repository"))
    made.publish(1)
    (made.folder / ".lock").write_bytes(b"")
    (made.folder / "root-1.pem").write_bytes(b"secret")
    (made.folder.parent / "secret.json").write_bytes(b"secret")
    (made.folder / "metadata/out.json").symlink_to(made.folder.parent / "secret.json")
    (made.folder / "metadata/.hidden.json").write_bytes(b"secret")
    (made.folder / "metadata/in.json").symlink_to("timestamp.json")
    (made.folder / "packs/away").symlink_to("/etc")
    return made


@pytest.fixture
def served(forged: Forged) -> Iterator[Server]:
    server = Server(forged.folder, "127.0.0.1", 0, lambda *_: None, lambda: None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_files_come_as_they_are_and_caches_know_which_one_changes(served: Server, forged: Forged) -> None:
    timestamp = (forged.folder / "metadata/timestamp.json").read_bytes()
    status, data, headers = ask(served, "/metadata/timestamp.json")
    assert (status, data, headers["Cache-Control"]) == (200, timestamp, "no-cache")
    pack = next(path for path in forged.folder.glob("packs/*/*") if path.is_file())
    status, data, headers = ask(served, f"/{pack.relative_to(forged.folder)}")
    assert (status, data) == (200, pack.read_bytes())
    assert "immutable" in headers["Cache-Control"]
    status, data, headers = ask(served, "/metadata/timestamp.json", "HEAD")
    assert (status, data, int(headers["Content-Length"])) == (200, b"", len(timestamp))
    assert ask(served, "/metadata/in.json")[1] == timestamp


@pytest.mark.parametrize(
    "path",
    [
        "/", "", "/metadata", "/metadata/", "/.lock", "/root-1.pem", "/secret.json", "/metadata/../../secret.json",
        "/metadata/%2e%2e/%2e%2e/secret.json", "/metadata/..%2f..%2fsecret.json", "/metadata/out.json",
        "/metadata/.hidden.json", "/packs/away/passwd", "/packs/../root-1.pem", "//etc/passwd",
        "/metadata//timestamp.json",
        "/metadata/timestamp.json/", "/metadata/timestamp.json%00", "/metadata/\\timestamp.json", "*",
        "http://other/metadata/timestamp.json", "/metadata/" + "a" * 5000, "/metadata/2.root.json",
        "/metadata/%ff.json",
    ],
)  # fmt: skip
def test_nothing_else_is_found(served: Server, path: str) -> None:
    status, data, _ = ask(served, path or "/")
    assert status == 404
    assert data == b""


@given(st.text(max_size=60))
def test_no_path_leads_out(forged: Forged, path: str) -> None:
    for text in (path, f"/metadata/{path}", f"/packs/../{path}"):
        file = found(forged.folder.resolve(), text)
        assert file is None or file.is_relative_to(forged.folder.resolve())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_is_written(served: Server, method: str) -> None:
    status, _, headers = ask(served, "/metadata/timestamp.json", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_part_of_a_file_comes_alone(served: Server, forged: Forged) -> None:
    whole = (forged.folder / "metadata/timestamp.json").read_bytes()
    size = len(whole)
    for header, first, last in (
        ("0-9", 0, 9),
        ("10-", 10, size - 1),
        ("-7", size - 7, size - 1),
        ("5-99999", 5, size - 1),
    ):
        status, data, headers = ask(served, "/metadata/timestamp.json", Range=f"bytes={header}")
        assert (status, data) == (206, whole[first : last + 1])
        assert headers["Content-Range"] == f"bytes {first}-{last}/{size}"
    status, data, headers = ask(served, "/metadata/timestamp.json", Range=f"bytes={size}-")
    assert (status, data, headers["Content-Range"]) == (416, b"", f"bytes */{size}")
    for header in ("bytes=9-3", "bytes=-", "bytes=0-1,3-4", "pages=0-1", "bytes=a-b"):
        assert ask(served, "/metadata/timestamp.json", Range=header)[:2] == (200, whole)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 20))
def test_a_range_lies_within_the_file(first: int, last: int, size: int) -> None:
    for header in (f"bytes={first}-{last}", f"bytes={first}-", f"bytes=-{last}"):
        try:
            answer = asked_range(header, size)
        except ValueError:
            continue
        assert answer is None or (0 <= answer[0] < size and 0 < answer[1] <= size - answer[0])


def test_one_connection_carries_many_requests(served: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    for path in ("/metadata/timestamp.json", "/absent", "/metadata/timestamp.json"):
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        assert not answer.will_close
    connection.close()


def test_the_log_sums_packs_up(capsys: pytest.CaptureFixture[str]) -> None:
    times = iter([1.0, 1.1, 1.2, 5.0])
    log = Log(clock=lambda: next(times))
    for _ in range(3):
        log.answer("10.0.2.15", "GET /packs/aa/aa", 200, 1000)
    assert capsys.readouterr().err == ""
    log.idle()
    assert capsys.readouterr().err.split() == ["10.0.2.15", "200", "3", "kB", "3", "packs"]
    log.answer("10.0.2.15", "GET /absent", 404, 0)
    assert "404" in capsys.readouterr().err


# The verb ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_serves_until_it_is_told_to_stop(forged: Forged, end: signal.Signals, status: int) -> None:
    words = [sys.executable, "-m", "builder", "serve", str(forged.folder), "--port", "0", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(CLONE)}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout
        assert program.stderr
        facts = json.loads(program.stdout.readline())
        assert facts["guest"] == facts["repository"] == f"http://10.0.2.2:{facts['port']}/"
        assert facts["url"] == f"http://127.0.0.1:{facts['port']}/"
        connection = http.client.HTTPConnection("127.0.0.1", facts["port"], timeout=60)
        connection.request("GET", "/metadata/timestamp.json")
        assert connection.getresponse().status == 200
        said = program.stderr.readline()
        while "GET /metadata/timestamp.json" not in said:
            line = program.stderr.readline()
            assert line, said
            said += line
        program.send_signal(end)
        assert program.wait(60) == status
        said += program.stderr.read()
        connection.close()
    assert "Traceback" not in said


def test_the_lines_that_it_prints_are_a_machines_config(forged: Forged, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(forged.folder), "--print", "--port", "8123"]) == 0
    text = capsys.readouterr().out
    compiled = compile_document(f"#cloud-config\n{text}".encode(), file="printed")
    assert not compiled.diagnostics, compiled.diagnostics
    assert compiled.machine
    update = compiled.machine.update
    assert update is not None
    assert (update.repository, update.channel) == ("http://10.0.2.2:8123/", "stable")
    assert json.loads(update.root or "") == json.loads(forged.root)


def test_a_port_that_is_taken_is_said(served: Server, forged: Forged, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", str(forged.folder), "--port", str(served.port)]) == 1
    assert "can't be listened on" in capsys.readouterr().err
    assert cli.main(["serve", str(forged.folder / "absent")]) == 2
    assert cli.main(["serve", str(forged.folder), "--bind", "256.1.1.1"]) == 1
