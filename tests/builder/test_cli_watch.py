"""What a person sees of a download: a bar on a real terminal, lines elsewhere, from a real server."""

from __future__ import annotations

import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from fakes.locks import make_lock, solved, universe
from fakes.mirror import Behaviour, FakeDeb, FakeMirror, replaced, running_mirror

from builder.lock.file import write_lock
from builder.lock.model import LockedPart

ROOT = Path(__file__).parents[2]
DEB = FakeDeb("large", content=random.Random(5).randbytes(4_000_000))
PROGRAM = """
import sys
from pathlib import Path
from builder.cli.context import Context
from builder.fetch.mirrors import find_mirrors
from builder.fetch.packages import fetch_lock
from builder.lock.file import read_lock
context = Context.create(quiet=False, as_json=False)
fetch_lock(read_lock(Path(sys.argv[1])), context.store, find_mirrors((sys.argv[2],)), context.progress)
"""
DEADLINE = 60  # seconds in which what is waited for has to come


@pytest.fixture
def mirror() -> Iterator[FakeMirror]:
    with running_mirror() as running:
        running.files[f"/debian/{DEB.filename}"] = DEB.data
        yield running


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    root = LockedPart(name="root", requests=("large",))
    write_lock(make_lock(solved(universe(DEB), "large"), parts=(root,)), tmp_path / "x.lock")
    return tmp_path / "x.lock"


def slow_until(seen: threading.Event) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    """Let a server give the first three quarters in pieces, and the rest once something was seen."""

    def behaviour(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        piece = len(body) // 20
        for at in range(0, len(body), piece):
            handler.wfile.write(body[at : at + piece])
            handler.wfile.flush()
            seen.wait(0.1 if at < piece * 15 else DEADLINE)

    return behaviour


def start(folder: Path, stderr: int, *words: str) -> subprocess.Popen[bytes]:
    """Start Python in a folder with a store of its own, as on a terminal; messages go to `stderr`."""
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "BERTH_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LC_ALL": "C.UTF-8",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr,
    )  # fmt: skip


def fetch(lock: Path, mirror: FakeMirror, stderr: int) -> subprocess.Popen[bytes]:
    """Start a download as `berth fetch` does, without the tools that it also brings; messages go to `stderr`."""
    return start(lock.parent, stderr, "-c", PROGRAM, str(lock), mirror.base)


def until(screen: int, wanted: re.Pattern[str]) -> re.Match[str]:
    """Read a terminal until something stands on it, colours taken away."""
    text, end = "", time.monotonic() + DEADLINE
    while True:
        found = wanted.search(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))
        if found:
            return found
        assert select.select([screen], [], [], max(0, end - time.monotonic()))[0], text[-2000:]
        try:
            text += os.read(screen, 65536).decode("utf-8", "replace")
        except OSError:  # the last who wrote to it is gone
            pytest.fail(text[-2000:])


def test_the_bar_on_a_terminal_tells_bytes_rate_and_time_left(lock: Path, mirror: FakeMirror) -> None:
    seen = threading.Event()
    mirror.misbehave(DEB.filename, slow_until(seen))
    screen, terminal = pty.openpty()
    process = fetch(lock, mirror, terminal)
    os.close(terminal)
    try:
        told = until(screen, re.compile(r"([0-9.]+) MB of 4\.0 MB, ([0-9.]+) ([kM])B/s\s+(\d:\d\d:\d\d)"))
        assert 0 < float(told[1]) < 4
        assert float(told[2]) > 0
        seen.set()
        until(screen, re.compile(r"fetching 1 packages: done"))
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def test_where_no_bar_can_be_drawn_the_end_is_a_line(lock: Path, mirror: FakeMirror) -> None:
    process = fetch(lock, mirror, subprocess.PIPE)
    _, printed = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, printed
    assert re.search(r"4\.0 MB of 4\.0 MB, [0-9.]+ [kM]B/s", printed.decode()), printed
    assert b"\x1b" not in printed


@pytest.mark.parametrize(
    ("behaviour", "ctrl_c", "last"),
    [(replaced(b"another file"), False, "  try: "), (None, True, "berth: stopped; nothing is half-written")],
)
def test_whoever_fails_or_is_stopped_gives_the_cursor_back(
    tmp_path: Path, mirror: FakeMirror, behaviour: Behaviour | None, ctrl_c: bool, last: str
) -> None:
    """No bar is drawn any more when the failure is told, and its last line is ended."""
    mirror.misbehave(".deb", behaviour or (lambda _handler, _body: mirror.released.wait()))
    screen, terminal = pty.openpty()
    process = start(tmp_path, terminal, "-m", "builder", "fetch", "minimal", "--mirror", mirror.base)
    os.close(terminal)
    text = b""
    try:
        while process.poll() is None or select.select([screen], [], [], 0)[0]:
            try:
                text += os.read(screen, 65536)
            except OSError:
                break
            if ctrl_c and b"\x1b[?25l" in text and b"fetching" in text:
                process.send_signal(signal.SIGINT)
                ctrl_c = False
        assert process.wait(DEADLINE) != 0
    finally:
        process.kill()
        process.wait()
        os.close(screen)
    assert text.count(b"\x1b[?25l") == text.count(b"\x1b[?25h") == 1, text[-2000:]
    told = text.rpartition(b"\x1b[?25h")[2].decode().splitlines()
    assert told[-1].startswith(last), text[-2000:]
    assert "fetching" not in "".join(told)
    assert text.endswith(b"\n")
