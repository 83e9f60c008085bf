"""A Debian mirror on loopback: a real server, an archive signed by the test's own key, and every way to misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

import pysequoia

Behaviour = Callable[[BaseHTTPRequestHandler, bytes], None]


@dataclass
class FakeDeb:
    """A package as an index describes it; what is in the .deb does not matter here."""

    name: str
    version: str = "1.0-1"
    depends: str = ""
    provides: str = ""
    conflicts: str = ""
    architecture: str = "amd64"
    content: bytes = b""
    size: int | None = None  # what the index says, when it lies

    @property
    def data(self) -> bytes:
        return self.content or f"the .deb of {self.name} {self.version}".encode() * 40

    @property
    def filename(self) -> str:
        file = f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"
        return f"pool/main/{self.name[0]}/{self.name}/{file}"

    def record(self) -> str:
        lines = [f"Package: {self.name}", f"Version: {self.version}", f"Architecture: {self.architecture}"]
        relations = {"Depends": self.depends, "Provides": self.provides, "Conflicts": self.conflicts}
        lines += [f"{key}: {value}" for key, value in relations.items() if value]
        lines.append(f"Description: {self.name}\n more words")
        lines.append(f"Filename: {self.filename}")
        lines.append(f"Size: {len(self.data) if self.size is None else self.size}")
        lines.append(f"SHA256: {hashlib.sha256(self.data).hexdigest()}")
        return "\n".join(lines) + "\n"


def make_key(folder: Path, name: str = "test") -> pysequoia.Tsk:
    """Make a signing key and put its public half into `folder`, as builder/keys has it."""
    key = pysequoia.Tsk.generate(f"{name} <{name}@example.org>")
    folder.mkdir(parents=True, exist_ok=True)
    public = pysequoia.armor(bytes(key.extract_certificate()), pysequoia.ArmorKind.PublicKey)
    (folder / f"{name}.asc").write_text(public if isinstance(public, str) else public.decode())
    return key


def sign(key: pysequoia.Tsk, text: str) -> bytes:
    """Return a cleartext signature as an InRelease file is."""
    return bytes(pysequoia.sign(key.signer(), text.encode(), mode=pysequoia.SignatureMode.CLEAR))


@dataclass
class FakeMirror:
    """Files below `/debian` and `/debian-security`, and how each path behaves."""

    server: ThreadingHTTPServer
    files: dict[str, bytes] = field(default_factory=dict)
    behaves: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, Range)
    leads_to: Callable[[str], str] = lambda path: path  # another path for one that is asked: a redirect
    released: threading.Event = field(default_factory=threading.Event)  # set when the test is over

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/debian"

    def url(self, path: str) -> str:
        return f"{self.base}/{path}"

    def publish(
        self,
        key: pysequoia.Tsk,
        packages: Sequence[FakeDeb],
        *,
        suite: str = "trixie",
        date: float | None = None,
        valid_for: float | None = None,
        keep_old_files: bool = False,
        security: Sequence[FakeDeb] = (),
    ) -> None:
        """Put an archive in place of the one before. Times are seconds; `date` is since 1970 and defaults to now."""
        if not keep_old_files:
            self.files.clear()
        moment = time.time() if date is None else date
        for name, base, content in (
            (suite, "/debian", packages),
            (f"{suite}-updates", "/debian", ()),
            (f"{suite}-security", "/debian-security", security),
        ):
            index = "\n".join(deb.record() for deb in content).encode()
            self.put_suite(key, name, base, index, date=moment, valid_for=valid_for)
            for deb in content:
                self.files[f"{base}/{deb.filename}"] = deb.data

    def put_suite(
        self, key: pysequoia.Tsk, suite: str, base: str, index: bytes, *, date: float, valid_for: float | None = None
    ) -> None:
        packed = lzma.compress(index)
        lines = [
            "Origin: Debian",
            f"Codename: {suite}",
            f"Date: {formatdate(date, usegmt=True).replace('GMT', 'UTC')}",
            "Acquire-By-Hash: yes",
        ]
        if valid_for is not None:
            lines.append(f"Valid-Until: {formatdate(date + valid_for, usegmt=True).replace('GMT', 'UTC')}")
        lines.append("SHA256:")
        folder = f"{base}/dists/{suite}/main/binary-amd64"
        for ending, data in (("", index), (".xz", packed)):
            digest = hashlib.sha256(data).hexdigest()
            lines.append(f" {digest} {len(data)} main/binary-amd64/Packages{ending}")
            if ending:
                self.files[f"{folder}/Packages{ending}"] = data
                self.files[f"{folder}/by-hash/SHA256/{digest}"] = data
        self.files[f"{base}/dists/{suite}/InRelease"] = sign(key, "\n".join(lines) + "\n")

    def misbehave(self, ending: str, behaviour: Behaviour) -> None:
        """Let every path that ends so behave like this."""
        self.behaves[ending] = behaviour

    def times_asked(self, ending: str) -> int:
        return sum(path.endswith(ending) for path, _ in self.asked)


def _handler(mirror: FakeMirror) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        mirror_of_test = mirror

        def do_GET(self) -> None:
            if not self.path.startswith("http"):  # as a proxy it is asked for whole addresses
                self.path = unquote(self.path)
            mirror.asked.append((self.path, self.headers.get("Range", "")))
            body = mirror.files.get(self.path)
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for ending, behaviour in mirror.behaves.items():
                    if self.path.endswith(ending):
                        self.close_connection = True
                        behaviour(self, body or b"")
                        return
                if (target := mirror.leads_to(self.path)) != self.path:
                    answer(self, 302, b"", Location=quote(target))
                elif body is None:
                    answer(self, 404, b"no such file")
                else:
                    whole(self, body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def running_mirror() -> Iterator[FakeMirror]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.daemon_threads = True
    server.block_on_close = False
    mirror = FakeMirror(server)
    server.RequestHandlerClass = _handler(mirror)  # type: ignore[misc]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield mirror
    finally:
        mirror.released.set()
        server.shutdown()
        server.server_close()


# What a server may do to a request. Each is given the handler and the file's content.


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    if handler.close_connection:  # else a client that follows a redirect finds the same connection closing
        handler.send_header("Connection", "close")
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Be a good server, ranges included."""
    wanted = handler.headers.get("Range", "")
    if wanted.startswith("bytes=") and wanted.endswith("-"):
        start = int(wanted[6:-1])
        if start >= len(body):
            answer(handler, 416, b"", Content_Range=f"bytes */{len(body)}")
        else:
            answer(handler, 206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}")
        return
    answer(handler, 200, body)


def status(code: int, **headers: str) -> Behaviour:
    return lambda handler, _: answer(handler, code, b"an error page", **headers)


def web_page(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    answer(handler, 200, b"<!doctype html><title>Welcome to the hotel</title>", Content_Type="text/html")


def redirect(target: str) -> Behaviour:
    return lambda handler, _: answer(handler, 302, b"", Location=target)


def replaced(body: bytes) -> Behaviour:
    return lambda handler, _: answer(handler, 200, body)


def no_ranges(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    answer(handler, 200, body)


def breaks_after(count: int, times: int = 1000) -> Behaviour:
    """Announce the whole file, send `count` bytes of what is asked for, and hang up; after `times` be good."""
    left = [times]

    def behaviour(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if left[0] <= 0:
            whole(handler, body)
            return
        left[0] -= 1
        wanted = handler.headers.get("Range", "")
        start = int(wanted[6:-1]) if wanted else 0
        handler.send_response(206 if start else 200)
        handler.send_header("Content-Length", str(len(body) - start))
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        handler.end_headers()
        handler.wfile.write(body[start : start + count])

    return behaviour


def without_length(count: int) -> Behaviour:
    """Send `count` bytes without saying how many there are: the end of the connection is the end of the file."""

    def behaviour(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body[:count])

    return behaviour


def chunked(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(body), 1000):
        piece = body[start : start + 1000]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def _begin_chunks(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(f"{len(body):x}\r\n".encode() + body + b"\r\n")


def trailers_never_end(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _begin_chunks(handler, body)
    handler.wfile.write(b"0\r\n")
    while not _released(handler).is_set():
        handler.wfile.write(b"A: b\r\n")


def trickles_behind_a_chunk(start: bytes, piece: bytes) -> Behaviour:
    """Behind the only chunk send `start`, and then `piece` again and again, for longer than a test waits."""

    def behaviour(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        _begin_chunks(handler, body)
        handler.wfile.write(start)
        for _ in range(600):
            handler.wfile.write(piece)
            handler.wfile.flush()
            if _released(handler).wait(0.05):
                return

    return behaviour


def never_ends(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    while True:
        handler.wfile.write(b"x" * 65536)


def _released(handler: BaseHTTPRequestHandler) -> threading.Event:
    return handler.mirror_of_test.released  # type: ignore[attr-defined, no-any-return]


def silent(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    _released(handler).wait(30)


def silent_in_the_middle(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.wfile.flush()
    _released(handler).wait(30)


def trickles(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    for at in range(len(body)):
        handler.wfile.write(body[at : at + 1])
        handler.wfile.flush()
        if _released(handler).wait(0.03):
            return


def trickles_headers(handler: BaseHTTPRequestHandler, _: bytes) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for at in range(1000):
        handler.wfile.write(f"X-{at}: {at}\r\n".encode())
        handler.wfile.flush()
        if _released(handler).wait(0.05):
            return
