"""A repository over HTTP, for trying out and small fleets: GET and HEAD of the four folders' files, and nothing else.

What does not belong to a repository (keys that somebody left there, hidden files, links that lead out of it) is not
found. Range requests follow RFC 9110, 14; caches may keep everything but the timestamp.
"""

from __future__ import annotations

import http.server
import os
import re
import socket
import urllib.parse
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import IO

from builder.repository.state import TIMESTAMP
from builder.repository.sweep import FOLDERS

CHUNK = 1 << 16  # bytes
SILENCE = 60.0  # seconds: a connection on which nothing is asked for so long is closed
_PART = re.compile(r"[A-Za-z0-9_~+-][A-Za-z0-9._~+-]*")  # of a path: nothing hidden, nothing that leads up
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_FOR_EVER = "public, max-age=31536000, immutable"  # a file's name says what is in it

Log = Callable[[str, str, int, int], None]  # who asked, for what, the answer's status, bytes sent


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder; `log` is told of each answer, from any thread, `idle` called now and then.

    Raise OSError where it can't listen.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, folder: Path, address: str, port: int, log: Log, idle: Callable[[], None]) -> None:
        self.folder = folder.resolve()
        self.log = log
        self._idle = idle
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), _Handler)

    def service_actions(self) -> None:
        """Called by the library twice a second."""
        self._idle()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a machine that goes away in the middle of an answer is everyday life."""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])


def found(folder: Path, url_path: str) -> Path | None:
    """Return the file that is meant, None for what is not the repository's."""
    path = urllib.parse.unquote(url_path.partition("?")[0])
    first, *rest = path.removeprefix("/").split("/")
    if first not in FOLDERS or not rest or not all(_PART.fullmatch(part) for part in rest):
        return None
    try:
        real = Path(os.path.realpath(folder / first / "/".join(rest)))
        return real if real.is_relative_to(folder) and real.is_file() else None
    except OSError:  # a name too long to be one
        return None


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return the first byte and the count that are asked for; None for all. Raise ValueError for none that is there.

    Several ranges, or what is no range, may be answered with all.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match[1] == match[2] == "":
        return None
    if match[1] == "":
        count = min(int(match[2]), size)
        first = size - count
    else:
        first = int(match[1])
        last = min(int(match[2]), size - 1) if match[2] else size - 1
        if match[2] and int(match[2]) < first:
            return None
        count = last - first + 1
    if count <= 0 or first >= size:
        raise ValueError("outside the file")
    return first, count


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    server_version = "berth"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = SILENCE

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(send=True)

    def do_HEAD(self) -> None:
        """Send what GET would send, without the file."""
        self._answer(send=False)

    def _refuse(self) -> None:
        self.close_connection = True  # whatever the request carries is not read
        self._end(405, {"Allow": "GET, HEAD", "Connection": "close"})

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _refuse  # noqa: N815 - names that the library gives

    def _answer(self, *, send: bool) -> None:
        path = found(self.server.folder, self.path)
        if path is None:
            self._end(404, {"Cache-Control": "no-store"})
            return
        try:
            file = path.open("rb")
        except OSError:
            self._end(404, {"Cache-Control": "no-store"})
            return
        with file:
            facts = os.fstat(file.fileno())
            kept = "no-cache" if path == self.server.folder / TIMESTAMP else _FOR_EVER
            headers = {
                "Content-Type": "application/json" if path.suffix == ".json" else "application/octet-stream",
                "Last-Modified": formatdate(facts.st_mtime, usegmt=True),
                "Accept-Ranges": "bytes",
                "Cache-Control": kept,
            }
            try:
                wanted = asked_range(self.headers.get("Range"), facts.st_size)
            except ValueError:
                self._end(416, {"Content-Range": f"bytes */{facts.st_size}"})
                return
            first, count = wanted or (0, facts.st_size)
            if wanted:
                headers["Content-Range"] = f"bytes {first}-{first + count - 1}/{facts.st_size}"
            file.seek(first)
            self._end(206 if wanted else 200, headers, file if send else None, count)

    def _end(self, status: int, headers: dict[str, str], file: IO[bytes] | None = None, count: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(count))
        self.end_headers()
        left = count if file is not None else 0
        while file is not None and left:
            piece = file.read(min(left, CHUNK))
            if not piece:
                raise ConnectionAbortedError("the file became shorter")
            self.wfile.write(piece)
            left -= len(piece)
        self.server.log(str(self.client_address[0]), f"{self.command} {self.path}", status, count if file else 0)

    def log_message(self, *_: object) -> None:
        """Say nothing here: `log` is told."""
