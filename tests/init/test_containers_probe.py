"""Health probes against real servers on loopback, inside this very process's network."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from init.containers.probe import _ask, _http, _tcp, _until_asked
from init.formats.exitstatus import NOT_YET

ROOT = Path(__file__).parents[2]
Answer = Callable[[socket.socket], None]


@contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """Answer each connection as told, until the context ends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def work() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                try:
                    answer(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


def says(data: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(data)

    return answer


@pytest.mark.parametrize("status", [200, 204, 301, 399])
def test_good_answers(status: int) -> None:
    with serving(says(f"HTTP/1.1 {status} x\r\n\r\n".encode())) as port:
        _http(f"http://127.0.0.1:{port}/", 5)
        _http(f"http://localhost:{port}", 5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"HTTP/1.1 404 Not Found\r\n\r\n",
        b"HTTP/1.1 500\r\n",
        b"SSH-2.0-x\r\n",
        b"\n",
        b"HTTP/1.1 xx\r\n",
        b"\xff" * 9000,
    ],
)
def test_bad_answers(data: bytes) -> None:
    with serving(says(data)) as port, pytest.raises(ValueError, match="HTTP"):
        _http(f"http://127.0.0.1:{port}/", 5)


def test_an_answer_that_drips_has_one_deadline() -> None:
    def drip(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    with serving(drip) as port, pytest.raises(TimeoutError):
        _http(f"http://127.0.0.1:{port}/", 0.3)


def test_a_taken_connection_is_enough_for_tcp() -> None:
    with serving(says(b"")) as port:
        _tcp(f"127.0.0.1:{port}", 5)
    with pytest.raises(OSError, match="refused"):
        _tcp(f"127.0.0.1:{port}", 5)


def test_a_patient_probe_asks_until_the_server_is_there() -> None:
    answers = [b"", b"HTTP/1.1 503 x\r\n\r\n", b"HTTP/1.1 200 x\r\n\r\n"]

    def warm_up(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answers.pop(0))

    with serving(warm_up) as port:
        assert _until_asked(60, lambda: _http(f"http://127.0.0.1:{port}/", 5)) == 0
    assert answers == []


def test_patience_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(says(b"")) as port:
        pass
    for patience in (0.0, 0.2):
        assert _until_asked(patience, lambda: _tcp(f"127.0.0.1:{port}", 5)) == 1
    assert capsys.readouterr().err == "unhealthy: Connection refused\n" * 2


def test_a_container_that_does_not_run_yet_is_no_missing_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert _until_asked(0.0, lambda: _ask("tcp", "no-such-container", 1, "127.0.0.1:1")) == NOT_YET
    assert capsys.readouterr().err == "unhealthy: the container does not run yet\n"


def test_what_is_asked() -> None:
    asked = []

    def note(connection: socket.socket) -> None:
        asked.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")

    with serving(note) as port:
        _http(f"http://127.0.0.1:{port}/health?x=1", 5)
    assert asked[0].startswith(b"GET /health?x=1 HTTP/1.1\r\n")
    assert f"\r\nHost: 127.0.0.1:{port}\r\n".encode() in asked[0]


def imported(code: str) -> set[str]:
    """Return the names of modules that an interpreter of its own has after `code`."""
    text = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{code}\nprint(*sys.modules)"
    done = subprocess.run((sys.executable, "-ISBc", text), capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


def test_the_programs_of_a_start_import_no_openssl() -> None:
    """Each import is paid at each start: these are the ones that cost most and crept in before."""
    start = "import init.containers.run, init.containers.crun, init.containers.probe, init.containers.plan"
    costly = {"hashlib", "ssl", "socket", "subprocess", "tarfile", "pathlib"}
    assert not costly & imported(start)
    light = f"import init.light; {start}"
    assert not {*costly, "inspect", "ast", "tokenize", "typing"} & imported(light)
    assert not {"ctypes", "dataclasses", "enum", "json", "re"} & imported("import init.containers.probe")


def test_programs_that_start_often_make_light_values() -> None:
    code = "from init.__main__ import main; main(['probe'])"
    assert "init.light" in imported(code)
